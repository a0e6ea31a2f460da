"""A View as one PNG picture, drawn with Pillow: for papers, slides and messages."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from pellucid.core.errors import BadInput
from pellucid.render import font
from pellucid.render.layout import sheet
from pellucid.render.marks import LIGHT, Box, Dot, Line, Mark, Pixels, Point, Words
from pellucid.views.view import View

LARGEST = 64_000_000
_SMALLER = ("Use a smaller scale, or save it as .svg or .html.", "Write it as .svg or .html (-o NAME.svg).")
QUICKLY = 8_000_000  # pixels from which on a little space is given for much time


def png(view: View, width: int = 960, scale: float = 2.0) -> bytes:
    r"""The view on a white sheet `width` points wide, `scale` pixels a point, as PNG bytes without metadata.

    The same view gives the same bytes on one machine.  Raises `BadInput` if the picture would be larger than 64
    million pixels.

    >>> from pellucid.views.view import Text
    >>> png(Text("hello"))[:4]
    b'\x89PNG'
    """
    drawing = sheet(view, float(width))
    size = math.ceil(drawing.width * scale), math.ceil(drawing.height * scale)
    if size[0] * size[1] > LARGEST:
        raise BadInput(f"The picture would be {size[0]}×{size[1]} pixels, over 64 million.", *_SMALLER)
    image = Image.new("RGB", size, LIGHT["panel"])
    for mark in drawing.marks:
        _paint(image, mark, scale)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=size[0] * size[1] <= QUICKLY)
    return out.getvalue()


def _paint(image: Image.Image, mark: Mark, scale: float) -> None:
    brush = ImageDraw.Draw(image)
    match mark:
        case Line():
            _line(brush, mark, scale)
        case Box():
            fill = None if mark.role == "none" else LIGHT[mark.role]
            edge = None if mark.edge == "none" else LIGHT[mark.edge]
            corners = [mark.x, mark.y, mark.x + mark.width, mark.y + mark.height]
            if fill or edge:
                brush.rounded_rectangle([round(v * scale) for v in corners], mark.radius * scale, fill, edge)
        case Dot():
            edge = None if mark.edge == "none" else LIGHT[mark.edge]
            at, radius = (mark.x * scale, mark.y * scale), mark.radius * scale
            brush.circle(at, radius, LIGHT[mark.role], edge, max(1, round(scale)))
        case Words():
            _words(image, mark, scale)
        case Pixels():
            left, top = round(mark.x * scale), round(mark.y * scale)
            wide, high = round((mark.x + mark.width) * scale) - left, round((mark.y + mark.height) * scale) - top
            way = Image.Resampling.BILINEAR if mark.smooth else Image.Resampling.NEAREST
            picture = Image.fromarray(np.ascontiguousarray(mark.light))
            image.paste(picture.resize((max(wide, 1), max(high, 1)), way), (left, top))


def _words(image: Image.Image, mark: Words, scale: float) -> None:
    size = mark.size * scale
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[mark.anchor] * font.width_of(mark.text, size, mark.bold)
    font.draw(image, (mark.x * scale - shift, mark.y * scale), mark.text, size, LIGHT[mark.role], mark.bold)


def _line(brush: ImageDraw.ImageDraw, mark: Line, scale: float) -> None:
    points = [(x * scale, y * scale) for x, y in mark.points]
    width = max(1, round(mark.width * scale))
    runs = _dashes(points, [float(v) * scale for v in mark.dash.split()]) if mark.dash else [points]
    for run in runs:
        if len(run) > 1:
            brush.line(run, LIGHT[mark.role], width, joint="curve")


def _dashes(points: list[Point], pattern: list[float]) -> list[list[Point]]:
    """The drawn pieces of a dashed line."""
    runs: list[list[Point]] = [[points[0]]]
    left, drawing, turn = pattern[0], True, 0
    for (x0, y0), (x1, y1) in pairwise(points):
        length, done = math.hypot(x1 - x0, y1 - y0), 0.0
        while length - done > left:
            done += left
            at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length)
            if drawing:
                runs[-1].append(at)
            else:
                runs.append([at])
            drawing, turn = not drawing, turn + 1
            left = pattern[turn % len(pattern)]
        left -= length - done
        if drawing:
            runs[-1].append((x1, y1))
    return runs
