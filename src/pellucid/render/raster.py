"""Maps and photos as pixels: a heat map in color, alone or over its grey photo, and PNG bytes."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from pellucid.render.colormap import Theme, colors, strength
from pellucid.views.arrays import Array
from pellucid.views.view import Heat


def png(pixels: Array) -> bytes:
    """uint8 [height, width, 3] or [height, width] as PNG, without any metadata; the same pixels give the same bytes.

    Few colors are stored as a palette, which keeps every color exactly and is about a third of the size.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    few = image.getcolors(256) if image.mode == "RGB" else None
    if few:
        image = _indexed(pixels, np.array(sorted(color for _, color in few), np.uint8))
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _indexed(pixels: Array, palette: Array) -> Image.Image:
    keys = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    known = palette.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    image = Image.fromarray(np.searchsorted(known, keys).astype(np.uint8), mode=None)
    image.putpalette(palette.tobytes())
    return image


def jpeg(pixels: Array, quality: int = 90, halved: bool = False) -> bytes:
    """uint8 [height, width, 3] as JPEG, about a quarter of a PNG's size; colors at full or at half resolution."""
    out = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(out, "JPEG", quality=quality, subsampling=2 if halved else 0)
    return out.getvalue()


def sheet_uri(pixels: Array, most: int = 200_000) -> str:
    """Many small pictures inside their address, as JPEG of at most `most` bytes where its coarser qualities allow.

    Blocks of half resolution are 16 pixels wide: pictures whose sides are multiples of that do not run into each other.
    """
    data = b""
    for quality in (80, 65, 50, 35):
        data = jpeg(pixels, quality, halved=True)
        if len(data) <= most:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def data_uri(pixels: Array, exact: bool = True) -> str:
    """The picture inside its own address: a report needs no other file.  PNG if every color must be kept."""
    kind, data = ("png", png(pixels)) if exact else ("jpeg", jpeg(pixels))
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")


def enlarged(values: Array, height: int, width: int, smooth: bool) -> Array:
    """A map drawn larger or smaller: [height, width] float64, bilinear if `smooth`, else each cell keeps its edges.

    Cell centers are kept where they are (no half-pixel shift); beyond the outermost centers the edge value goes on.
    """
    if values.shape == (height, width):
        return values.astype(np.float64)
    y, x = _centers(values.shape[0], height), _centers(values.shape[1], width)
    values = values.astype(np.float64)
    if not smooth:
        nearest: Array = values[np.rint(y).astype(int)][:, np.rint(x).astype(int)]
        return nearest
    rows = _between(values, y)
    out: Array = _between(rows.T, x).T
    return out


def _centers(source: int, target: int) -> Array:
    at: Array = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    return at


def _between(values: Array, at: Array) -> Array:
    below = np.floor(at).astype(int)
    above = np.minimum(below + 1, len(values) - 1)
    part = (at - below)[:, None]
    out: Array = values[below] * (1 - part) + values[above] * part
    return np.where(part == 0, values[below], out)


def bare(heat: Heat, theme: Theme = "light") -> Array:
    """The map alone, one pixel a cell: uint8 [height, width, 3]."""
    return colors(heat.values, heat.limits, heat.signed, theme)


def laid_over(heat: Heat, underlay: Array, theme: Theme = "light") -> Array:
    """The map over its grey photo, at the photo's size: uint8 [height, width, 3].

    The photo is made pale under dark colors and dim under bright ones, so that the map's strongest color stands out
    wherever it lies; where the map is zero, exactly the photo is seen.
    """
    height, width = underlay.shape
    values = enlarged(heat.values, height, width, heat.smooth)
    opacity = strength(values, heat.limits, heat.signed)[..., None]
    ground = toned(underlay, heat.signed, theme).astype(np.float64)[..., None]
    mixed = opacity * colors(values, heat.limits, heat.signed, theme) + (1 - opacity) * ground
    out: Array = np.floor(mixed + 0.5).astype(np.uint8)
    return out


def toned(underlay: Array, signed: bool, theme: Theme) -> Array:
    """The grey photo with less contrast: pale where the map's ends are dark (vik), dim where they are bright."""
    pale = signed and theme == "light"
    scale, offset = (0.55, 112) if pale else (0.6, 8)
    out: Array = np.floor(underlay * scale + offset + 0.5).astype(np.uint8)
    return out


def drawn(heat: Heat, theme: Theme = "light") -> Array:
    """The map as its view asks: over its photo if it has one, else alone."""
    return bare(heat, theme) if heat.underlay is None else laid_over(heat, heat.underlay, theme)
