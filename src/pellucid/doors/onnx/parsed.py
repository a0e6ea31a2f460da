"""An ONNX file as data for its map: decoded, with the shapes that follow from those of its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.doors.files import file_bytes
from pellucid.doors.onnx.graph import Model
from pellucid.doors.onnx.parse import decoded, model

LIMIT = 1 << 31  # a protocol buffer holds no more
MOST_NODES = 20_000  # up to which shapes are followed through the file
MOST_BYTES = 256 << 20


def parsed(path: Path) -> Model:
    """The model in a file, without external data.  Raises `BadModel` for a damaged file, `Missing` where there is none.

    Shapes in between are those that the file states; where it states few, and is of moderate size, they are inferred.
    """
    data = file_bytes(path, LIMIT)
    proto = decoded(data, path.name)
    stated, nodes = len(proto.graph.value_info), len(proto.graph.node)
    if stated < nodes / 2 and nodes <= MOST_NODES and len(data) <= MOST_BYTES:
        proto = _inferred(proto)
    return model(proto, path.stem)


def _inferred(proto: Any) -> Any:
    from onnx import shape_inference

    try:
        return shape_inference.infer_shapes(proto)
    except Exception:  # what it cannot follow (ValueError, RuntimeError, InferenceError, ...) stays unknown
        return proto
