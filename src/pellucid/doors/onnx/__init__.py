"""ONNX files as torch modules: our own importer, differentiable throughout, and their graph as data without torch.

`load(path)` gives the `Model` of a file (no torch is needed), `open_file(path)` a `Network` that runs.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.errors import Missing
from pellucid.doors.files import printable
from pellucid.doors.onnx import guard, order, parse
from pellucid.doors.onnx.graph import Model
from pellucid.doors.onnx.shapes import with_shapes
from pellucid.doors.worker import MEMORY, inspected

if TYPE_CHECKING:
    from torch import nn

    from pellucid.core.network import Network
    from pellucid.core.preparation import Preparation


def load(path: Path, *, weights: bool = True, inferred: bool = False) -> Model:
    """The graph of an ONNX file as data, in execution order.  Nothing in the file is run.

    It is decoded by a process of its own first, which a hostile file may take with it, and nothing else.  Without
    `weights`, those that lie in other files are not looked for: enough to draw a map.  `inferred`: with the shapes of
    the values in between, as far as the standard's inference finds them.  Raises `Missing` and `BadModel` with a
    sentence for files that are absent, damaged, too large, or not what they claim.
    """
    if find_spec("onnx") is None:
        raise Missing("The package onnx is not installed.", "pip install onnx")
    name = printable(path.name)
    data = guard.contents(path)
    guard.skim(data, name)
    task = "shapes" if inferred else "decodes"
    found = inspected(f"pellucid.doors.onnx.probe:{task}", path, memory=MEMORY + 4 * len(data))
    proto = parse.decoded(data, name)
    del data
    model = order.ordered(parse.model(proto, name, path.parent if weights else None))
    return with_shapes(model, found) if inferred else model


def open_file(
    path: Path,
    *,
    preparation: Preparation | None = None,
    trusted: bool = False,
    architecture: nn.Module | str | None = None,
) -> Network:
    """An ONNX file as a `Network`; see `pellucid.doors.onnx.opened`.

    Raises `Missing` and `BadModel` as `load` does, and `BadModel` that names all operators that are not known.
    """
    from pellucid.doors.onnx.opened import network

    return network(load(path), path, preparation)
