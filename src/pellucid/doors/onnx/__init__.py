"""ONNX files as torch modules: our own importer, differentiable throughout, and their graph as data without torch.

`load(path)` gives the `Model` of a file (no torch is needed), `open_file(path)` a `Network` that runs.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.errors import Missing
from pellucid.doors.files import printable
from pellucid.doors.onnx import order
from pellucid.doors.onnx.file import guard, parse
from pellucid.doors.onnx.graph import Model
from pellucid.doors.worker import MEMORY, inspected

if TYPE_CHECKING:
    from torch import nn

    from pellucid.core.network import Network
    from pellucid.core.preparation import Preparation


def load(path: Path) -> Model:
    """The graph of an ONNX file as data, in execution order.  Nothing in the file is run.

    It is decoded by a process of its own first, which a hostile file may take with it, and nothing else; a map, which
    needs no weights, is drawn by what that process says (`probe.described`).  Raises `Missing` and `BadModel` with a
    sentence for files that are absent, damaged, too large, or not what they claim.
    """
    needed()
    name = printable(path.name)
    data = guard.contents(path)
    guard.skim(data, name)
    inspected("pellucid.doors.onnx.probe:decodes", path, memory=MEMORY + 4 * len(data))
    proto = parse.decoded(data, name)
    del data
    return order.ordered(parse.model(proto, name, path.parent))


def needed() -> None:
    """Raise `Missing` unless the package that decodes these files is there."""
    if find_spec("onnx") is None:
        raise Missing("The package onnx is not installed.", "pip install onnx")


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
