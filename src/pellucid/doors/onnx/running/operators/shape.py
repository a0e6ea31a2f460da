"""Shapes: asking for them, changing them, cutting, joining and repeating."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, axes, ints, one, samples, tensor


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
def reshape(node: Node, x: Tensor, to: Numbers) -> Tensor:
    """The same numbers in another shape; 0 keeps an axis as it is, -1 is what is left."""
    wanted = ints(to)
    if node.kind.one and wanted[:1] == [1]:
        wanted[0] = samples.get()  # exported for one sample: here it means as many as there are
    return _reshaped(x, wanted, zero_stays=not node.get("allowzero", 0))


def _reshaped(x: Tensor, to: list[int], zero_stays: bool) -> Tensor:
    if zero_stays:
        to = [x.shape[i] if n == 0 else n for i, n in enumerate(to)]
    return x.reshape(tuple(to))


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
def unsqueeze(node: Node, x: Tensor, where: Numbers | None = None) -> Tensor:
    """New axes of length 1."""
    new = axes(node, where) or []
    rank = x.dim() + len(new)
    for axis in sorted(a % rank for a in new):
        x = x.unsqueeze(axis)
    return x


@operator("Squeeze", read=(1,), shapely=True)
def squeeze(node: Node, x: Tensor, where: Numbers | None = None) -> Tensor:
    """Axes of length 1 left out: those named, or all."""
    which = axes(node, where)
    return x.squeeze() if which is None else x.squeeze(tuple(a % x.dim() for a in which))


@operator("ConstantOfShape", read=(0,), shapely=True)
def constant_of_shape(node: Node, to: Numbers) -> Tensor:
    """One value everywhere."""
    stored = node.get("value")
    value = torch.zeros(1) if stored is None else tensor(stored)
    return value.reshape(()).expand(ints(to)).clone()


@operator("Expand", read=(1,), shapely=True)
def expand(node: Node, x: Tensor, to: Numbers) -> Tensor:
    """Repeated along axes of length 1 until it fits beside a tensor of that shape."""
    shape: tuple[int, ...] = torch.broadcast_shapes(x.shape, tuple(ints(to)))  # type: ignore[no-untyped-call]
    return x.expand(shape)


@operator("Tile", since=1, read=(1, 2))
def tile_one_axis(node: Node, x: Tensor, times: Numbers, axis: Numbers) -> Tensor:
    """Repeated along one axis."""
    many = [1] * x.dim()
    many[int(one(axis))] = int(one(times))
    return x.repeat(many)


@operator("Tile", since=6, read=(1,), shapely=True)
def tile(node: Node, x: Tensor, times: Numbers) -> Tensor:
    """Repeated along every axis."""
    return x.repeat(ints(times))


@operator("Slice", since=1)
def slice_stated(node: Node, x: Tensor) -> Tensor:
    """A part of some axes, which attributes state."""
    starts, ends = node.get("starts", ()), node.get("ends", ())
    return _sliced(x, list(starts), list(ends), list(node.get("axes", range(len(starts)))), [1] * len(starts))


@operator("Slice", since=10, read=(1, 2, 3, 4), shapely=True)
def slice_(
    node: Node, x: Tensor, starts: Numbers, ends: Numbers, which: Numbers | None = None, steps: Numbers | None = None
) -> Tensor:
    """A part of some axes, in steps that may be negative."""
    first, last = ints(starts), ints(ends)
    along = list(range(len(first))) if which is None else ints(which)
    return _sliced(x, first, last, along, [1] * len(first) if steps is None else ints(steps))


def _sliced(x: Tensor, starts: list[int], ends: list[int], along: list[int], steps: list[int]) -> Tensor:
    for start, end, axis, step in zip(starts, ends, along, steps, strict=True):
        axis, n = axis % x.dim(), x.shape[axis]
        kept = range(*slice(start, end, step).indices(n))
        if not kept:
            x = x.narrow(axis, 0, 0)
        elif step == 1:
            x = x if len(kept) == n else x.narrow(axis, kept.start, len(kept))
        else:
            if step < 0:
                x, kept = x.flip(axis), range(n - 1 - kept[0], n - kept[-1], -step)
            x = x[(*[slice(None)] * axis, slice(kept.start, kept[-1] + 1, kept.step))]
    return x


@operator("Split", read=(1,), shapely=True)
def split(node: Node, x: Tensor, sizes: Numbers | None = None) -> tuple[Tensor, ...]:
    """Cut along an axis: into stated lengths, or into equal ones of which the last may be shorter."""
    axis = node.get("axis", 0)
    stated = node.get("split") if sizes is None else ints(sizes)
    if stated:
        return torch.split(x, list(stated), axis)
    parts, n = node.get("num_outputs") or node.count, x.shape[axis]
    each = -(-n // parts)
    lengths = [max(0, min(each, n - i * each)) for i in range(parts)]
    return torch.split(x, lengths, axis)


@operator("DepthToSpace")
def depth_to_space(node: Node, x: Tensor) -> Tensor:
    """Channels laid out as blocks of pixels: depth first (DCR) or column first (CRD, a pixel shuffle)."""
    b, (n, c, h, w) = node.get("blocksize", 1), x.shape
    if node.get("mode", "DCR") == "CRD":
        return torch.pixel_shuffle(x, b)
    blocks = x.reshape(n, b, b, c // (b * b), h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(node: Node, x: Tensor) -> Tensor:
    """Blocks of pixels laid out as channels: depth first (DCR) or column first (CRD)."""
    b, (n, c, h, w) = node.get("blocksize", 1), x.shape
    if node.get("mode", "DCR") == "CRD":
        return torch.pixel_unshuffle(x, b)
    blocks = x.reshape(n, c, h // b, b, w // b, b)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)
