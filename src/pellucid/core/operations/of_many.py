"""Operations that make one number of several: maxima, products of two signals, softmax and its relatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.operations.kinds import Operation, activation


def named(*names: str) -> dict[Any, str]:
    """Every function of those names that torch offers, by itself, as a method or as an operator."""
    owners = (torch, F, Tensor, torch.special)
    return {getattr(owner, name): name for name in names for owner in owners if hasattr(owner, name)}


_POOLS = named(
    "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "amax", "maximum", "max",
)  # fmt: skip
# Linear in each of two factors, and at most linear in anything else (a bias).
_PRODUCTS = named(
    "mul", "multiply", "__mul__", "__rmul__", "mul_", "__imul__", "multiply_", "matmul", "__matmul__", "__rmatmul__",
    "mm", "bmm", "mv", "dot", "inner", "outer", "einsum", "tensordot", "addmm", "addbmm", "baddbmm", "linear",
    "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
)  # fmt: skip
_TIMES_IN_PLACE = {"mul_", "__imul__", "multiply_"}
_SOFTMAX = named("softmax", "log_softmax", "logsumexp")


def operation(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation | None:
    """The operation that a call computes, or None when it is none that a rule can speak of.

    A product is one only where both factors depend on what is explained; else it is linear.
    """
    found = activation(func, args, kwargs)
    if found is not None:
        return found if found.inputs[0].requires_grad else None
    if func in _SOFTMAX:
        return _softmax(_SOFTMAX[func], func, args, kwargs)
    if func in _POOLS and not _gives_indices(_POOLS[func], args, kwargs):
        return of_dependent("max_pool", func, args, kwargs)
    if func in _PRODUCTS:
        times = _PRODUCTS[func] in _TIMES_IN_PLACE
        product = of_dependent("product", torch.mul if times else func, args, kwargs, in_place=times)
        return product if product is not None and 2 <= len(product.inputs) <= _MOST.get(_PRODUCTS[func], 2) else None
    return None


_WITH_BIAS = ("addmm", "addbmm", "baddbmm", "linear", "bilinear", "conv1d", "conv2d", "conv3d")
_MOST: Mapping[str, int] = dict.fromkeys(_WITH_BIAS, 3)


def of_dependent(
    name: str, func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any], **more: Any
) -> Operation | None:
    """The call as a function of those of its tensors that depend on what is explained."""
    if len(args) == 2 and isinstance(args[1], list | tuple) and isinstance(args[0], str):
        args = (args[0], *args[1])  # einsum takes its operands as a list, too
    slots: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    where = [k for k, v in slots.items() if isinstance(v, Tensor) and v.requires_grad]

    def plain(*new: Tensor) -> Tensor:
        filled = slots | dict(zip(where, new, strict=True))
        return func(*(filled[i] for i in range(len(args))), **{k: filled[k] for k in kwargs})

    return Operation(name, tuple(slots[k] for k in where), plain, **more) if where else None


def _gives_indices(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    if name == "max":  # of two tensors; along an axis it gives places too, and over everything it mixes samples
        return not (len(args) == 2 and isinstance(args[1], Tensor))
    at = {"adaptive": 2, "max": 6}.get(name.split("_")[0], 99) if "pool" in name else 99
    return bool(kwargs.get("return_indices")) or (len(args) > at and bool(args[at]))


def _softmax(name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation | None:
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    found = of_dependent(name, func, args, kwargs)
    if found is None or dim is None or len(found.inputs) > 1:
        return None
    keep = bool(args[2] if name == "logsumexp" and len(args) > 2 else kwargs.get("keepdim"))
    return Operation(name, found.inputs, found.plain, options={"dim": dim, "keepdim": keep})
