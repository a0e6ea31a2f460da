"""Tensors to pictures: the photo as the network saw it, and maps with one number a place.

Everything here gives NumPy arrays small enough for a report; what was averaged or scaled to get there is said.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.views.arrays import Array
from pellucid.views.number import number
from pellucid.views.view import Photo

SIDE = 288  # Pictures in a report are at most this large, so that it stays under 2 MB; what is larger is averaged.


def photo_of(net: Network | None, x: Tensor, side: int = SIDE) -> Photo:
    """The picture [channels, height, width] as the network saw it, prepared values turned back to colors.

    Without a known preparation the values are stretched from their smallest to their largest, and the caption says so.
    """
    ends = None if _restored(net, x) else _ends(x)
    how = "" if ends in (None, (0.0, 1.0)) else f" Values from {number(ends[0])} (dark) to {number(ends[1])} (bright)."
    height, width = x.shape[1:]
    after = ", after cutting and resizing" if net is not None and net.preparation is not None else ""
    caption = f"{width}×{height} pixels{after}.{how}"
    pixels = pixels_of(net, x, x, side)
    return Photo(pixels, "What the network saw", caption, f"The input picture, {width} by {height} pixels.")


def pixels_of(net: Network | None, x: Tensor, scale_of: Tensor, side: int = SIDE) -> Array:
    """`x: [channels, height, width]` in colors, uint8 `[height, width, 3]` at most `side` large.

    Values that cannot be turned back to colors are stretched as those of the picture `scale_of` are.
    """
    x = x.detach().cpu().float()
    preparation = _restored(net, x)
    if preparation is not None:
        shown = preparation.restore(x[None])[0]
    else:
        low, high = _ends(scale_of)
        shown = (x - low) / ((high - low) or 1.0)
    small = _reduced(_three(shown), side).clamp(0, 1)
    out: Array = (small * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return out


def _restored(net: Network | None, x: Tensor) -> Preparation | None:
    """What turns values back to colors, where it is known."""
    preparation = net.preparation if net is not None else None
    return preparation if preparation is not None and preparation.channels == len(x) else None


def _ends(x: Tensor) -> tuple[float, float]:
    """The values that are drawn black and white: 0 and 1 for what looks like colors, else the least and the largest."""
    low, high = float(x.min()), float(x.max())
    return (0.0, 1.0) if low >= 0 and 0.5 < high <= 1 else (low, high)


def _three(x: Tensor) -> Tensor:
    """Three color channels from however many there are: one is grey, two or more than three are averaged."""
    return x if len(x) == 3 else x.mean(0, keepdim=True).expand(3, -1, -1)


def grey_of(photo: Photo) -> Array:
    """The photo's brightness (Rec. 601 luma), uint8 [height, width]: the ground under a map."""
    luma = photo.pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    out: Array = np.floor(luma + 0.5).astype(np.uint8)
    return out


def flat_map(values: Tensor, signed: bool) -> Tensor:
    """[channels, ...] to one number a place: signed values are summed over channels, others give their largest."""
    values = values.detach().cpu().double()
    if len(values) == 1:
        return values[0]
    return values.sum(0) if signed else values.amax(0)


def reduction_words(channels: int, signed: bool) -> str:
    """What `flat_map` did, in words."""
    if channels == 1:
        return ""
    way = "summed" if signed else "taken at their largest"
    return f"The {channels} channels were {way} at each place."


def map_of(values: Tensor, side: int = SIDE) -> Array:
    """A map [height, width] as an array at most `side` large, averaged over areas where it is larger."""
    out: Array = _reduced(values[None], side)[0].numpy()
    return out


def _reduced(x: Tensor, side: int) -> Tensor:
    height, width = x.shape[1:]
    longest = max(height, width)
    if longest <= side:
        return x
    size = max(1, round(height * side / longest)), max(1, round(width * side / longest))
    return torch.nn.functional.adaptive_avg_pool2d(x[None], size)[0]


def cells_of(values: Tensor, resolution: tuple[int, int]) -> Array:
    """A map that was enlarged, back at its true size: the mean over each of its cells, [height, width]."""
    out: Array = torch.nn.functional.adaptive_avg_pool2d(values[None, None], resolution)[0, 0].numpy()
    return out
