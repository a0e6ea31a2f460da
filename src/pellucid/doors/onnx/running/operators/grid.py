"""Reading an image at places that another tensor gives."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator

_MODES = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest", "bicubic": "bicubic", "cubic": "bicubic"}


@operator("GridSample")
@operator("GridSample", domain="com.microsoft")
def grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    """Images (or volumes) at places from -1 to 1 on each axis, the last axis of the grid running x, y(, z)."""
    mode = _MODES.get(node.get("mode", "linear"))
    if mode is None or x.dim() not in (4, 5) or (x.dim() == 5 and mode == "bicubic"):
        raise BadModel(
            f"GridSample of {x.dim()} axes in mode {node.get('mode')!r} was given; torch has it for images, and for "
            "volumes without cubic.",
            "Export the model with linear sampling.",
        )
    aligned = bool(node.get("align_corners", 0))
    return F.grid_sample(x, grid.to(x.dtype), mode, node.get("padding_mode", "zeros"), aligned)
