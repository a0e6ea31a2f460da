"""What follows itself in a list: patterns that repeat, found by how far back each place was seen last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from operator import eq
from typing import NamedTuple, TypeAlias

Quality: TypeAlias = tuple[int, ...]
CANDIDATES = 32  # lengths of patterns that are tried, the most frequent distances first
GRAMS = (1, 2, 4, 8)  # so many places together tell one place from another


class Repeat(NamedTuple):
    """A pattern of `period` places that stands `times` times in a row from `start` on."""

    start: int
    period: int
    times: int

    @property
    def end(self) -> int:
        """The place behind it."""
        return self.start + self.period * self.times


def repeats(looks: Sequence[Hashable], cuts: Sequence[Quality], *, shortest: int = 1) -> list[Repeat]:
    """The repeats of a sequence that do not overlap, those first that save most places when they are drawn once.

    `cuts` say how bad it is to cut before each place: of all ways to read a repeat (abcabca: abc, bca) the one with the
    best cuts is taken.  A single place must stand three times to count.  Linear in the places.

    >>> repeats("xabababy", [(0,)] * 8)
    [Repeat(start=1, period=2, times=3)]
    >>> repeats("xababaxy", [(1,), (1,), (0,), (1,), (0,), (1,), (1,), (1,)])
    [Repeat(start=2, period=2, times=2)]
    """
    found: list[tuple[int, int, int, int]] = []
    for period in _periods(looks):
        if period >= shortest:
            for start, end in _regions(looks, period):
                count = (end - start) // period
                if (count - 1) * period >= 2 or period > 1:
                    found.append((-(count - 1) * period, period, start, end))
    taken = bytearray(len(looks))
    chosen: list[Repeat] = []
    for _, period, start, end in sorted(found):
        for low, high in _free(taken, start, end):
            if high - low >= period * (2 if period > 1 else 3):
                best = _phase(low, high, period, cuts)
                chosen.append(best)
                taken[best.start : best.end] = b"\1" * (best.end - best.start)
    return sorted(chosen)


def _periods(looks: Sequence[Hashable]) -> list[int]:
    """Lengths that patterns may have: how far back the same places stand, where that happens often enough."""
    far: Counter[int] = Counter()
    for size in GRAMS:
        seen: dict[Hashable, int] = {}
        back: Counter[int] = Counter()
        for i in range(len(looks) - size + 1):
            gram = tuple(looks[i : i + size])
            if gram in seen:
                back[i - seen[gram]] += 1
            seen[gram] = i
        far |= back
    often = sorted((-n, period) for period, n in far.items())
    return [period for _, period in often[:CANDIDATES]]


def _regions(looks: Sequence[Hashable], period: int) -> Iterator[tuple[int, int]]:
    """Where a sequence is the same as itself so many places later, for two patterns at least."""
    length = len(looks) - period
    start = -1
    for i, same in enumerate(map(eq, looks, looks[period:])):
        if same and start < 0:
            start = i
        elif not same and start >= 0:
            if i - start >= period:
                yield start, i + period
            start = -1
    if start >= 0 and length - start >= period:
        yield start, length + period


def _free(taken: bytearray, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a region that nothing else has taken."""
    while start < end:
        low = taken.find(0, start, end)
        if low < 0:
            return
        high = taken.find(1, low, end)
        start = end if high < 0 else high
        yield low, start


def _phase(low: int, high: int, period: int, cuts: Sequence[Quality]) -> Repeat:
    """The way to read a repeat whose cuts are best; of such the one that stands most often, then the first."""
    least = 2 if period > 1 else 3
    starts = range(low, min(low + period, high - least * period + 1))
    best = min(starts, key=lambda s: (cuts[s], -((high - s) // period), s))
    return Repeat(best, period, (high - best) // period)
