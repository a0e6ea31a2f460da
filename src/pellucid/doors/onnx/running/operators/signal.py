"""Fourier transforms, the windows that go with them, and the mel scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.graph import DTYPES
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, dtype, one


def _complex(x: Tensor) -> Tensor:
    """The last axis holds real numbers (length 1) or pairs of real and imaginary part (2)."""
    return torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x.squeeze(-1)


@operator("DFT", read=(1,))
def dft_stated(node: Node, x: Tensor, length: Numbers | None = None) -> Tensor:
    """Operator set 17: the axis is an attribute, 1 unless stated."""
    return _dft(node, x, length, node.get("axis", 1))


@operator("DFT", since=20, read=(1, 2))
def dft(node: Node, x: Tensor, length: Numbers | None = None, axis: Numbers | None = None) -> Tensor:
    """The discrete Fourier transform along an axis, cut or filled up to a length; back by `inverse`."""
    return _dft(node, x, length, -2 if axis is None else int(one(axis)))


def _dft(node: Node, x: Tensor, length: Numbers | None, axis: int) -> Tensor:
    axis, n = axis % x.dim(), None if length is None else int(one(length))
    inverse, onesided = bool(node.get("inverse", 0)), bool(node.get("onesided", 0))
    kind, wide = x.dtype, x.float() if x.element_size() < 4 else x
    if axis == x.dim() - 1:
        raise BadModel("A Fourier transform runs over the axis of real and imaginary parts.", "Export it again.")
    out: Tensor
    if inverse and onesided:
        n = n or 2 * (x.shape[axis] - 1)
        out = torch.fft.irfft(_complex(wide), n, axis).unsqueeze(-1)
        return out.to(kind)
    if onesided:
        return torch.view_as_real(torch.fft.rfft(wide.squeeze(-1), n, axis)).to(kind)
    return torch.view_as_real((torch.fft.ifft if inverse else torch.fft.fft)(_complex(wide), n, axis)).to(kind)


@operator("STFT", read=(1, 3))
def stft(node: Node, x: Tensor, step: Numbers, window: Tensor | None = None, length: Numbers | None = None) -> Tensor:
    """Fourier transforms of frames `step` apart: `[batch, frames, frequencies, 2]`; nothing is added at the ends."""
    x = x.unsqueeze(-1) if x.dim() == 2 else x
    if length is None and window is None:
        raise BadModel("An STFT has neither a window nor a frame length.", "Export the model again.")
    n = int(one(length)) if length is not None else len(window)  # type: ignore[arg-type]
    frames = _complex(x).unfold(1, n, int(one(step)))
    frames = frames if window is None else frames * window
    real = not frames.is_complex()
    out = torch.fft.rfft(frames) if real and node.get("onesided", 1) else torch.fft.fft(frames)
    return torch.view_as_real(out)


def _cosines(node: Node, size: Numbers, weights: tuple[float, ...]) -> Tensor:
    """The sum of `weights[k] cos(2 pi k i / n)`."""
    n, kind = int(one(size)), DTYPES[node.get("output_datatype", 1)]
    around = max(n if node.get("periodic", 1) else n - 1, 1)
    angle = torch.arange(n).to(torch.float32) * (2 * math.pi / around)
    total = sum(w * torch.cos(k * angle) for k, w in enumerate(weights))
    assert isinstance(total, Tensor)  # noqa: S101 (there is a weight)
    return total.to(getattr(torch, kind))


@operator("HannWindow", read=(0,))
def hann(node: Node, size: Numbers) -> Tensor:
    """0.5 - 0.5 cos."""
    return _cosines(node, size, (0.5, -0.5))


@operator("HammingWindow", read=(0,))
def hamming(node: Node, size: Numbers) -> Tensor:
    """25/46 - 21/46 cos."""
    return _cosines(node, size, (25 / 46, -21 / 46))


@operator("BlackmanWindow", read=(0,))
def blackman(node: Node, size: Numbers) -> Tensor:
    """0.42 - 0.5 cos + 0.08 cos of twice the angle."""
    return _cosines(node, size, (0.42, -0.5, 0.08))


@operator("MelWeightMatrix", read=(0, 1, 2, 3, 4))
def mel_weights(node: Node, bands: Numbers, size: Numbers, rate: Numbers, low: Numbers, high: Numbers) -> Tensor:
    """How much each frequency `[size / 2 + 1]` counts in each of the bands, which are triangles on the mel scale.

    mel = 2595 log10(1 + hertz / 700); corners are rounded down to whole frequencies, as the standard has it.
    """
    count, n = int(one(bands)), int(one(size))
    ends = torch.tensor([float(one(low)), float(one(high))], dtype=torch.float64)
    first, last = (2595 * torch.log10(1 + ends / 700)).tolist()
    mel = first + torch.arange(count + 2, dtype=torch.float64) * ((last - first) / (count + 2))
    corners = torch.floor((n + 1) * (700 * (10 ** (mel / 2595) - 1)) / float(one(rate)))
    begin, top, end = corners[:-2], corners[1:-1], corners[2:]
    at = torch.arange(n // 2 + 1, dtype=torch.float64).unsqueeze(1)
    rising = torch.where(top > begin, (at - begin) / (top - begin).clamp(min=1), 1.0)
    falling = torch.where(end > top, (end - at) / (end - top).clamp(min=1), 0.0)
    weights = torch.where((at >= begin) & (at <= top), rising, torch.where((at >= top) & (at < end), falling, 0.0))
    return weights.to(dtype(node.get("output_datatype", 1)))
