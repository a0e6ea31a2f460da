"""Sums, means, greatest and least values over axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, axes

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _reduction(name: str, shapely: bool = False) -> Callable[[Reduction], Reduction]:
    """Register a reduction: over stated axes, over all when none are stated, or over none if the file says so."""

    def register(function: Reduction) -> Reduction:
        @operator(name, read=(1,), shapely=shapely)
        def run(node: Node, x: Tensor, which: Numbers | None = None) -> Tensor:
            along = axes(node, which)
            if not along:
                if node.get("noop_with_empty_axes", 0):
                    return _elementwise(function, x)
                along = list(range(x.dim()))
            out = function(x, along, bool(node.get("keepdims", 1)))
            return out if out.dtype == x.dtype else out.to(x.dtype)

        return function

    return register


def _elementwise(function: Reduction, x: Tensor) -> Tensor:
    """A reduction over no axis still computes what it does to each number: a square, a logarithm."""
    return function(x.unsqueeze(-1), [-1], False).to(x.dtype)


def _empty(x: Tensor, along: list[int], keep: bool, value: float) -> Tensor:
    """What a reduction over an axis of length 0 gives."""
    which = {a % x.dim() for a in along}
    shape = [1 if i in which else n for i, n in enumerate(x.shape) if keep or i not in which]
    return torch.full(shape, value, dtype=x.dtype, device=x.device)


def _limit(x: Tensor, greatest: bool) -> float:
    if x.dtype == torch.bool:
        return float(greatest)
    if x.is_floating_point():
        return float("inf") if greatest else -float("inf")
    return torch.iinfo(x.dtype).max if greatest else torch.iinfo(x.dtype).min


@_reduction("ReduceSum", shapely=True)
def reduce_sum(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The sum."""
    return torch.sum(x, along, keepdim=keep, dtype=x.dtype) if x.dim() else x


@_reduction("ReduceMean")
def reduce_mean(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The mean; of whole numbers cut to a whole number."""
    return torch.mean(x if x.is_floating_point() else x.double(), along, keepdim=keep) if x.dim() else x


@_reduction("ReduceMax", shapely=True)
def reduce_max(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The greatest value; among none, the least that there is."""
    if 0 in (x.shape[a] for a in along):
        return _empty(x, along, keep, _limit(x, False))
    return torch.amax(x, along, keepdim=keep)


@_reduction("ReduceMin", shapely=True)
def reduce_min(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The least value; among none, the greatest that there is."""
    if 0 in (x.shape[a] for a in along):
        return _empty(x, along, keep, _limit(x, True))
    return torch.amin(x, along, keepdim=keep)


@_reduction("ReduceProd", shapely=True)
def reduce_prod(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The product."""
    for axis in sorted((a % x.dim() for a in along), reverse=True):
        x = torch.prod(x, axis, keepdim=keep, dtype=x.dtype)
    return x


@_reduction("ReduceL1")
def reduce_l1(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The sum of magnitudes."""
    return torch.sum(torch.abs(x), along, keepdim=keep, dtype=x.dtype)


@_reduction("ReduceL2")
def reduce_l2(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The root of the sum of squares."""
    if x.is_floating_point():
        norm: Tensor = torch.linalg.vector_norm(x, 2, along, keepdim=keep)
        return norm
    return torch.sqrt(torch.sum((x * x).double(), along, keepdim=keep))


@_reduction("ReduceSumSquare")
def reduce_sum_square(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The sum of squares."""
    return torch.sum(x * x, along, keepdim=keep, dtype=x.dtype)


@_reduction("ReduceLogSum")
def reduce_log_sum(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The logarithm of the sum."""
    return torch.log(torch.sum(x, along, keepdim=keep))


@_reduction("ReduceLogSumExp")
def reduce_log_sum_exp(x: Tensor, along: list[int], keep: bool) -> Tensor:
    """The logarithm of the sum of exponentials."""
    return torch.logsumexp(x if x.is_floating_point() else x.double(), along, keepdim=keep)
