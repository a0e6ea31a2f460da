"""Maps of what is not run: an ONNX file as it is written.  Nothing here imports torch, which takes seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.overlay import of_structure
from pellucid.architecture.stretches.folding import unfolded
from pellucid.architecture.text import from_data, to_text
from pellucid.architecture.totals import Totals, totals
from pellucid.doors.kinds import disagreement, kind_of
from pellucid.doors.onnx import needed
from pellucid.doors.worker import MEMORY, SECONDS, inspecting

RUN_UP_TO = 3000  # operations
_RUN = "With an input (or its shape) it is run, and costs are those of that pass."
_TASK = "pellucid.architecture.unrun:described"


def of_onnx(path: Path) -> Architecture:
    """The map of an ONNX file as it is written, without running it; raises `BadModel` for a damaged one."""
    with reading(path) as found:
        return as_written(of_text(found()))


def as_written(drawn: Architecture) -> Architecture:
    """A map that was described, without the groups that were made to draw it."""
    graph = unfolded(drawn.graph)
    return drawn if graph is drawn.graph else replace(drawn, graph=graph, overlay=of_structure(graph))


@contextmanager
def reading(path: Path, color: str = "", depth: int | None = None) -> Iterator[Callable[[], str]]:
    """An ONNX file being read by a process of its own, in which it may do what it likes.

    What is given waits for the JSON text of its map, colored and opened as told; there is time for something else
    before.  Raises `BadModel` for a damaged file and `BadOption` for a color that there is not.
    """
    needed()
    size = path.stat().st_size if path.is_file() else 0  # the other process will say what else it is
    seconds, memory = SECONDS + (size >> 20), MEMORY + 8 * size
    with inspecting(_TASK, path, color, depth, seconds=seconds, memory=memory) as found:
        yield found


def described(path: Path, color: str = "", depth: int | None = None) -> str:
    """The JSON text of an ONNX file's map as it is drawn: what the other process does."""
    from pellucid.architecture.sources.from_onnx import with_bytes
    from pellucid.architecture.stretches.folding import folded
    from pellucid.doors.onnx import probe
    from pellucid.doors.onnx.joined.fused import fused

    model = fused(probe.described(path))
    graph, size = with_bytes(model, path.stem, path.name)
    notes = [*disagreement(path, kind_of(path).name), f"Read from {path.name} without running it. {_RUN}"]
    sums = totals(graph, 0, size)
    if sums.more_flops:
        notes.append("FLOPs are those of the operations whose shapes the file tells.")
    Architecture(graph, sums, of_structure(graph)).colored(color)  # raises for a color that there is not
    # the page knows such measures
    return to_text(folded(graph)[0], sums, None, notes, {"color": color, "depth": depth})


def of_text(text: str) -> Architecture:
    """The map that was described, as it is drawn."""
    found = json.loads(text)
    graph, show = from_data(found), found["show"]
    notes = tuple(found["notes"])
    return Architecture(graph, Totals(**found["totals"]), of_structure(graph), notes, show["color"], show["depth"])


def worth_running(found: Architecture) -> bool:
    """Does the file tell too few shapes for any cost, and is it small enough to be run for them?"""
    return found.totals.flops is None and found.totals.operations <= RUN_UP_TO


def is_onnx(what: str | Path) -> bool:
    """Is it an ONNX file, by its contents?"""
    path = Path(what)
    return path.is_file() and kind_of(path).name.startswith("an ONNX model")
