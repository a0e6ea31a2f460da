"""A list divided into stretches of about the wanted number, cut where little is handed on."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

UNIT = 4  # operations: to join fewer is no cheaper, so that a unit becomes whole before others begin to
FEWEST, MOST = 0.5, 1.05  # of the wanted number, between which a whole level of stretches is kept


def divided(sizes: Sequence[int], strength: Sequence[int], wanted: int) -> list[tuple[int, int]]:
    """Where stretches begin and end, in order; they hold every place once.

    Neighbors are joined until about `wanted` are left, always those whose joint size times the `strength` of the cut
    between them (given for the cut before each place) is least.  Rather than to join some of those that are equal in
    this and not others, it is ended where the next costs most in comparison, if the number is near the wanted one then.
    n log n in places.

    >>> divided([1] * 6, [4, 1, 4, 1, 4, 1], 3)
    [(0, 2), (2, 4), (4, 6)]
    """
    joined = _joined(sizes, strength)
    at = len(sizes) - _kept(len(sizes), [cost for cost, _ in joined], wanted)
    gone = {place for _, place in joined[:at]}
    starts = [place for place in range(len(sizes)) if place not in gone]
    return list(zip(starts, [*starts[1:], len(sizes)], strict=True))


def _joined(sizes: Sequence[int], strength: Sequence[int]) -> list[tuple[int, int]]:
    """All cuts in the order in which they vanish, each with what that costs; costs never fall."""
    count = len(sizes)
    size, before, after = list(sizes), list(range(-1, count - 1)), list(range(1, count + 1))
    heap = [(strength[i] * max(size[i - 1] + size[i], UNIT), i) for i in range(1, count)]
    heapify(heap)
    found: list[tuple[int, int]] = []
    while heap:
        cost, right = heappop(heap)
        left = before[right]
        now = strength[right] * max(size[left] + size[right], UNIT)
        if now != cost:
            heappush(heap, (now, right))
            continue
        found.append((cost, right))
        size[left] += size[right]
        after[left] = after[right]
        if after[right] < count:
            before[after[right]] = left
    return found


def _kept(count: int, costs: Sequence[int], wanted: int) -> int:
    """How many stretches to keep."""
    if count <= wanted:
        return count
    levels = [i for i in range(1, len(costs)) if costs[i] != costs[i - 1]]
    near = [i for i in levels if FEWEST * wanted <= count - i <= MOST * wanted]
    best = min(near, key=lambda i: (costs[i - 1] / costs[i], abs(count - i - wanted)), default=count - wanted)
    return count - best
