"""A tall drawing as columns side by side, as in a newspaper, so that the whole of it is seen at once.

Columns end where nothing is cut that has to be read; lines and frames go on at the top of the next one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from pellucid.render.marks import Box, Dot, Drawing, Line, Mark, Pixels, Point, Words, moved

GAP, HEAD, SMALL = 4.0, 20.0, 9.0  # the map has margins of its own
SHORTEST = 560.0  # of a column, in points
LANDSCAPE = 1.5  # how much wider than high the whole is wanted
Span = tuple[float, float]


def wanted(width: float, height: float) -> int:
    """In how many columns a drawing is best seen as a whole: wider than high, none of them very short.

    >>> wanted(340, 7000), wanted(900, 800)
    (6, 1)
    """
    best = round(math.sqrt(LANDSCAPE * height / (width + GAP)))
    return max(1, min(best, int(height // SHORTEST)))


def fitting(width: float, height: float, room: float) -> int:
    """In how many columns a drawing fits a width, none of them very short."""
    return max(1, min(int((room + GAP) // (width + GAP)), int(height // SHORTEST)))


def in_columns(
    drawing: Drawing, count: int, whole: Sequence[Span], frames: Sequence[tuple[float, float, str]]
) -> Drawing:
    """The drawing in `count` columns, or fewer where it cannot be cut.

    `whole` are the spans of y that are not cut; `frames` (top, bottom, name) are named anew where a column begins
    inside of them, the outermost first.
    """
    cuts = _cuts(drawing.height, count, whole)
    if not cuts:
        return drawing
    ends = [0.0, *cuts, drawing.height]
    marks: list[Mark] = []
    for i, (start, end) in enumerate(pairwise(ends)):
        x = i * (drawing.width + GAP)
        marks += [moved(m, x, HEAD - start) for m in _between(drawing.marks, start, end)]
        inside = [name for top, bottom, name in frames if top < start < bottom]
        if i and inside:
            marks.append(Words(x + 8, 10, " › ".join(["…", *inside[-3:]]), SMALL, "quiet"))
    tallest = max(end - start for start, end in pairwise(ends))
    columns = len(ends) - 1
    return Drawing(columns * (drawing.width + GAP) - GAP, tallest + HEAD, tuple(marks))


def _cuts(height: float, count: int, whole: Sequence[Span]) -> list[float]:
    """Heights at which nothing is cut, as near as can be to equal shares."""
    free = _free(height, whole)
    found: list[float] = []
    for i in range(1, count):
        aim = i * height / count
        near = min(free, key=lambda y: abs(y - aim), default=None)
        if near is not None and abs(near - aim) < 0.4 * height / count and near not in found:
            found.append(near)
    return sorted(found)


def _free(height: float, whole: Sequence[Span]) -> list[float]:
    """The middle of every gap between the spans."""
    found: list[float] = []
    reached = 0.0
    for start, end in sorted(whole):
        if start > reached:
            found.append((reached + start) / 2)
        reached = max(reached, end)
    return [y for y in found if 0 < y < height]


def _between(marks: Sequence[Mark], start: float, end: float) -> Iterator[Mark]:
    for mark in marks:
        match mark:
            case Line():
                yield from (replace(mark, points=piece) for piece in _pieces(mark.points, start, end))
            case Box():
                top, bottom = max(mark.y, start), min(mark.y + mark.height, end)
                if bottom > top:
                    yield replace(mark, y=top, height=bottom - top)
            case Words():
                if start <= mark.y - mark.size / 3 < end:
                    yield mark
            case Dot():
                if start <= mark.y < end:
                    yield mark
            case Pixels():
                if start <= mark.y + mark.height / 2 < end:
                    yield mark


def _pieces(points: Sequence[Point], start: float, end: float) -> Iterator[tuple[Point, ...]]:
    """The parts of a broken line that lie between two heights."""
    piece: list[Point] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        low, high = _inside(y0, y1, start, end)
        if low >= high and not (y0 == y1 and start <= y0 < end):
            if len(piece) > 1:
                yield tuple(piece)
            piece = []
            continue
        a = (x0 + (x1 - x0) * low, y0 + (y1 - y0) * low)
        b = (x0 + (x1 - x0) * high, y0 + (y1 - y0) * high)
        if not piece or piece[-1] != a:
            if len(piece) > 1:
                yield tuple(piece)
            piece = [a]
        piece.append(b)
    if len(piece) > 1:
        yield tuple(piece)


def _inside(y0: float, y1: float, start: float, end: float) -> Span:
    """Which share of a stretch, from 0 to 1, lies between two heights."""
    if y0 == y1:
        return (0.0, 1.0) if start <= y0 < end else (0.0, 0.0)
    a, b = sorted(((start - y0) / (y1 - y0), (end - y0) / (y1 - y0)))
    return max(a, 0.0), min(b, 1.0)
