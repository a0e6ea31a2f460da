"""Matrices of 2, 4 or 8 bits in blocks, each with a scale, as language models are stored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.microsoft import DOMAIN
from pellucid.doors.onnx.running.registry import operator


def unpacked(x: Tensor, bits: int) -> Tensor:
    """The numbers in bytes, lowest bits first, side by side on the last axis."""
    if bits not in (2, 4, 8):
        raise BadModel(f"A matrix has numbers of {bits} bits.", "Export the model with 4 or 8 bits.")
    if bits == 8:
        return x
    shifts = torch.arange(0, 8, bits, device=x.device, dtype=torch.uint8)
    parts = torch.bitwise_right_shift(x.unsqueeze(-1), shifts)
    return torch.bitwise_and(parts, 2**bits - 1).flatten(-2)


@operator("MatMulNBits", domain=DOMAIN)
def matmul_bits(
    node: Node,
    a: Tensor,
    b: Tensor,
    scales: Tensor,
    zeros: Tensor | None = None,
    groups: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """A product with a matrix that is kept `[outputs, blocks, bytes]`."""
    inputs, outputs = node.get("K"), node.get("N")
    bits, block = node.get("bits", 4), node.get("block_size", 32)
    blocks = -(-inputs // block)
    levels = unpacked(b.reshape(outputs, blocks, -1), bits)[..., :block].to(a.dtype)
    scales = scales.reshape(outputs, blocks).to(a.dtype)
    if zeros is None:
        middle = torch.full_like(scales, 2 ** (bits - 1))
    elif zeros.is_floating_point():
        middle = zeros.reshape(outputs, blocks).to(a.dtype)
    else:
        middle = unpacked(zeros.reshape(outputs, -1), bits)[:, :blocks].to(a.dtype)
    if groups is not None:  # each input says which block's scale is its own
        which, flat = groups[:inputs].long(), levels.flatten(1)[:, :inputs]
        weight = (flat - middle[:, which]) * scales[:, which]
    else:
        weight = ((levels - middle.unsqueeze(-1)) * scales.unsqueeze(-1)).flatten(1)[:, :inputs]
    return F.linear(a, weight, bias)


@operator("GatherBlockQuantized", domain=DOMAIN)
def gather_blocks(node: Node, table: Tensor, indices: Tensor, scales: Tensor, zeros: Tensor | None = None) -> Tensor:
    """Rows of a table that is kept in blocks along its last axis."""
    bits, block = node.get("bits", 4), node.get("block_size", 128)
    axis, along = node.get("gather_axis", 0) % table.dim(), node.get("quantize_axis", 1) % table.dim()
    packed = table.dtype == torch.uint8 and not node.stated(0).endswith(("int4", "int2"))
    if axis or along != table.dim() - 1:
        raise BadModel("A quantized table is read along another axis than its first.", "Export the model again.")
    levels = unpacked(table, bits) if packed else table
    middle = (torch.zeros_like(scales) if not packed else torch.full_like(scales, 2 ** (bits - 1))).to(scales.dtype)
    if zeros is not None:
        middle = (unpacked(zeros, bits)[..., : scales.shape[-1]] if packed else zeros).to(scales.dtype)
    which = indices.long()
    many, base = (t[which].repeat_interleave(block, -1)[..., : levels.shape[-1]] for t in (scales, middle))
    return (levels[which].to(scales.dtype) - base) * many
