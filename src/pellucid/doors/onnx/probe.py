"""What is asked about an ONNX file in a process of its own: can it be decoded at all, and which shapes are in it?

The decoder and the shape inference of the onnx package are C++; what a hostile file does to them stays there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.doors.files import printable
from pellucid.doors.onnx import guard, parse
from pellucid.doors.onnx.shapes import inferred

MOST_NODES = 20_000  # up to which shapes are followed through a file
MOST_BYTES = 256 << 20


def decodes(path: Path) -> int:
    """How many operations the file holds.  Raises `BadModel` when it cannot be decoded."""
    return len(_proto(path).graph.node)


def shapes(path: Path) -> dict[str, Any]:
    """Types of the values in between, by name, `[dtype, sizes]`; none for files that state most, and for large ones."""
    proto = _proto(path)
    stated, nodes = len(proto.graph.value_info), len(proto.graph.node)
    if stated >= nodes / 2 or nodes > MOST_NODES or path.stat().st_size > MOST_BYTES:
        return {}
    return inferred(proto)


def _proto(path: Path) -> Any:
    name = printable(path.name)
    data = guard.contents(path)
    guard.skim(data, name)
    return parse.decoded(data, name)
