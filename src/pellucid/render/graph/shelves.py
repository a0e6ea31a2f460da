"""Pieces that are joined to nothing else, in rows as on shelves: in their order, and together near a wanted shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHELF = 20.0  # between neighbors, and between shelves
WIDE = 1.5  # how much wider than high all of them together are wanted
TRIED = (1.0, 1.15, 1.3, 1.5, 1.75)  # lengths of shelves, as parts of what would be right without any gap

Size = tuple[float, float]


def spread(sizes: Sequence[Size], ported: bool, down: bool, wide: float) -> tuple[list[Size], Size]:
    """Where each piece begins, across and along the ranks, and the size of all.

    Where the first is `ported`, joined to what is around, the others stand beside it.
    """
    if len(sizes) < 2:
        return [(0.0, 0.0)] * len(sizes), sizes[0] if sizes else (0.0, 0.0)
    seen = sizes if down else [_swapped(size) for size in sizes]
    places, size = _beside(seen, down, wide) if ported else shelves(seen, wide)
    return (places, size) if down else ([_swapped(place) for place in places], _swapped(size))


def _beside(sizes: Sequence[Size], down: bool, wide: float) -> tuple[list[Size], Size]:
    """The first piece as it is, and the others right of it, or below where it lies."""
    (width, height), rest = sizes[0], sizes[1:]
    room = sum((w + SHELF) * (h + SHELF) for w, h in rest)
    found, (right, tall) = shelves(rest, wide, room / height if down else width)
    x, y = (width + SHELF, 0.0) if down else (0.0, height + SHELF)
    places = [(0.0, 0.0), *((x + left, y + top) for left, top in found)]
    return places, (max(width, x + right), max(height, y + tall))


def _swapped(size: Size) -> Size:
    return size[1], size[0]


def shelves(sizes: Sequence[Size], wide: float = WIDE, least: float = 0.0) -> tuple[list[Size], Size]:
    """The upper left corner of each piece (width, height), and the size of all; shelves are at least `least` long.

    Of shelves of several lengths those that come nearest to the wanted shape are taken.  A piece that is higher than
    all of the others together should be has a shelf of its own.  Small ones beside a large one stand below each other.

    >>> shelves([(100, 50)] * 4)[0]
    [(0.0, 0.0), (120.0, 0.0), (0.0, 70.0), (120.0, 70.0)]
    """
    limit, length = _shape(sizes, wide, least)
    best: tuple[list[Size], Size] | None = None
    for times in TRIED:
        found = _placed(sizes, limit, times * length)
        if best is None or _reach(found[1], wide) < _reach(best[1], wide):
            best = found
    return best or ([], (0.0, 0.0))


def _reach(size: Size, wide: float) -> float:
    """The width of the smallest rectangle of the wanted shape around a size."""
    return max(size[0], wide * size[1])


def _placed(sizes: Sequence[Size], limit: float, length: float) -> tuple[list[Size], Size]:
    places: list[Size] = []
    top = reach = 0.0
    while len(places) < len(sizes):
        width, tall = sizes[len(places)]
        if tall > limit:
            places.append((0.0, top))
        else:
            tall = _tallest(sizes, len(places), limit, length)
            width = _filled(sizes, places, top, tall, length)
        reach = max(reach, width)
        top += tall + SHELF
    return places, (reach, max(top - SHELF, 0.0))


def _shape(sizes: Sequence[Size], wide: float, least: float) -> Size:
    """How high a piece may be that shares a shelf, and how long shelves are."""
    room = sum((w + SHELF) * (h + SHELF) for w, h in sizes)
    limit = math.sqrt(room / wide)
    for width, height in sorted(sizes, key=lambda size: -size[1]):
        if height <= limit:
            break
        room -= (width + SHELF) * (height + SHELF)
        limit = math.sqrt(max(room, 0.0) / wide)
    longest = max((w for w, _ in sizes), default=0.0)
    return limit, max(longest, least, limit * wide)


def _tallest(sizes: Sequence[Size], first: int, limit: float, length: float) -> float:
    """The height of a shelf: that of the highest piece among those that fit side by side."""
    reach, tall = -SHELF, 0.0
    for k in range(first, len(sizes)):
        width, height = sizes[k]
        reach += SHELF + width
        if reach > length or height > limit:
            break
        tall = max(tall, height)
    return tall


def _filled(sizes: Sequence[Size], places: list[Size], top: float, tall: float, length: float) -> float:
    """Fill a shelf from the left, each place from above; gives how far it reaches."""
    x = y = wide = 0.0
    while len(places) < len(sizes):
        width, height = sizes[len(places)]
        if height > tall:
            break
        if y + height > tall or x + width > length:
            if x + wide + SHELF + width > length:
                break
            x, y, wide = x + wide + SHELF, 0.0, 0.0
        places.append((x, top + y))
        y, wide = y + height + SHELF, max(wide, width)
    return x + wide
