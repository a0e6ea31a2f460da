"""Arithmetic and the elementary functions, element by element, and products of matrices."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, one

Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Tensor, Tensor], Tensor]

_UNARY: dict[str, Unary] = {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh,
    "Atan": torch.atan, "Atanh": torch.atanh, "Ceil": torch.ceil, "Cos": torch.cos, "Cosh": torch.cosh,
    "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "IsNaN": torch.isnan, "Log": torch.log,
    "Neg": torch.neg, "Reciprocal": torch.reciprocal, "Round": torch.round, "Sign": torch.sign, "Sin": torch.sin,
    "Sinh": torch.sinh, "Sqrt": torch.sqrt, "Tan": torch.tan, "Tanh": torch.tanh, "Det": torch.linalg.det,
    "Not": torch.logical_not,
}  # fmt: skip
_SHAPELY = ("Abs", "Neg", "Ceil", "Floor", "Sqrt", "Round", "Not", "Sign")


def _unary(name: str, function: Unary) -> None:
    @operator(name, shapely=name in _SHAPELY)
    def run(node: Node, x: Tensor) -> Tensor:
        return function(x)


for _name, _function in _UNARY.items():
    _unary(_name, _function)


def broadcast(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """`b` as it is meant beside `a`: before operator set 7, axes were matched from `axis` on."""
    axis = node.get("axis")
    if node.version >= 7 or axis is None or b.ndim == 0:
        return b
    return b.reshape(*b.shape, *[1] * (a.dim() - axis % max(a.dim(), 1) - b.dim()))


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b) if a.is_floating_point() or a.is_complex() else torch.div(a, b, rounding_mode="trunc")


def _equal(a: Any, b: Any) -> Tensor:
    return torch.eq(a, b) if isinstance(a, Tensor) else torch.from_numpy(np.asarray(a == b, dtype=bool))


def _power(a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b).to(a.dtype)


_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def widened(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same function on the unsigned types for which torch has no kernels, by way of int64.

    64 bits are seen with a sign: sums and products come out right, comparisons of numbers from 2^63 on do not.
    """

    def run(*inputs: Tensor) -> Tensor:
        kind = getattr(inputs[0], "dtype", None)  # strings are arrays
        if kind not in _UNSIGNED:
            return function(*inputs)
        out = function(*(x.to(torch.int64) for x in inputs))
        return out.to(kind) if out.dtype == torch.int64 else out

    return run


_BINARY: dict[str, Binary] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": _divide, "Pow": _power,
    "Equal": _equal, "Greater": torch.gt, "Less": torch.lt, "GreaterOrEqual": torch.ge, "LessOrEqual": torch.le,
    "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor,
    "BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor,
}  # fmt: skip


def _binary(name: str, function: Binary) -> None:
    wide = widened(function)

    @operator(name, shapely=True)
    def run(node: Node, a: Tensor, b: Tensor) -> Tensor:
        return wide(a, broadcast(node, a, b))


for _name, _operation in _BINARY.items():
    _binary(_name, _operation)


@operator("BitwiseNot")
def bitwise_not(node: Node, x: Tensor) -> Tensor:
    """Every bit turned over."""
    return widened(torch.bitwise_not)(x)


@operator("BitShift")
def bit_shift(node: Node, x: Tensor, by: Tensor) -> Tensor:
    """Bits moved up or down; those that fall off are lost, as the type has no sign."""
    wide, by = x.to(torch.int64), by.to(torch.int64)
    if node.get("direction") == "LEFT":
        return torch.bitwise_left_shift(wide, by).to(x.dtype)
    shifted = torch.bitwise_right_shift(wide, by)
    if x.dtype == torch.uint64:  # seen with a sign, the highest bit would be drawn after
        shifted = shifted & ~torch.where(by > 0, torch.bitwise_left_shift(torch.tensor(-1), 64 - by), 0)
    return shifted.to(x.dtype)


@operator("Mod", shapely=True)
def mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """The remainder, with the sign of the divisor, or of the dividend when `fmod`."""
    return widened(torch.fmod if node.get("fmod", 0) else torch.remainder)(a, b)


def _several(name: str, function: Binary) -> None:
    wide = widened(function)

    @operator(name, shapely=True)
    def run(node: Node, *inputs: Tensor) -> Tensor:
        return reduce(wide, inputs)


_several("Sum", torch.add)
_several("Max", torch.maximum)
_several("Min", torch.minimum)


@operator("Mean")
def mean(node: Node, *inputs: Tensor) -> Tensor:
    """The mean over the inputs, which are broadcast."""
    return reduce(torch.add, inputs) / len(inputs)


@operator("Where", shapely=True)
def where(node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where the condition holds, else `b`."""
    return torch.where(condition, a, b)


@operator("IsInf")
def is_inf(node: Node, x: Tensor) -> Tensor:
    """Which values are infinite, of the signs asked for."""
    found = torch.zeros_like(x, dtype=torch.bool)
    if node.get("detect_positive", 1):
        found = found | torch.isposinf(x)
    return found | torch.isneginf(x) if node.get("detect_negative", 1) else found


@operator("MatMul")
def matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices, batched over the leading axes."""
    return torch.matmul(a, b)


@operator("Gemm")
def gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """`alpha A B + beta C`; a linear layer when it is one, which has rules of its own."""
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    a = a.t() if node.get("transA", 0) else a
    transposed = bool(node.get("transB", 0))
    if alpha == 1 and a.is_floating_point() and (c is None or (beta == 1 and c.dim() == 1)):
        return F.linear(a, b if transposed else b.t(), c)
    product = torch.matmul(a, b.t() if transposed else b)
    product = product if alpha == 1 else (alpha * product).to(product.dtype)
    return product if c is None else product + (c if beta == 1 else (beta * c).to(c.dtype))


@operator("Einsum")
def einsum(node: Node, *inputs: Tensor) -> Tensor:
    """A sum of products, as its equation says."""
    return torch.einsum(node.get("equation", "").replace(" ", ""), *inputs)


@operator("CumSum", read=(1,))
def cumulative_sum(node: Node, x: Tensor, axis: Numbers) -> Tensor:
    """Sums from the start (or the end) of an axis; `exclusive` leaves each element itself out."""
    return _cumulative(node, torch.cumsum, x, int(one(axis)), 0)


@operator("CumProd", read=(1,))
def cumulative_product(node: Node, x: Tensor, axis: Numbers) -> Tensor:
    """Products from the start (or the end) of an axis; `exclusive` leaves each element itself out."""
    return _cumulative(node, torch.cumprod, x, int(one(axis)), 1)


def _cumulative(node: Node, function: Callable[..., Tensor], x: Tensor, axis: int, neutral: int) -> Tensor:
    backwards = bool(node.get("reverse", 0))
    x = x.flip(axis) if backwards else x
    if node.get("exclusive", 0):
        first = torch.full_like(x.narrow(axis, 0, 1), neutral)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    total = function(x, axis, dtype=x.dtype)
    return total.flip(axis) if backwards else total
