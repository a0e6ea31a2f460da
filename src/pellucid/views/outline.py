"""Outlines: the border of the smallest area that holds a share of a map, as lines for the screen and for grey print."""

from __future__ import annotations

import numpy as np

from pellucid.views.arrays import Array
from pellucid.views.view import Outline

MASSES = (0.10, 0.25)
PIECES = 14  # More islands than this are confetti, not an outline.
LONG = 6  # So is a border longer than this many times the map's height and width together.
Point = tuple[float, float]


def level_of(values: Array, mass: float) -> float:
    """The level at or above which the largest absolute values first hold the share `mass` of their sum.

    >>> level_of(np.array([4.0, -3.0, 2.0, 1.0]), 0.7)
    3.0
    """
    ranked = np.sort(np.abs(values).astype(np.float64), axis=None)[::-1]
    held = np.cumsum(ranked)
    last = int(np.searchsorted(held, mass * held[-1] * (1 - 1e-12)))
    return float(ranked[min(last, len(ranked) - 1)])


def outlines(values: Array, masses: tuple[float, ...] = MASSES) -> tuple[tuple[Outline, ...], int]:
    """The outlines of the strongest parts of |values|, [height, width], and over how many pixels it was averaged.

    A map whose strongest pixels lie scattered is averaged over blocks, ever larger, until what stands out holds
    together in at most 14 pieces; the block's side comes with the outlines (1 means: not averaged).  No outlines for
    a map that is zero, constant or too small to have any.
    """
    size = np.abs(np.nan_to_num(values.astype(np.float64)))
    if min(size.shape) < 4 or not size.any() or np.ptp(size) <= 1e-9 * size.max():
        return (), 1
    block = 1
    while min(size.shape) // block >= 4:
        found = _all(_averaged(size, block), masses, block)
        if found:
            return tuple(_inside(o, size.shape[0], size.shape[1]) for o in found), block
        block *= 2
    return (), block // 2


def _all(field: Array, masses: tuple[float, ...], block: int) -> tuple[Outline, ...]:
    """The outlines of one field; none if they come in too many pieces."""
    levels = [level_of(field, mass) for mass in masses]
    if any(_border(field, level) > LONG * sum(field.shape) for level in levels):
        return ()
    found = tuple(Outline(m, _scaled(contour(field, v), block)) for m, v in zip(masses, levels, strict=True))
    return found if sum(len(o.lines) for o in found) <= PIECES else ()


def _border(field: Array, level: float) -> int:
    """How many neighbors lie on two sides of the level: the length of the outline, without tracing it."""
    above = field >= level
    return int((above[1:] != above[:-1]).sum() + (above[:, 1:] != above[:, :-1]).sum())


def _averaged(size: Array, block: int) -> Array:
    """Means over blocks; what is left at the lower and right border makes smaller blocks."""
    rows, columns = np.arange(0, size.shape[0], block), np.arange(0, size.shape[1], block)
    sums = np.add.reduceat(np.add.reduceat(size, rows, 0), columns, 1)
    counts = np.outer(np.diff([*rows, size.shape[0]]), np.diff([*columns, size.shape[1]]))
    out: Array = sums / counts
    return out


def _scaled(lines: list[list[Point]], block: int) -> tuple[tuple[Point, ...], ...]:
    return tuple(tuple((x * block, y * block) for x, y in line) for line in lines)


def _inside(outline: Outline, height: int, width: int) -> Outline:
    """The outline, cut to the picture, to a hundredth of a pixel."""
    lines = tuple(
        tuple((round(min(max(x, 0.0), width), 2), round(min(max(y, 0.0), height), 2)) for x, y in line)
        for line in outline.lines
    )
    return Outline(outline.mass, lines)


def contour(field: Array, level: float) -> list[list[Point]]:
    """The lines where `field` passes `level`, closed, by marching squares with linear interpolation.

    `field` holds the values at pixel centers (x + 0.5, y + 0.5) and is taken as zero around.  A value equal to the
    level counts as above.
    """
    padded = np.pad(field.astype(np.float64), 1)
    above = padded >= level
    # Bits: 1 upper left, 2 upper right, 4 lower right, 8 lower left corner is above.
    case = above[:-1, :-1] + 2 * above[:-1, 1:] + 4 * above[1:, 1:] + 8 * above[1:, :-1]
    links: dict[Point, list[Point]] = {}
    for row, column in np.argwhere((case > 0) & (case < 15)).tolist():
        for start, end in _segments(int(case[row, column]), row, column, padded, level):
            links.setdefault(start, []).append(end)
            links.setdefault(end, []).append(start)
    return _chained(links)


# Which sides of a cell each case joins: 0 top, 1 right, 2 bottom, 3 left.  Cases 5 and 10 keep the two corners apart.
_SIDES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((3, 0),), 2: ((0, 1),), 3: ((3, 1),), 4: ((1, 2),), 5: ((3, 0), (1, 2)), 6: ((0, 2),), 7: ((3, 2),),
    8: ((2, 3),), 9: ((2, 0),), 10: ((0, 1), (2, 3)), 11: ((2, 1),), 12: ((1, 3),), 13: ((1, 0),), 14: ((0, 3),),
}  # fmt: skip


def _segments(case: int, row: int, column: int, padded: Array, level: float) -> list[tuple[Point, Point]]:
    (a, b), (c, d) = padded[row : row + 2, column : column + 2].tolist()
    x, y = column - 0.5, row - 0.5
    sides: tuple[Point, ...] = (
        (x + _part(a, b, level), y),
        (x + 1, y + _part(b, d, level)),
        (x + _part(c, d, level), y + 1),
        (x, y + _part(a, c, level)),
    )
    return [(sides[start], sides[end]) for start, end in _SIDES[case]]


def _part(a: float, b: float, level: float) -> float:
    """How far from `a` to `b` the level is passed; where it is not, the point is not used.

    Never exactly at a corner: a point there would be shared by four cells, and lines would cross.
    """
    return min(max((level - a) / (b - a), 1e-6), 1 - 1e-6) if a != b else 0.5


def _chained(links: dict[Point, list[Point]]) -> list[list[Point]]:
    """Segments joined to closed lines: every point has two neighbors, for the padding is below every level."""
    lines = []
    while links:
        start = next(iter(links))
        line, here = [start], start
        while links.get(here):
            there = links[here].pop()
            links[there].remove(here)
            line.append(there)
            here = there
        for point in line:
            if not links.get(point, [0]):
                links.pop(point, None)
        lines.append(line)
    return lines
