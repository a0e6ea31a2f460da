"""Numbers to colors.  Signed maps: blue below zero, red above, zero exactly at the neutral center.

Defaults follow measured perceptual uniformity and color-vision simulations: inferno for what is only positive, vik for
signed maps on a light page, berlin for signed maps on a dark page.  Every table has 255 colors, so that a signed table
has a middle one (number 127), and an 8-bit picture keeps number 255 for "no value".
"""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files
from typing import Literal, TypeAlias

import numpy as np

from pellucid.views.arrays import Array
from pellucid.views.view import Limits

Theme: TypeAlias = Literal["light", "dark"]
LEVELS, NO_VALUE = 255, 255
NEUTRAL = LEVELS // 2
NAMES = ("inferno", "viridis", "vik", "berlin", "grey")
VOID: dict[Theme, tuple[int, int, int]] = {"light": (200, 203, 207), "dark": (72, 76, 82)}
OPACITY = 0.92


@cache
def _shipped() -> dict[str, Array]:
    text = files("pellucid.render").joinpath("colormaps.txt").read_text("ascii")
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {name: np.frombuffer(base64.b64decode(data), np.uint8).reshape(256, 3) for name, data in rows}


@cache
def table(name: str) -> Array:
    """The 255 colors of a map, uint8 [255, 3]; of a signed one, number 127 is the neutral color.

    Shipped tables have 256 colors and no middle: they are resampled linearly, ends kept.

    >>> table("inferno").shape, table("grey")[127].tolist()
    ((255, 3), [128, 128, 128])
    """
    source = np.repeat(np.arange(256.0)[:, None], 3, 1) if name == "grey" else _shipped()[name].astype(float)
    at = np.linspace(0, 255, LEVELS)
    out = np.stack([np.interp(at, np.arange(256), source[:, c]) for c in range(3)], 1)
    colors: Array = np.floor(out + 0.5).astype(np.uint8)
    colors.flags.writeable = False
    return colors


def name_for(signed: bool, theme: Theme) -> str:
    """The color table for a map on a page."""
    return ("vik" if theme == "light" else "berlin") if signed else "inferno"


def levels(values: Array, limits: Limits) -> Array:
    """The number 0..254 of each value's color, 255 where there is no value; what lies beyond `limits` takes the ends.

    >>> levels(np.array([-2.0, -1.0, 0.0, 1.0, np.nan]), (-1.0, 1.0)).tolist()
    [0, 0, 127, 254, 255]
    """
    low, high = limits
    values = values.astype(np.float64)
    if high > low:
        share = np.clip((values - low) / (high - low), 0, 1)
    else:
        share = np.full(values.shape, 0.5 if low == 0 == high else 0.0)
    void = np.isnan(values)
    chosen: Array = np.floor(np.where(void, 0, share) * (LEVELS - 1) + 0.5).astype(np.uint8)
    chosen[void] = NO_VALUE
    return chosen


def strength(values: Array, limits: Limits, signed: bool) -> Array:
    """How opaque each value is over a photo: 0 at zero, `OPACITY` at the limit; nothing where there is no value."""
    low, high = limits
    reach = high if signed else high - low
    from_zero = np.abs(values) if signed else values - low
    share = np.clip(np.nan_to_num(from_zero) / reach, 0, 1) if reach > 0 else np.zeros(values.shape)
    out: Array = OPACITY * share**0.8
    return out


def colors(values: Array, limits: Limits, signed: bool, theme: Theme = "light") -> Array:
    """The color of each value: uint8 [..., 3].

    >>> colors(np.array([0.0]), (-1.0, 1.0), signed=True).tolist() == [table("vik")[127].tolist()]
    True
    """
    name = name_for(signed, theme)
    chosen = levels(values, limits)
    if limits[0] == limits[1] and not signed:
        chosen = np.where(chosen == NO_VALUE, chosen, 0)
    out: Array = np.vstack([table(name), np.array([VOID[theme]], np.uint8)])[chosen]
    return out


def ramp(signed: bool, theme: Theme) -> Array:
    """The whole color table as a picture one pixel high, uint8 [1, 255, 3]: the legend's strip."""
    return table(name_for(signed, theme))[None]


def ink_on(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Near-black or near-white: whichever has the greater contrast (WCAG 2) on this background."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (17, 17, 17) if luminance > 0.179 else (250, 250, 250)
