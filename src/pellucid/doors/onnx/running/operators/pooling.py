"""Pools: the greatest, the mean or a norm of each window, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.convolution import paddings, spatial, turned
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, ints

_MAX = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVERAGE = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
_CONV = (F.conv1d, F.conv2d, F.conv3d)
_ADAPTIVE = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
_ADAPTIVE_MAX = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the windows of a pool lie: `extra` is what must be added at the end so that they all fit (or cut off)."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    extra: list[int]

    @property
    def plain(self) -> bool:
        """Can torch's own padding do it?"""
        halves = all(b <= k // 2 for b, k in zip(self.before, self.kernel, strict=True))
        return self.before == self.after and halves and all(e <= a for e, a in zip(self.extra, self.after, strict=True))


def windows(node: Node, x: Tensor) -> Windows:
    """The windows of a pool over `x`; one that would start behind the last value is left out."""
    kernel = list(node.get("kernel_shape", ()))
    n = len(kernel)
    spatial(node, n)
    strides, dilations = list(node.get("strides", [1] * n)), list(node.get("dilations", [1] * n))
    before, after = paddings(node, x.shape[2:], kernel, strides, dilations)
    extra = []
    for length, k, s, d, b, a in zip(x.shape[2:], kernel, strides, dilations, before, after, strict=True):
        span = (k - 1) * d + 1
        free = length + b + a - span
        count = (-(-free // s) if node.get("ceil_mode", 0) else free // s) + 1
        if node.get("ceil_mode", 0) and (count - 1) * s >= length + b:
            count -= 1
        extra.append((count - 1) * s + span - length - b)
    return Windows(kernel, strides, dilations, before, after, extra)


@operator("MaxPool")
def max_pool(node: Node, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    """The greatest value of each window, and where in the whole tensor it is when that is asked for."""
    w, kind = windows(node, x), x.dtype
    pool = _MAX[len(w.kernel) - 1]
    values = x if x.is_floating_point() else x.to(torch.float64)
    if w.plain and not node.wants(1):
        return pool(values, w.kernel, w.strides, w.before, w.dilations).to(kind)
    values = F.pad(values, turned(w.before, w.extra), value=-float("inf"))
    if not node.wants(1):
        return pool(values, w.kernel, w.strides, 0, w.dilations).to(kind)
    out, places = pool(values, w.kernel, w.strides, 0, w.dilations, return_indices=True)
    return out.to(kind), _unpadded(node, x, places, values.shape[2:], w.before)


def _unpadded(node: Node, x: Tensor, places: Tensor, padded: Sequence[int], before: Sequence[int]) -> Tensor:
    """Places in one padded plane as places in the whole tensor, rows or columns counted first."""
    coordinates: list[Tensor] = []
    for length, b in zip(reversed(padded), reversed(before), strict=True):
        coordinates.insert(0, places % length - b)
        places = places // length
    size = list(x.shape[2:])
    order = range(len(size)) if not node.get("storage_order", 0) else reversed(range(len(size)))
    flat = torch.zeros_like(places)
    for axis in order:
        flat = flat * size[axis] + coordinates[axis]
    planes = torch.arange(x.shape[0] * x.shape[1], device=x.device) * prod(size)
    return flat + planes.reshape(x.shape[0], x.shape[1], *[1] * len(size))


def _sums(x: Tensor, w: Windows) -> Tensor:
    """The sum of each window of values that are padded already."""
    n = len(w.kernel)
    if all(d == 1 for d in w.dilations):
        return _AVERAGE[n - 1](x, w.kernel, w.strides) * prod(w.kernel)
    ones = torch.ones(x.shape[1], 1, *w.kernel, dtype=x.dtype, device=x.device)
    return _CONV[n - 1](x, ones, None, w.strides, 0, w.dilations, x.shape[1])


@operator("AveragePool")
def average_pool(node: Node, x: Tensor) -> Tensor:
    """The mean of each window; padding counts as zeros if it is said to."""
    w, counted = windows(node, x), bool(node.get("count_include_pad", 0))
    if w.plain and all(d == 1 for d in w.dilations):
        return _AVERAGE[len(w.kernel) - 1](x, w.kernel, w.strides, w.before, False, counted)
    sums = _sums(F.pad(x, turned(w.before, w.extra)), w)
    inside = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device)
    if counted:
        inside, rest = F.pad(inside, turned(w.before, w.after), value=1.0), w.extra
        rest = [e - a for e, a in zip(w.extra, w.after, strict=True)]
        inside = F.pad(inside, turned([0] * len(rest), rest))
    else:
        inside = F.pad(inside, turned(w.before, w.extra))
    return sums / _sums(inside, w)


@operator("LpPool")
def lp_pool(node: Node, x: Tensor) -> Tensor:
    """The p-norm of each window."""
    w, p = windows(node, x), int(node.get("p", 2))
    powers = torch.abs(x) if p == 1 else torch.abs(x) ** p
    return _sums(F.pad(powers, turned(w.before, w.extra)), w) ** (1 / p)


@operator("GlobalAveragePool")
def global_average_pool(node: Node, x: Tensor) -> Tensor:
    """The mean of each channel."""
    n = x.dim() - 2
    if 1 <= n <= 3:
        return _ADAPTIVE[n - 1](x, 1)
    return x.mean(list(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(node: Node, x: Tensor) -> Tensor:
    """The greatest value of each channel."""
    n = x.dim() - 2
    if 1 <= n <= 3 and x.is_floating_point():
        return _ADAPTIVE_MAX[n - 1](x, 1)
    return x.amax(list(range(2, x.dim())), keepdim=True)


@operator("GlobalLpPool")
def global_lp_pool(node: Node, x: Tensor) -> Tensor:
    """The p-norm of each channel."""
    norm: Tensor = torch.linalg.vector_norm(x, node.get("p", 2), list(range(2, x.dim())), keepdim=True)
    return norm


@operator("MaxUnpool", read=(2,))
def max_unpool(node: Node, x: Tensor, places: Tensor, to: Numbers | None = None) -> Tensor:
    """Each value put back where a max pool found it, zeros elsewhere."""
    kernel = node.get("kernel_shape", ())
    n = len(kernel)
    strides, pads = node.get("strides", [1] * n), node.get("pads", [0] * 2 * n)
    inner = [
        (length - 1) * s - pads[i] - pads[n + i] + k
        for i, (length, s, k) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))
    ]
    natural = [*x.shape[:2], *inner]
    empty = torch.zeros(prod(natural), dtype=x.dtype, device=x.device)
    out = empty.scatter(0, places.reshape(-1), x.reshape(-1)).reshape(natural)
    if to is None:
        return out
    rest = [wanted - have for wanted, have in zip(ints(to)[2:], inner, strict=True)]
    return F.pad(out, turned([0] * n, rest))
