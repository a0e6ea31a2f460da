"""A contact sheet: the drawing of one tile, which pages take, and of all of them with their words, for pictures."""

from __future__ import annotations

from pellucid.render.font import shortened, wrapped
from pellucid.render.marks import Drawing, Line, Mark, Pixels, Point, Words, moved
from pellucid.render.plain import visible
from pellucid.views.arrays import Array
from pellucid.views.tiles import Frame, Tile, Tiles

_GAP, _BETWEEN, _STEP, _SMALL = 12.0, 4.0, 13.5, 10.0
_SHARP = 48  # pictures with fewer pixels are looked at pixel by pixel


def drawn(view: Tiles) -> list[Drawing]:
    """The pictures of each tile, without words, all as high as the highest, so that the words stand on one level."""
    sizes = [[_size(p, view.side) for p in tile.pictures] for tile in view.tiles]
    most = max(len(s) for s in sizes)
    levels = [max((s[level][1] for s in sizes if level < len(s)), default=0.0) for level in range(most)]
    return [_tile(tile, s, levels, view) for tile, s in zip(view.tiles, sizes, strict=True)]


def sheet(view: Tiles, width: float) -> Drawing:
    """All tiles with their words, in as many columns as fit."""
    side = min(view.side, width)
    across = max(1, int((width + _GAP) // (side + _GAP)))
    placed = [_with_words(d, t, side) for d, t in zip(drawn(view), view.tiles, strict=True)]
    marks: list[Mark] = []
    y = 0.0
    for start in range(0, len(placed), across):
        row = placed[start : start + across]
        marks += [moved(m, i * (side + _GAP), y) for i, part in enumerate(row) for m in part.marks]
        y += max(part.height for part in row) + _GAP
    return Drawing(width, y - _GAP, tuple(marks))


def _size(picture: Array, side: float) -> Point:
    rows, columns = picture.shape[:2]
    longest = max(rows, columns)
    return max(side * columns / longest, 6.0), max(side * rows / longest, 6.0)  # a thin strip is still seen


def _tile(tile: Tile, sizes: list[Point], levels: list[float], view: Tiles) -> Drawing:
    marks: list[Mark] = []
    y = 0.0
    for picture, (wide, high), level in zip(tile.pictures, sizes, levels, strict=False):
        exact = view.exact or max(picture.shape[:2]) < _SHARP
        marks.append(Pixels(0, y, wide, high, picture, smooth=not exact, exact=exact))
        y += level + _BETWEEN
    if tile.frame is not None:
        marks += _framed(tile.frame, sizes[0][0] / tile.pixels.shape[1])
    return Drawing(view.side, sum(levels) + _BETWEEN * (len(levels) - 1), tuple(marks))


def _framed(frame: Frame, scale: float) -> list[Mark]:
    """White on black, so that it shows on any ground."""
    left, top, right, bottom = (v * scale for v in frame)
    ring = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    return [Line(ring, "black", 2.6), Line(ring, "white", 1.3)]


def _with_words(pictures: Drawing, tile: Tile, side: float) -> Drawing:
    title, line = (_few(visible(text), side, most) for text, most in ((tile.title, 2), (tile.line, 3)))
    words = [
        Words(0, pictures.height + 2 + i * _STEP, text, _SMALL, "ink" if i <= len(title) else "quiet")
        for i, text in enumerate((*title, *line), 1)
    ]
    return Drawing(side, pictures.height + 6 + _STEP * len(words), (*pictures.marks, *words))


def _few(text: str, side: float, most: int) -> list[str]:
    """The first lines of a text; the last of them says that there were more."""
    lines = wrapped(text, _SMALL, side) if text else []
    return lines if len(lines) <= most else [*lines[: most - 1], shortened(lines[most - 1] + "…", _SMALL, side)]
