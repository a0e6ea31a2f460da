"""The vocabulary of operations: which torch functions are one and the same, however a model happens to spell them.

`nn.ReLU()`, `F.relu`, `torch.relu`, `x.relu_()` and `x.clamp(min=0)` are all the operation `relu`.  Operations of
several values (pooling, products, softmax) are told apart in `operations_of_many`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a torch function: what it computes, from which tensors, and how to compute it out of place.

    `inputs` are those tensors of the call that may change with what is explained; everything else is inside `plain`.
    """

    name: str
    inputs: tuple[Tensor, ...]
    plain: Callable[..., Tensor]
    in_place: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


# Functions of one number that torch offers by the same name as a function, a method and a method that works in place.
_CURVES = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "square", "abs", "erf",
    "erfc", "sinc", "sin", "cos", "atan", "sinh", "cosh", "asinh",
)  # fmt: skip


def _curve(name: str) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
    owners = ((torch, name), (torch, name + "_"), (Tensor, name), (Tensor, name + "_"), (Tensor, f"__{name}__"))
    return getattr(torch, name), tuple(getattr(owner, n) for owner, n in owners if hasattr(owner, n))


def _spellings() -> dict[Any, tuple[str, Callable[..., Tensor]]]:
    """Every spelling of every activation: function -> (operation, out-of-place function)."""
    table: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...]]] = {
        "relu": (torch.relu, (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)),
        "relu6": (F.relu6, (F.relu6,)),
        "hardtanh": (F.hardtanh, (F.hardtanh, F.hardtanh_)),
        "leaky_relu": (F.leaky_relu, (F.leaky_relu, F.leaky_relu_)),
        "elu": (F.elu, (F.elu, F.elu_)),
        "selu": (torch.selu, (F.selu, torch.selu, torch.selu_)),
        "celu": (torch.celu, (F.celu, torch.celu, torch.celu_)),
        "silu": (F.silu, (F.silu,)),
        "gelu": (F.gelu, (F.gelu,)),
        "mish": (F.mish, (F.mish,)),
        "hardswish": (F.hardswish, (F.hardswish,)),
        "hardsigmoid": (F.hardsigmoid, (F.hardsigmoid,)),
        "softplus": (F.softplus, (F.softplus,)),
        "threshold": (F.threshold, (F.threshold, torch.threshold, torch.threshold_)),
        "sigmoid": (
            torch.sigmoid,
            (F.sigmoid, torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, torch.special.expit),
        ),
        "tanh": (torch.tanh, (F.tanh, torch.tanh, torch.tanh_, Tensor.tanh, Tensor.tanh_)),
        "logsigmoid": (F.logsigmoid, (F.logsigmoid,)),
        "softsign": (F.softsign, (F.softsign,)),
        "tanhshrink": (F.tanhshrink, (F.tanhshrink,)),
        "hardshrink": (F.hardshrink, (F.hardshrink, torch.hardshrink)),
        "softshrink": (F.softshrink, (F.softshrink,)),
        "prelu": (F.prelu, (F.prelu, torch.prelu, Tensor.prelu)),
        "pow": (torch.pow, (torch.pow, Tensor.pow, Tensor.__pow__, Tensor.pow_)),
        **{name: _curve(name) for name in _CURVES},
    }
    return {spelling: (name, plain) for name, (plain, all_) in table.items() for spelling in all_}


SPELLINGS: Mapping[Any, tuple[str, Callable[..., Tensor]]] = _spellings()

# What rectifies: zero (or nearly) below zero, growing above.  These are what guided backpropagation and the
# deconvolution network speak of; sigmoid and tanh are not among them.
RECTIFIERS = frozenset(
    {"relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "gelu", "mish", "hardswish", "softplus", "threshold"}
)

_CLAMPS = (
    torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_, torch.clamp_min, Tensor.clamp_min, Tensor.clamp_min_,
    torch.clip, torch.clip_, Tensor.clip, Tensor.clip_,
)  # fmt: skip
_MAXIMA = (torch.maximum, Tensor.maximum, torch.max, Tensor.max)


# What is computed of each number by itself, so that a rule may speak of one slope for each.
ELEMENTWISE = frozenset(name for name, _ in SPELLINGS.values()) | {"clamp"}


def activation(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation | None:
    """The elementwise operation that a call computes, or None when it computes something else."""
    if not args or not isinstance(args[0], Tensor):
        args = (kwargs["input"], *args) if isinstance(kwargs.get("input"), Tensor) else args
        kwargs = {k: v for k, v in kwargs.items() if k != "input"}
    if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
        return None
    if any(isinstance(v, Tensor) and v.requires_grad for v in (*args[1:], *kwargs.values())):
        return None
    name = getattr(func, "__name__", "")
    in_place = bool(kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))
    if func in SPELLINGS:
        operation, plain = SPELLINGS[func]
        rest, keywords, in_place = _without_inplace(operation, args[1:], kwargs, in_place)
        if operation == "hardtanh" and _bounds(rest, keywords) == (0, 6):
            operation = "relu6"
        return Operation(operation, (args[0],), lambda x: plain(x, *rest, **keywords), in_place)
    if func in _CLAMPS:
        low, high = _clamp_limits(name, args, kwargs)
        if low == 0 and high is None:
            return Operation("relu", (args[0],), torch.relu, in_place)
        if low == 0 and high == 6:
            return Operation("relu6", (args[0],), F.relu6, in_place)
        if low is not None or high is not None:
            return Operation("clamp", (args[0],), lambda x: torch.clamp(x, low, high), in_place)
    if func in _MAXIMA and len(args) == 2 and _is_zero(args[1]):
        return Operation("relu", (args[0],), torch.relu)
    return None


def _is_zero(value: object) -> bool:
    """Is it a constant tensor that holds the one number zero?"""
    return isinstance(value, Tensor) and not value.requires_grad and value.numel() == 1 and float(value) == 0


# functions whose positional arguments end with `inplace`, and where it stands after the input
_INPLACE_AT = {
    "relu": 0, "relu6": 0, "silu": 0, "mish": 0, "hardswish": 0, "hardsigmoid": 0, "selu": 0,
    "leaky_relu": 1, "elu": 1, "celu": 1, "hardtanh": 2, "threshold": 2,
}  # fmt: skip


def _without_inplace(
    operation: str, rest: tuple[Any, ...], kwargs: Mapping[str, Any], in_place: bool
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    keywords = {k: v for k, v in kwargs.items() if k != "inplace"}
    at = _INPLACE_AT.get(operation, 99)
    if len(rest) > at:
        return rest[:at], keywords, in_place or bool(rest[at])
    return rest, keywords, in_place


def _bounds(rest: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[Any, Any]:
    low = rest[0] if rest else keywords.get("min_val", -1.0)
    return low, rest[1] if len(rest) > 1 else keywords.get("max_val", 1.0)


def _clamp_limits(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    if any(isinstance(v, Tensor) for v in (low, high)):
        return None, None
    return low, None if name.startswith("clamp_min") else high
