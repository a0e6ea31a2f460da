"""From one type of number to another, also to those of eight bits and fewer, and between numbers and strings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.doors.onnx.graph import DTYPES
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import from_array, named_dtype

_INTEGERS = {"int4": (4, True), "uint4": (4, False), "int2": (2, True), "uint2": (2, False)}


@operator("Cast", shapely=True)
def cast(node: Node, x: Any) -> Any:
    """To the type that an attribute states."""
    code = node.get("to", 1)
    name = DTYPES.get(code, "undefined") if isinstance(code, int) else str(code).lower()
    return _cast(node, x, {"float": "float32", "double": "float64"}.get(name, name))


@operator("CastLike")
def cast_like(node: Node, x: Any, like: Any) -> Any:
    """To the type of the other input; torch keeps numbers of few bits in bytes, so what the file states goes first."""
    held = str(like.dtype).removeprefix("torch.") if isinstance(like, Tensor) else "string"
    stated = node.stated(1)
    return _cast(node, x, stated if stated in _INTEGERS or stated == "float4_e2m1fn" else held)


def _cast(node: Node, x: Any, name: str) -> Any:
    if not isinstance(x, Tensor):
        return x if name == "string" else from_array(_parsed(x, name), name)
    if name == "string":
        return np.array([_written(v) for v in x.reshape(-1).tolist()], dtype=object).reshape(tuple(x.shape))
    if name in _INTEGERS:
        return _narrow(x, *_INTEGERS[name])
    if name == "float4_e2m1fn":
        return quarter(x)
    kind = named_dtype(name)
    if name == "float8_e8m0fnu":
        return _power_of_two(x, node.get("round_mode", "up"), bool(node.get("saturate", 1)))
    if name.startswith("float8") and x.is_floating_point():
        return eighth(x, kind, bool(node.get("saturate", 1)))
    if x.is_floating_point() and not kind.is_floating_point and kind not in (torch.bool, torch.complex64):
        return x.to(torch.int64).to(kind)
    return x.to(kind)


def _parsed(x: Any, name: str) -> Any:
    texts = [v.decode() if isinstance(v, bytes) else str(v) for v in x.reshape(-1)]
    if name.startswith(("int", "uint")):
        return np.array([int(v) for v in texts], dtype=name).reshape(x.shape)
    numbers = torch.tensor([float(v) for v in texts], dtype=torch.float64).to(named_dtype(name))
    return numbers.double().numpy().astype(name if name.startswith("float") else np.float32).reshape(x.shape)


def _written(value: Any) -> str:
    if isinstance(value, float):
        return "NaN" if value != value else np.format_float_positional(np.float32(value), trim="-")
    return str(value)


def _narrow(x: Tensor, bits: int, signed: bool) -> Tensor:
    """The lowest bits of whole numbers, one number a byte."""
    whole = x.to(torch.int64) & ((1 << bits) - 1)
    if signed:
        whole = torch.where(whole >= 1 << (bits - 1), whole - (1 << bits), whole)
    return whole.to(torch.int8 if signed else torch.uint8)


def eighth(x: Tensor, kind: torch.dtype, saturate: bool) -> Tensor:
    """To a float of 8 bits; what is too great becomes the greatest number if it `saturate`s, else what the type has."""
    wide, most = x.to(torch.float32), torch.finfo(kind).max
    if saturate:
        return torch.clamp(wide, -most, most).to(kind)
    if kind == torch.float8_e4m3fn:  # it has no infinity; 464 is the last number that rounds to its greatest, 448
        wide = torch.where(wide.abs() > 464, torch.nan, wide)
    return wide.to(kind)


def quarter(x: Tensor) -> Tensor:
    """To a float of 4 bits (0, 0.5, 1, 1.5, 2, 3, 4, 6, and a sign), held in 8; ties go to the even one."""
    wide = torch.clamp(torch.nan_to_num(x.to(torch.float32), nan=0.0), -6, 6)
    step = torch.where(wide.abs() < 2, 0.5, torch.where(wide.abs() < 4, 1.0, 2.0))
    return (torch.round(wide / step) * step).to(torch.float8_e4m3fn)


def _power_of_two(x: Tensor, mode: str, saturate: bool) -> Tensor:
    """To a type that holds powers of two only, as its exponent plus 127; 255 is no number."""
    mantissa, exponent = torch.frexp(x.to(torch.float64).abs())
    exponent = exponent - 1
    extra = mantissa * 2
    up = {"up": extra > 1, "down": extra > 2, "nearest": extra >= 1.5}[mode]
    exponent = exponent + up.to(exponent.dtype)
    code = exponent + 127
    code = code.clamp(0, 254) if saturate else torch.where((code < 0) | (code > 254), 255, code)
    code = torch.where(x == 0, 0 if saturate else 255, code)
    code = torch.where(torch.isinf(x), 254 if saturate else 255, code)
    return torch.where(torch.isnan(x), 255, code).to(torch.uint8).view(torch.float8_e8m0fnu)


@operator("BitCast")
def bit_cast(node: Node, x: Tensor) -> Tensor:
    """The same bits, taken for another type."""
    kind = named_dtype(DTYPES.get(node.get("to", 1), "undefined"))
    if kind == torch.bool or x.dtype == torch.bool:
        return x.to(torch.uint8).view(kind) if x.dtype == torch.bool else x.view(torch.uint8).to(kind)
    return x.contiguous().view(kind)
