"""Shapes: asking for them, changing them, cutting, joining and repeating."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from pellucid.doors.onnx.module import Node
from pellucid.doors.onnx.registry import operator
from pellucid.doors.onnx.values import axes, ints, tensor


@operator("Identity", shapely=True)
def identity(node: Node, x: Tensor) -> Tensor:
    """The same value."""
    return x


@operator("Shape")
def shape(node: Node, x: Tensor) -> Tensor:
    """The lengths of the axes `start` to `end`."""
    return torch.tensor(list(x.shape)[node.get("start", 0) : node.get("end")], dtype=torch.int64)


@operator("Size")
def size(node: Node, x: Tensor) -> Tensor:
    """How many numbers there are."""
    return torch.tensor(prod(x.shape), dtype=torch.int64)


@operator("Reshape", since=1)
def reshape_stated(node: Node, x: Tensor) -> Tensor:
    """The same numbers in the shape that an attribute states."""
    return _reshaped(x, list(node.get("shape", ())), zero_stays=True)


@operator("Reshape", since=5, read=(1,), shapely=True)
def reshape(node: Node, x: Tensor, to: Tensor) -> Tensor:
    """The same numbers in another shape; 0 keeps an axis as it is, -1 is what is left."""
    return _reshaped(x, ints(to), zero_stays=not node.get("allowzero", 0))


def _reshaped(x: Tensor, to: list[int], zero_stays: bool) -> Tensor:
    if zero_stays:
        to = [x.shape[i] if n == 0 else n for i, n in enumerate(to)]
    return x.reshape(to)


@operator("Flatten")
def flatten(node: Node, x: Tensor) -> Tensor:
    """A matrix: the axes before `axis`, and those from it on."""
    axis = node.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.flatten(1) if axis == 1 and x.dim() > 1 else x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


@operator("Transpose", shapely=True)
def transpose(node: Node, x: Tensor) -> Tensor:
    """The axes in another order; by default turned around."""
    return x.permute(node.get("perm") or tuple(reversed(range(x.dim()))))


@operator("Concat", shapely=True)
def concat(node: Node, *inputs: Tensor) -> Tensor:
    """Joined along an axis."""
    return torch.cat(inputs, node.get("axis", 1))


@operator("Unsqueeze", read=(1,), shapely=True)
def unsqueeze(node: Node, x: Tensor, where: Tensor | None = None) -> Tensor:
    """New axes of length 1."""
    new = axes(node, where) or []
    for axis in sorted(a % (x.dim() + len(new)) for a in new):
        x = x.unsqueeze(axis)
    return x


@operator("Squeeze", read=(1,), shapely=True)
def squeeze(node: Node, x: Tensor, where: Tensor | None = None) -> Tensor:
    """Axes of length 1 left out: those named, or all."""
    which = axes(node, where)
    return x.squeeze() if which is None else x.squeeze(tuple(a % x.dim() for a in which))


@operator("ConstantOfShape", read=(0,), shapely=True)
def constant_of_shape(node: Node, to: Tensor) -> Tensor:
    """One value everywhere."""
    stored = node.get("value")
    value = torch.zeros(1) if stored is None else tensor(stored)
    return value.reshape(()).expand(ints(to)).clone()
