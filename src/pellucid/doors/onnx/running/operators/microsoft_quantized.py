"""ONNX Runtime's operators on quantized tensors: back to numbers, the operation, and to levels again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.microsoft import DOMAIN
from pellucid.doors.onnx.running.operators.microsoft_attention import attention
from pellucid.doors.onnx.running.operators.pooling import average_pool
from pellucid.doors.onnx.running.operators.quantize import centered, level_name, quantized, restored, spanned
from pellucid.doors.onnx.running.registry import operator


def _levels(x: Tensor, scale: Tensor, zero: Tensor | None, like: Tensor) -> Tensor:
    return quantized(x, scale.reshape(()), None if zero is None else zero.reshape(()), level_name(like))


def _numbers(x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    return restored(x, scale.reshape(()), None if zero is None else zero.reshape(()))


def _two(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @operator(name, domain=DOMAIN)
    def run(
        node: Node,
        a: Tensor,
        a_scale: Tensor,
        a_zero: Tensor | None,
        b: Tensor,
        b_scale: Tensor,
        b_zero: Tensor | None,
        scale: Tensor,
        zero: Tensor | None = None,
    ) -> Tensor:
        out = function(_numbers(a, a_scale, a_zero), _numbers(b, b_scale, b_zero))
        return _levels(out, scale, zero, a)


_two("QLinearAdd", torch.add)
_two("QLinearMul", torch.mul)


def _pool_each(node: Node, x: Tensor) -> Tensor:
    return _channels(node, x, lambda v: average_pool(node, v))


def _pool_all(node: Node, x: Tensor) -> Tensor:
    return _channels(node, x, lambda v: v.mean(tuple(range(2, v.dim())), keepdim=True))


def _channels(node: Node, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    return function(x.movedim(-1, 1)).movedim(1, -1) if node.get("channels_last", 0) else function(x)


def _softmax(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", -1) % x.dim()
    if node.get("opset", 13) >= 13:
        return F.softmax(x, axis)
    return F.softmax(x.flatten(axis), -1).reshape(x.shape)


def _mean(node: Node, x: Tensor) -> Tensor:
    axes = node.get("axes") or range(x.dim())
    return x.mean(tuple(axes), keepdim=bool(node.get("keepdims", 1)))


def _one(name: str, function: Callable[[Node, Tensor], Tensor]) -> None:
    @operator(name, domain=DOMAIN)
    def run(
        node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor | None, scale: Tensor, zero: Tensor | None = None
    ) -> Tensor:
        return _levels(function(node, _numbers(x, x_scale, x_zero)), scale, zero, x)


_one("QLinearAveragePool", _pool_each)
_one("QLinearGlobalAveragePool", _pool_all)
_one("QLinearSigmoid", lambda node, x: torch.sigmoid(x))
_one("QLinearLeakyRelu", lambda node, x: F.leaky_relu(x, node.get("alpha", 0.01)))
_one("QLinearSoftmax", _softmax)
_one("QLinearReduceMean", _mean)


@operator("QLinearConcat", domain=DOMAIN)
def concat(node: Node, scale: Tensor, zero: Tensor, *parts: Tensor) -> Tensor:
    """Joined along an axis, brought to one scale."""
    found = [_numbers(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
    return _levels(torch.cat(found, node.get("axis")), scale, zero, zero)


@operator("QLinearWhere", domain=DOMAIN)
def where(
    node: Node,
    condition: Tensor,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    scale: Tensor,
    zero: Tensor,
) -> Tensor:
    """`a` where the condition holds, else `b`, brought to one scale."""
    out = torch.where(condition, _numbers(a, a_scale, a_zero), _numbers(b, b_scale, b_zero))
    return _levels(out, scale, zero, zero)


@operator("QGemm", domain=DOMAIN)
def gemm(
    node: Node,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    c: Tensor | None = None,
    scale: Tensor | None = None,
    zero: Tensor | None = None,
) -> Tensor:
    """A product of quantized matrices with a bias in steps of both scales; quantized when a scale for it is given."""
    left, right = centered(a, a_zero), b.t() if node.get("transB", 0) else b
    total = torch.matmul(left.t() if node.get("transA", 0) else left, centered(right, b_zero, columns=True))
    total = total if c is None else total + c.double()
    alpha: float = node.get("alpha", 1.0)
    out = alpha * total * a_scale.double() * b_scale.double()
    if scale is None:
        return out.to(a_scale.dtype)
    return quantized(out, scale.double(), zero, "uint8" if zero is None else level_name(zero))


@operator("MatMulIntegerToFloat", domain=DOMAIN)
def matmul_to_float(
    node: Node,
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    a_zero: Tensor | None = None,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """A product of quantized matrices as numbers."""
    total = torch.matmul(centered(a, a_zero), centered(b, b_zero, columns=True))
    out = (total * a_scale.double() * b_scale.double()).to(a_scale.dtype)
    return out if bias is None else out + bias


@operator("DynamicQuantizeMatMul", domain=DOMAIN)
def dynamic_matmul(
    node: Node, a: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """The same with a left side that is quantized here, to its own span."""
    levels, scale, zero = spanned(a)
    return matmul_to_float(node, levels, b, scale, b_scale, zero, b_zero, bias)


@operator("QAttention", domain=DOMAIN)
def quantized_attention(
    node: Node,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    mask: Tensor | None = None,
    x_zero: Tensor | None = None,
    weight_zero: Tensor | None = None,
    past: Tensor | None = None,
) -> Any:
    """Self-attention whose projection is quantized; the rest of it computes with numbers."""
    if weight_zero is not None and weight_zero.numel() > 1:
        raise BadModel("A quantized attention has a zero point for each column.", "Quantize the model symmetrically.")
    return attention(node, _numbers(x, x_scale, x_zero), restored(weight, weight_scale, weight_zero), bias, mask, past)
