"""Maps of what is not run: an ONNX file as it is written.  Nothing here imports torch, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.from_onnx import from_onnx
from pellucid.architecture.overlay import of_structure
from pellucid.architecture.totals import totals
from pellucid.doors.kinds import kind_of
from pellucid.doors.onnx import load
from pellucid.doors.onnx.fused import fused

RUN_UP_TO = 3000  # operations
_RUN = "With an input (or its shape) it is run, and costs are those of that pass."


def of_onnx(path: Path) -> Architecture:
    """The map of an ONNX file as it is written, without running it; raises `BadModel` for a damaged one."""
    model = fused(load(path, weights=False, inferred=True))
    graph = from_onnx(model, path.stem, path.name)
    size = sum(w.bytes for w in model.graph.weights.values())
    notes = [f"Read from {path.name} without running it. {_RUN}"]
    unknown = (f for f, family in zip(graph.nodes.flops, graph.nodes.family, strict=True) if family != "io")
    if any(flops is None for flops in unknown):
        notes.append("FLOPs are those of the operations whose shapes the file tells.")
    return Architecture(graph, totals(graph, 0, size), of_structure(graph), tuple(notes))


def worth_running(found: Architecture) -> bool:
    """Does the file tell too few shapes for any cost, and is it small enough to be run for them?"""
    return found.totals.flops is None and found.totals.operations <= RUN_UP_TO


def is_onnx(what: str | Path) -> bool:
    """Is it an ONNX file, by its contents?"""
    path = Path(what)
    return path.is_file() and kind_of(path).name.startswith("an ONNX model")
