"""Functions written out in simpler ones, so that rules which speak of those reach inside.

Only layers with a formula of their own are here; the values are those of the layer, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.attention import attended
from pellucid.core.opened import opened


def _divided(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is not None or not isinstance(b, Tensor) or not b.requires_grad:
        return NotImplemented
    return a * b.reciprocal()


def _divided_in_place(a: Tensor, b: Any, **kwargs: Any) -> Any:
    if kwargs or not isinstance(b, Tensor) or not b.requires_grad:
        return NotImplemented
    return a.mul_(b.reciprocal())


def _number_divided(b: Tensor, a: Any) -> Any:
    return a * b.reciprocal()


def standardized(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """`x` less its mean, divided by its standard deviation."""
    centered = x - x.mean(axes, keepdim=True)
    return centered * (centered.square().mean(axes, keepdim=True) + eps).rsqrt()


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


def _attention(*args: Any, **kwargs: Any) -> Any:
    dropout = args[4] if len(args) > 4 else kwargs.get("dropout_p")
    return NotImplemented if dropout else attended(*args, **kwargs)


def _glu(input: Tensor, dim: int = -1) -> Tensor:
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


WRITTEN_OUT: Mapping[Any, Callable[..., Any]] = {
    **dict.fromkeys((torch.div, torch.divide, torch.true_divide, Tensor.div, Tensor.divide), _divided),
    **dict.fromkeys((Tensor.true_divide, Tensor.__truediv__), _divided),
    **dict.fromkeys((Tensor.div_, Tensor.true_divide_, Tensor.__itruediv__), _divided_in_place),
    Tensor.__rdiv__: _number_divided,
    Tensor.__rtruediv__: _number_divided,
    **dict.fromkeys((F.layer_norm, torch.layer_norm), _layer_norm),
    **dict.fromkeys((F.group_norm, torch.group_norm), _group_norm),
    F.rms_norm: _rms_norm,
    F.scaled_dot_product_attention: _attention,
    F.glu: _glu,
    **{func: opened(func) for func in (F.softmin, F.multi_head_attention_forward)},
}
