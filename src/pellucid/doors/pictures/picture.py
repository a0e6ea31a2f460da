"""A decoded picture, and the way there from arrays and tensors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.doors.pictures.pixels import Rules, over, scaled_grey

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: RGB in 0..1, a sentence for every conversion done, the SHA-256 of its bytes, its format."""

    rgb: Float[Tensor, "3 height width"]
    notes: tuple[str, ...] = ()
    digest: str = ""
    format: str = ""


def channels_last(t: Tensor) -> Array:
    """A tensor `[channels, height, width]` (or `[height, width]`, or a batch of one) as an array, channels last."""
    t = t.detach().to("cpu", torch.float32 if t.dtype in (torch.bfloat16, torch.float16) else t.dtype)
    if t.ndim == 4 and t.shape[0] == 1:
        t = t[0]
    if t.ndim == 2:
        t = t[None]
    if t.ndim != 3 or t.shape[0] not in (1, 3, 4):
        hint = (
            "Use tensor.permute(2, 0, 1)."
            if t.ndim == 3 and t.shape[-1] in (1, 3, 4)
            else "Give one picture, not a batch."
        )
        raise BadInput(f"The tensor has shape {tuple(t.shape)}; a picture is [3, height, width].", hint)
    values: Array = t.permute(1, 2, 0).numpy()
    return values


def from_array(values: Array, rules: Rules, name: str, kind: str) -> Picture:
    """A picture from `[height, width]` or `[height, width, 1, 3 or 4]`; `BadInput` for another shape or range."""
    values = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] not in (3, 4)) or 0 in values.shape:
        hint = (
            "Use array.transpose(1, 2, 0)."
            if values.ndim == 3 and values.shape[0] in (1, 3, 4)
            else "Give one picture."
        )
        raise BadInput(f"{name} has shape {values.shape}; a picture is [height, width] or [height, width, 3].", hint)
    digest = hashlib.sha256(
        f"{values.dtype} {values.shape}".encode() + np.ascontiguousarray(values).tobytes()
    ).hexdigest()
    rgb, notes = _array_rgb(values, rules, name)
    return Picture(rgb, tuple(notes), digest, kind)


def _array_rgb(values: Array, rules: Rules, name: str) -> tuple[Tensor, list[str]]:
    if values.ndim == 2:
        notes = ["Its grey values stand for red, green and blue alike."]
        largest = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0}.get(values.dtype.name)
        grey = torch.from_numpy(scaled_grey(values, rules.window, largest, name, notes))
        return grey.expand(3, -1, -1).clone(), notes
    if rules.window is not None:
        raise BadInput(f"{name} is a color picture: window applies to grey values.", "Leave window out.")
    color = torch.from_numpy(_unit(values, name)).permute(2, 0, 1).contiguous()
    notes = []
    return (color, notes) if len(color) == 3 else (over(color[:3], color[3:], rules.background, notes), notes)


def _unit(values: Array, name: str) -> NDArray[np.float32]:
    """Color values in 0..1: whole numbers by the range of their type, floats as they are if they fit."""
    if values.dtype.name in ("uint8", "uint16"):
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return values.astype(np.float32)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise BadInput(f"{name} holds NaN or infinite values.", "Replace them before opening it.")
    hint = (
        "Divide it by 255."
        if low >= 0 and high <= 255
        else "Undo the normalization, or give it to the network as it is."
    )
    raise BadInput(f"{name} holds {values.dtype.name} values from {low:g} to {high:g}; a picture's lie in 0..1.", hint)
