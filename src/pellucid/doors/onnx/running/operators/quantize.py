"""From numbers to few levels and back.

Rounding is flat wherever it has a derivative, and whole numbers have none in torch: no gradient passes a quantized
tensor.  Pretending otherwise (straight through) would explain another function, so it is not done: methods that need
gradients report that none reaches the input, and those that only run the network work as ever.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.graph import DTYPES
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.cast import eighth, quarter
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import named_dtype

# Types without a torch type of their own are kept one number a byte.
_LEVELS = {
    "uint2": (0, 3), "int2": (-2, 1), "uint4": (0, 15), "int4": (-8, 7), "uint8": (0, 255), "int8": (-128, 127),
    "uint16": (0, 65535), "int16": (-32768, 32767), "int32": (-(2**31), 2**31 - 1),
}  # fmt: skip


def quantized(x: Tensor, scale: Tensor, zero: Tensor | None, name: str, saturate: bool = True) -> Tensor:
    """`x / scale + zero`, rounded to the nearest level (halves to the even one) and held within the type."""
    y = x / scale
    if name.startswith("float8"):
        return eighth(y, named_dtype(name), saturate)
    if name.startswith("float4"):
        return quarter(y)
    if name not in _LEVELS:
        raise BadModel(f"Numbers of type {name} cannot be quantized to.", "Export the model with int8 or uint8.")
    level = torch.round(y.float() if y.element_size() < 4 else y)
    level = level if zero is None else level + zero.to(level.dtype)
    return torch.clamp(level, *_LEVELS[name]).to(named_dtype(name))


def restored(x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """`(x - zero) * scale`, in the type of the scale."""
    if x.dtype.is_floating_point:
        wide = x.to(scale.dtype)
        return (wide if zero is None else wide - zero.to(scale.dtype)) * scale
    whole = x if zero is None else x.to(torch.int64) - zero.to(torch.int64)
    return whole.to(scale.dtype) * scale


def level_name(x: Tensor) -> str:
    """The type of a quantized tensor by torch's."""
    return str(x.dtype).removeprefix("torch.")


def spread(values: Tensor | None, x: Tensor, axis: int, block: int = 0) -> Tensor | None:
    """Scales or zero points beside `x`: one for all, one for each place on an axis, or one for each block on it."""
    if values is None or values.numel() == 1:
        return None if values is None else values.reshape(())
    if block:
        return values.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    if values.dim() != 1:
        return values
    lengths = [1] * x.dim()
    lengths[axis] = -1
    return values.reshape(lengths)


def _wide(scale: Tensor) -> Tensor:
    return scale.to(torch.float32) if scale.element_size() == 1 else scale


@operator("QuantizeLinear")
@operator("QuantizeLinear", domain="com.microsoft")
def quantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """To levels, for the whole tensor, along an axis, or in blocks."""
    asked = node.get("output_dtype", 0)
    name = DTYPES[asked] if asked else node.stated(2) or ("uint8" if zero is None else level_name(zero))
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    scale = _wide(scale)
    precision = node.get("precision", 0)
    kind = named_dtype(DTYPES[precision]) if precision else scale.dtype
    many, zeros = spread(scale, x, axis, block), spread(zero, x, axis, block)
    assert many is not None  # noqa: S101 (scale is given)
    return quantized(x.to(kind), many.to(kind), zeros, name, bool(node.get("saturate", 1)))


@operator("DequantizeLinear")
@operator("DequantizeLinear", domain="com.microsoft")
def dequantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Back from levels."""
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    many, asked = spread(_wide(scale), x, axis, block), node.get("output_dtype", 0)
    assert many is not None  # noqa: S101 (scale is given)
    out = restored(x, many, spread(zero, x, axis, block))
    return out.to(named_dtype(DTYPES[asked])) if asked else out


@operator("DynamicQuantizeLinear")
def dynamic(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """To 256 levels that span the values and 0; the scale and the zero point are outputs too."""
    return spanned(x)


def spanned(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Levels, scale, and the level of 0."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.clamp(torch.round(-low / scale), 0, 255).to(torch.uint8)
    return quantized(x, scale, zero, "uint8"), scale, zero


def centered(x: Tensor, zero: Tensor | None, columns: bool = False) -> Tensor:
    """`x - zero` in double precision, in which sums of products of levels are exact; a zero for each row or column."""
    wide = x.to(torch.float64)
    if zero is None:
        return wide
    zero = zero.to(torch.float64)
    if zero.numel() == 1:
        return wide - zero.reshape(())
    return wide - (zero.unsqueeze(-1) if zero.dim() == 1 and not columns else zero)
