"""Functions written out in simpler ones, so that rules which speak of those reach inside.

Only layers with a formula of their own are here; the values are those of the layer, up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.attention.catch import attended
from pellucid.core.opened import opened
from pellucid.rules.normalizations import NORMALIZATIONS
from pellucid.rules.recurrent import RECURRENT


def _divided(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is not None or not isinstance(b, Tensor) or not b.requires_grad:
        return NotImplemented
    return a * b.reciprocal()


def _divided_in_place(a: Tensor, b: Any, **kwargs: Any) -> Any:
    if kwargs or not isinstance(b, Tensor) or not b.requires_grad:
        return NotImplemented
    return a.mul_(b.reciprocal())


def _divided_by_held(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    varies = isinstance(b, Tensor) and b.requires_grad
    if rounding_mode is not None or not varies or not isinstance(a, Tensor):
        return NotImplemented
    return a * b.detach().reciprocal() if a.requires_grad else a * b.reciprocal()


def _held_inverse_root(input: Tensor) -> Tensor:
    return input.detach().rsqrt()


def _number_divided(b: Tensor, a: Any) -> Any:
    return a * b.reciprocal()


def _attention(*args: Any, **kwargs: Any) -> Any:
    dropout = args[4] if len(args) > 4 else kwargs.get("dropout_p")
    return NotImplemented if dropout else attended(*args, **kwargs)


def _glu(input: Tensor, dim: int = -1) -> Tensor:
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def _least(input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """A minimum is a maximum, turned over; over everything it would mix samples, and along an axis gives places too."""
    return -(-input).amax(*args, **kwargs)


def _less_of(input: Tensor, other: Any) -> Any:
    return -torch.maximum(-input, -other)


def _with_places(func: Any, of_values: Callable[..., Tensor], result: Any) -> Callable[..., Any]:
    """Maximum (or minimum) along an axis: the values by another function, the places as they are."""

    def along(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
        if isinstance(dim, Tensor):
            return of_values(input, dim) if func is not torch.max else NotImplemented
        if dim is None:
            return NotImplemented
        places = func(input.detach(), dim, keepdim)[1]
        return result((of_values(input, dim, keepdim), places))

    return along


def _least_or_less(input: Tensor, other: Any, keepdim: bool = False) -> Any:
    return _less_of(input, other) if isinstance(other, Tensor) else _least(input, other, keepdim)


def _plus_product(input: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Any:
    return input + value * (a * b)


def _mixed(input: Tensor, end: Tensor, weight: Any) -> Any:
    return input + (end - input) * weight


def _power_of_number(exponent: Tensor, base: Any) -> Any:
    return (exponent * math.log(base)).exp() if not isinstance(base, Tensor) and base > 0 else NotImplemented


# What is a whole block of layers in one call.
BLOCKS: Mapping[Any, Callable[..., Any]] = {
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: opened(F.multi_head_attention_forward),
    **RECURRENT,
}

_LESS_USUAL: Mapping[Any, Callable[..., Any]] = {
    **dict.fromkeys((torch.amin, Tensor.amin), _least),
    **dict.fromkeys((torch.minimum, Tensor.minimum), _less_of),
    **dict.fromkeys((torch.max, Tensor.max), _with_places(torch.max, torch.amax, torch.return_types.max)),
    **dict.fromkeys((torch.min, Tensor.min), _with_places(torch.min, _least_or_less, torch.return_types.min)),
    **dict.fromkeys((torch.addcmul, Tensor.addcmul), _plus_product),
    **dict.fromkeys((torch.lerp, Tensor.lerp), _mixed),
    Tensor.__rpow__: _power_of_number,
}

_SIMPLER: Mapping[Any, Callable[..., Any]] = {
    **NORMALIZATIONS,
    F.glu: _glu,
    **{func: opened(func) for func in (F.softmin, F.normalize, F.instance_norm, F.local_response_norm)},
    **BLOCKS,
}
_QUOTIENTS: tuple[Any, ...] = (
    *(torch.div, torch.divide, torch.true_divide),
    *(Tensor.div, Tensor.divide, Tensor.true_divide, Tensor.__truediv__),
)
_QUOTIENTS_IN_PLACE: tuple[Any, ...] = (Tensor.div_, Tensor.true_divide_, Tensor.__itruediv__)
_INVERSES = dict.fromkeys((Tensor.__rdiv__, Tensor.__rtruediv__), _number_divided)

# For a rule that follows every signal.
WRITTEN_OUT: Mapping[Any, Callable[..., Any]] = {
    **_SIMPLER,
    **_LESS_USUAL,
    **_INVERSES,
    **dict.fromkeys(_QUOTIENTS, _divided),
    **dict.fromkeys(_QUOTIENTS_IN_PLACE, _divided_in_place),
}
# For a rule that regards what a signal is divided by as a number.
DIVISORS_HELD: Mapping[Any, Callable[..., Any]] = {
    **_SIMPLER,
    **_INVERSES,
    **dict.fromkeys(_QUOTIENTS, _divided_by_held),
    **dict.fromkeys((torch.rsqrt, Tensor.rsqrt), _held_inverse_root),
}
