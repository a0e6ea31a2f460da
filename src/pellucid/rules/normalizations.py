"""Normalizations and lengths written out in means, squares and roots, so that rules for those reach inside."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def standardized(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """`x` less its mean, divided by its standard deviation."""
    centered = x - x.mean(axes, keepdim=True)
    return centered * (centered.square().mean(axes, keepdim=True) + eps).rsqrt()


def _instance_norm(
    input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, running_mean: Tensor | None = None,
    running_var: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    if not use_input_stats:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    shape = (-1, *[1] * (input.ndim - 2))
    found = standardized(input, tuple(range(2, input.ndim)), eps)
    return _affine(found, *(None if v is None else v.reshape(shape) for v in (weight, bias)))


def _batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Only where it takes its statistics from the values themselves; by what it has learned it is linear."""
    if not training and running_mean is not None:
        return NotImplemented
    shape = (-1, *[1] * (input.ndim - 2))
    found = standardized(input, (0, *range(2, input.ndim)), eps)
    return _affine(found, *(None if v is None else v.reshape(shape) for v in (weight, bias)))


def _spread(root: bool) -> Callable[..., Any]:
    """The standard deviation or the variance."""

    def spread(
        input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
    ) -> Any:
        if isinstance(dim, bool):  # std(x, unbiased) of everything
            dim, unbiased = None, dim
        axes = tuple(range(input.ndim)) if dim is None else ((dim,) if isinstance(dim, int) else tuple(dim))
        count = math.prod(input.shape[a] for a in axes)
        less = correction if correction is not None else float(unbiased is None or bool(unbiased))
        squares = (input - input.mean(axes, keepdim=True)).square()
        found = squares.sum(axes, keepdim=keepdim) * (1 / (count - less))
        return found.sqrt() if root else found

    return spread


def _length(input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The Euclidean length; of other orders nothing is known here."""
    given = dict(zip(("p", "dim", "keepdim"), args, strict=False)) | kwargs
    order = given.pop("ord", given.pop("p", 2))
    dim, keepdim = given.pop("dim", None), bool(given.pop("keepdim", False))
    if order not in (2, 2.0, None, "fro") or any(v is not None for v in given.values()):
        return NotImplemented
    return input.square().sum(dim, keepdim=keepdim).sqrt()


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:  # fmt: skip
    axes = len(normalized_shape) if not isinstance(normalized_shape, int) else 1
    return _affine(standardized(input, tuple(range(-axes, 0)), eps), weight, bias)


def _rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(input * (input.square().mean(axes, keepdim=True) + eps).rsqrt(), weight, None)


def _group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:  # fmt: skip
    grouped = input.reshape(len(input), num_groups, -1)
    shape = (1, -1, *[1] * (input.ndim - 2))
    found = standardized(grouped, (2,), eps).reshape(input.shape)
    return _affine(found, *(None if v is None else v.reshape(shape) for v in (weight, bias)))


def _similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    a, b = (v * (v.square().sum(dim, keepdim=True).sqrt().clamp(min=eps)).reciprocal() for v in (x1, x2))
    return (a * b).sum(dim)


NORMALIZATIONS: Mapping[Any, Callable[..., Any]] = {
    **dict.fromkeys((F.layer_norm, torch.layer_norm), _layer_norm),
    **dict.fromkeys((F.group_norm, torch.group_norm), _group_norm),
    F.rms_norm: _rms_norm,
    torch.instance_norm: _instance_norm,
    F.batch_norm: _batch_norm,
    **dict.fromkeys((torch.std, Tensor.std), _spread(root=True)),
    **dict.fromkeys((torch.var, Tensor.var), _spread(root=False)),
    **dict.fromkeys((torch.norm, Tensor.norm, torch.linalg.vector_norm, torch.linalg.norm), _length),
    **dict.fromkeys((F.cosine_similarity, torch.cosine_similarity), _similarity),
}
