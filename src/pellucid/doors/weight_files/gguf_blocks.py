"""How GGUF packs numbers: in blocks, where a few small integers share a scale, itself packed in the larger blocks.

The layouts are those of ggml (its ggml-common.h and ggml-quants.c).  Below, a field is written as [blocks, bytes]; the
low bits of a byte come first in all of them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
# number of the type -> (name, numbers in a block, bytes of a block)
TYPES = {
    2: ("q4_0", 32, 18), 3: ("q4_1", 32, 20), 6: ("q5_0", 32, 22), 7: ("q5_1", 32, 24), 8: ("q8_0", 32, 34),
    9: ("q8_1", 32, 36), 10: ("q2_k", 256, 84), 11: ("q3_k", 256, 110), 12: ("q4_k", 256, 144),
    13: ("q5_k", 256, 176), 14: ("q6_k", 256, 210), 15: ("q8_k", 256, 292), 16: ("iq2_xxs", 256, 66),
    17: ("iq2_xs", 256, 74), 18: ("iq3_xxs", 256, 98), 19: ("iq1_s", 256, 50), 20: ("iq4_nl", 32, 18),
    21: ("iq3_s", 256, 110), 22: ("iq2_s", 256, 82), 23: ("iq4_xs", 256, 136), 29: ("iq1_m", 256, 56),
    34: ("tq1_0", 256, 54), 35: ("tq2_0", 256, 66), 39: ("mxfp4", 32, 17), 40: ("nvfp4", 64, 36),
    41: ("q1_0", 128, 18),
}  # fmt: skip
# those whose numbers are looked up in a book of hundreds of patterns, which the package gguf has
BOOKS = ("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s")
_BYTES = {name: size for name, _, size in TYPES.values()}
_FOUR = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)  # of iq4
_E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12], np.float32)  # twice the numbers of four bits with a sign (OCP MX 1.0)
_SIGNED = np.concatenate([_E2M1, -_E2M1])


def is_unpacked(packing: str) -> bool:
    """Can the numbers of this packing be had here?  Of those with books, where the package gguf is installed."""
    return packing in _UNPACK or (packing in BOOKS and importlib.util.find_spec("gguf") is not None)


def unpacked_blocks(packing: str, data: bytes | bytearray) -> Array:
    """The numbers of whole blocks, in 32-bit floats.

    What a damaged scale makes infinite or NaN stays so.

    >>> scale, nibbles = np.float16(0.5).tobytes(), bytes([0x80] * 16)
    >>> unpacked_blocks("q4_0", scale + nibbles)[[0, 16]].tolist()
    [-4.0, 0.0]
    """
    blocks = np.frombuffer(data, np.uint8).reshape(-1, _BYTES[packing])
    with np.errstate(over="ignore", invalid="ignore"):
        numbers: Array = _UNPACK[packing](blocks) if packing in _UNPACK else _looked_up(packing, blocks)
    return numbers.astype(np.float32, copy=False).reshape(-1)


def _looked_up(packing: str, blocks: Array) -> Array:
    package: Any = importlib.import_module("gguf.quants")
    kind = next(number for number, (name, *_) in TYPES.items() if name == packing)
    numbers: Array = package.dequantize(blocks, package.GGMLQuantizationType(kind))
    return numbers


def _cut(blocks: Array, *sizes: int) -> list[Array]:
    """The fields of each block, in turn."""
    return np.split(blocks, np.cumsum(sizes)[:-1], axis=1)


def _half(field: Array) -> Array:
    return np.ascontiguousarray(field).view(np.float16).astype(np.float32)


def _signed(field: Array) -> Array:
    return np.ascontiguousarray(field).view(np.int8).astype(np.float32)


def _planes(field: Array, bits: int, run: int) -> Array:
    """Bytes as small integers: in every run of bytes first the lowest bits of all, then the next, `[blocks, numbers]`.

    >>> _planes(np.array([[0x21, 0x43]], np.uint8), 4, 2).tolist()
    [[1, 3, 2, 4]]
    """
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    parts = field.reshape(len(field), -1, 1, run) >> shifts & np.uint8((1 << bits) - 1)
    return parts.reshape(len(field), field.shape[1] * 8 // bits)


def _groups(numbers: Array, scales: Array, least: Array | None = None) -> Array:
    """Integers times the scale of their group, less what the group lies lower."""
    grouped = numbers.reshape(*scales.shape, -1).astype(np.float32) * scales[..., None]
    return grouped if least is None else grouped - least[..., None]


def _q1_0(blocks: Array) -> Array:
    scale, bits = _cut(blocks, 2, 16)
    numbers: Array = _half(scale) * (2 * np.unpackbits(bits, axis=1, bitorder="little").astype(np.float32) - 1)
    return numbers


def _q4_0(blocks: Array) -> Array:
    scale, low = _cut(blocks, 2, 16)
    return _half(scale) * (_planes(low, 4, 16).astype(np.float32) - 8)


def _q4_1(blocks: Array) -> Array:
    scale, least, low = _cut(blocks, 2, 2, 16)
    return _half(scale) * _planes(low, 4, 16) + _half(least)


def _five(high: Array, low: Array) -> Array:
    """Integers of five bits: the fifth ones lie by themselves."""
    fifth = np.unpackbits(high, axis=1, bitorder="little")
    numbers: Array = (_planes(low, 4, 16) | fifth << 4).astype(np.float32)
    return numbers


def _q5_0(blocks: Array) -> Array:
    scale, high, low = _cut(blocks, 2, 4, 16)
    numbers: Array = _five(high, low) - 16
    return _half(scale) * numbers


def _q5_1(blocks: Array) -> Array:
    scale, least, high, low = _cut(blocks, 2, 2, 4, 16)
    return _half(scale) * _five(high, low) + _half(least)


def _q8_0(blocks: Array, between: int = 0) -> Array:
    scale, _, numbers = _cut(blocks, 2, between, 32)
    return _half(scale) * _signed(numbers)


def _q2_k(blocks: Array) -> Array:
    scales, low, scale, least = _cut(blocks, 16, 64, 2, 2)
    return _groups(_planes(low, 2, 32), _half(scale) * (scales & 15), _half(least) * (scales >> 4))


def _q3_k(blocks: Array) -> Array:
    high, low, scales, scale = _cut(blocks, 32, 64, 12, 2)
    six = _planes(scales[:, :8], 4, 8) | _planes(scales[:, 8:], 2, 4) << 4  # sixteen scales of six bits
    numbers = _planes(low, 2, 32).astype(np.float32) - 4 * (1 - _planes(high, 1, 32).astype(np.float32))
    return _groups(numbers, _half(scale) * (six.astype(np.float32) - 32))


def _scales_of_k(packed: Array) -> tuple[Array, Array]:
    """Eight scales and eight offsets of six bits in twelve bytes; the upper two bits of the last four lie apart."""
    scales, offsets, last = _cut(packed, 4, 4, 4)
    return (
        np.concatenate([scales & 63, last & 15 | (scales >> 6) << 4], 1).astype(np.float32),
        np.concatenate([offsets & 63, last >> 4 | (offsets >> 6) << 4], 1).astype(np.float32),
    )


def _q4_k(blocks: Array) -> Array:
    scale, least, packed, low = _cut(blocks, 2, 2, 12, 128)
    scales, offsets = _scales_of_k(packed)
    return _groups(_planes(low, 4, 32), _half(scale) * scales, _half(least) * offsets)


def _q5_k(blocks: Array) -> Array:
    scale, least, packed, high, low = _cut(blocks, 2, 2, 12, 32, 128)
    scales, offsets = _scales_of_k(packed)
    numbers = _planes(low, 4, 32) | _planes(high, 1, 32) << 4
    return _groups(numbers, _half(scale) * scales, _half(least) * offsets)


def _q6_k(blocks: Array) -> Array:
    low, high, scales, scale = _cut(blocks, 128, 64, 16, 2)
    numbers = (_planes(low, 4, 64) | _planes(high, 2, 32) << 4).astype(np.float32) - 32
    return _groups(numbers, _half(scale) * _signed(scales))


def _q8_k(blocks: Array) -> Array:
    scale, numbers, _ = _cut(blocks, 4, 256, 32)  # the sums of sixteen, which end it, speed up products only
    return np.ascontiguousarray(scale).view(np.float32) * _signed(numbers)


def _iq4_nl(blocks: Array) -> Array:
    scale, low = _cut(blocks, 2, 16)
    return _half(scale) * _FOUR[_planes(low, 4, 16)]


def _iq4_xs(blocks: Array) -> Array:
    scale, upper, lower, low = _cut(blocks, 2, 2, 4, 128)
    scales = _planes(lower, 4, 1) | _planes(upper, 2, 1) << 4  # eight of six bits, in order
    return _groups(_FOUR[_planes(low, 4, 16)], _half(scale) * (scales.astype(np.float32) - 32))


def _tq1_0(blocks: Array) -> Array:
    """Five digits of base three in a byte, as a fraction of 256: the first is had by tripling it."""
    first, second, third, scale = _cut(blocks, 32, 16, 4, 2)
    parts = [_digits(first, 5), _digits(second, 5), _digits(third, 4)]
    return _half(scale) * (np.concatenate(parts, 1).astype(np.float32) - 1)


def _digits(field: Array, count: int) -> Array:
    shifted = field[:, None, :] * (3 ** np.arange(count, dtype=np.uint8))[:, None]
    return (shifted.astype(np.uint16) * 3 >> 8).reshape(len(field), -1)


def _tq2_0(blocks: Array) -> Array:
    low, scale = _cut(blocks, 64, 2)
    return _half(scale) * (_planes(low, 2, 32).astype(np.float32) - 1)


def _mxfp4(blocks: Array) -> Array:
    power, low = _cut(blocks, 1, 16)
    scale: Array = np.ldexp(np.float32(1), power.astype(np.int32) - 128)  # half: see `_E2M1`
    numbers: Array = scale * _SIGNED[_planes(low, 4, 16)]
    return numbers


def _nvfp4(blocks: Array) -> Array:
    scales, low = _cut(blocks, 4, 32)
    power, rest = (scales >> 3 & 15).astype(np.int32), (scales & 7).astype(np.float32)  # eight bits, no sign
    scale = np.where(power == 0, np.ldexp(rest, -10), np.ldexp(1 + rest / 8, power - 8))
    return _groups(_SIGNED[_planes(low, 4, 8)], np.where(scales == 127, 0, scale).astype(np.float32))


_UNPACK: dict[str, Callable[[Array], Array]] = {
    "q1_0": _q1_0, "q4_0": _q4_0, "q4_1": _q4_1, "q5_0": _q5_0, "q5_1": _q5_1, "q8_0": _q8_0,
    "q8_1": partial(_q8_0, between=2), "q2_k": _q2_k, "q3_k": _q3_k, "q4_k": _q4_k, "q5_k": _q5_k, "q6_k": _q6_k,
    "q8_k": _q8_k, "iq4_nl": _iq4_nl, "iq4_xs": _iq4_xs, "tq1_0": _tq1_0, "tq2_0": _tq2_0, "mxfp4": _mxfp4,
    "nvfp4": _nvfp4,
}  # fmt: skip
