"""Padding: with a constant, mirrored, by the edge, or wrapped around; negative pads cut."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.convolution import turned
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import ints, one


@operator("Pad", since=1)
def pad_stated(node: Node, x: Tensor) -> Tensor:
    """By as much as an attribute states."""
    amounts = list(node.get("pads") or node.get("paddings", ()))
    return _padded(node, x, amounts, node.get("value", 0.0), list(range(x.dim())))


@operator("Pad", since=11, read=(1, 2, 3))
def pad(node: Node, x: Tensor, amounts: Any, value: Any = None, which: Any = None) -> Tensor:
    """By as much as an input states, along all axes or some."""
    along = list(range(x.dim())) if which is None else [a % x.dim() for a in ints(which)]
    fill = 0 if value is None or (isinstance(value, Tensor) and not value.numel()) else one(value)
    return _padded(node, x, ints(amounts), fill, along)


def _padded(node: Node, x: Tensor, amounts: list[int], fill: float, along: list[int]) -> Tensor:
    before, after = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(along):
        before[axis], after[axis] = amounts[i], amounts[len(along) + i]
    mode = node.get("mode", "constant")
    if mode == "constant":
        while before and not before[0] and not after[0] and len(before) > 1:
            before, after = before[1:], after[1:]
        if x.dtype == torch.bool:
            return F.pad(x.to(torch.uint8), turned(before, after), value=int(fill)).bool()
        return F.pad(x, turned(before, after), value=fill)
    if x.dim() == 4 and not any((*before[:2], *after[:2])) and min(*before, *after) >= 0 and x.is_floating_point():
        small = all(max(b, a) < n for b, a, n in zip(before[2:], after[2:], x.shape[2:], strict=True))
        if mode == "edge" or (mode == "reflect" and small):
            return F.pad(x, turned(before[2:], after[2:]), mode="replicate" if mode == "edge" else "reflect")
    for axis in range(x.dim()):
        if before[axis] or after[axis]:
            x = x.index_select(axis, _places(mode, x.shape[axis], before[axis], after[axis]).to(x.device))
    return x


def _places(mode: str, n: int, before: int, after: int) -> Tensor:
    """Which value of an axis stands at each place of the padded one."""
    places = torch.arange(-before, n + after)
    if mode == "edge":
        return places.clamp(0, n - 1)
    if mode == "wrap":
        return places % n
    if mode == "reflect":
        period = max(2 * (n - 1), 1)
        places = places % period
        return torch.where(places < n, places, period - places)
    raise BadModel(f"Pad mode {mode!r} is not known.", "Export the model again.")
