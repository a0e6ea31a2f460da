"""What is asked about an ONNX file in a process of its own: can it be decoded at all, and what is in it?

The decoder and the shape inference of the onnx package are C++; what a hostile file does to them stays there.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pellucid.doors.files import printable
from pellucid.doors.onnx import order
from pellucid.doors.onnx.file import guard, parse
from pellucid.doors.onnx.file.bare import bare
from pellucid.doors.onnx.graph import Model
from pellucid.doors.onnx.shapes.followed import followed
from pellucid.doors.onnx.shapes.inferred import freed, inferring, with_shapes

MOST_NODES = 20_000  # up to which shapes are followed through a file
MOST_BYTES = 256 << 20


def decodes(path: Path) -> int:
    """How many operations the file holds.  Raises `BadModel` when it cannot be decoded."""
    bare()
    return len(_decoded(guard.contents(path), path).graph.node)


def described(path: Path) -> Model:
    """The graph of an ONNX file as data, in execution order, with the shapes of the values in between.

    Shapes are followed through files that do not state them and are not very large.  Weights that lie in other files
    may be missing.  Call it in a process of its own.  Raises `Missing` and `BadModel` as `load` does.
    """
    bare()
    data = guard.contents(path)
    proto = _decoded(data, path)
    stated, nodes = len(proto.graph.value_info), len(proto.graph.node)
    if nodes > MOST_NODES or len(data) > MOST_BYTES:
        return _model(proto, path)
    if freed(proto):
        data, stated = proto.SerializeToString(), 0
    with inferring(proto, data) if stated < nodes / 2 else nullcontext(dict) as types:
        model = _model(proto, path)
        return with_shapes(model, followed(proto, model, types()))


def _model(proto: Any, path: Path) -> Model:
    return order.ordered(parse.model(proto, printable(path.name), beside=path.parent))


def _decoded(data: bytes, path: Path) -> Any:
    name = printable(path.name)
    guard.skim(data, name)
    return parse.decoded(data, name)
