"""Products and convolutions of quantized tensors, computed exactly in whole numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.convolution import conv
from pellucid.doors.onnx.running.operators.quantize import centered, level_name, quantized
from pellucid.doors.onnx.running.registry import operator


@operator("MatMulInteger")
def matmul_integer(
    node: Node, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    """The product of two matrices of levels, less their zero points, in 32 bits."""
    return torch.matmul(centered(a, a_zero), centered(b, b_zero, columns=True)).to(torch.int32)


@operator("QLinearMatMul")
def matmul_levels(
    node: Node,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    scale: Tensor,
    zero: Tensor,
) -> Tensor:
    """The product of two quantized matrices, quantized."""
    total = torch.matmul(centered(a, a_zero), centered(b, b_zero, columns=True))
    rows = a_scale.unsqueeze(-1) if a_scale.dim() == 1 and a_scale.numel() > 1 else a_scale
    factor = rows.double() * b_scale.double()
    return quantized(total * factor, scale.double(), zero, level_name(zero))


@operator("ConvInteger")
def conv_integer(
    node: Node, x: Tensor, weight: Tensor, x_zero: Tensor | None = None, weight_zero: Tensor | None = None
) -> Tensor:
    """A convolution of levels, less their zero points, in 32 bits; what is added around is the zero point."""
    return conv(node, centered(x, x_zero), centered(weight, _each_channel(weight_zero, weight))).to(torch.int32)


@operator("QLinearConv")
def conv_levels(
    node: Node,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    weight_zero: Tensor,
    scale: Tensor,
    zero: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """A convolution of quantized tensors, quantized; the bias counts in steps of both scales' product."""
    total = conv(
        node,
        centered(x, x_zero),
        centered(weight, _each_channel(weight_zero, weight)),
        None if bias is None else bias.double(),
    )
    factor = x_scale.double() * weight_scale.double()
    if factor.numel() > 1:
        factor = factor.reshape(-1, *[1] * (weight.dim() - 2))
    return quantized(total * factor, scale.double(), zero, level_name(zero))


def _each_channel(zero: Tensor | None, weight: Tensor) -> Tensor | None:
    many = zero is not None and zero.numel() > 1
    return zero.reshape(-1, *[1] * (weight.dim() - 1)) if zero is not None and many else zero
