"""Lanes: where edges over many ranks run, straight, to the right of everything that they pass."""

from __future__ import annotations

from pellucid.render.graph.level import Level

LANE = 10.0  # the distance of lanes


class _Skyline:
    """How far to the right each row reaches: the largest of a stretch, and raising a stretch, in logarithmic time."""

    def __init__(self, reach: list[float]) -> None:
        self.size = 1
        while self.size < len(reach):
            self.size *= 2
        low = -float("inf")
        self.largest = [low] * self.size + reach + [low] * (self.size - len(reach))
        self.raised = [low] * (2 * self.size)
        for k in range(self.size - 1, 0, -1):
            self.largest[k] = max(self.largest[2 * k], self.largest[2 * k + 1])

    def over(self, first: int, end: int, k: int = 1, low: int = 0, high: int = 0) -> float:
        """The largest reach of rows `first` up to `end`."""
        high = high or self.size
        if end <= low or high <= first:
            return -float("inf")
        if first <= low and high <= end:
            return self.largest[k]
        middle = (low + high) // 2
        inner = max(self.over(first, end, 2 * k, low, middle), self.over(first, end, 2 * k + 1, middle, high))
        return max(inner, self.raised[k])

    def lift(self, first: int, end: int, to: float, k: int = 1, low: int = 0, high: int = 0) -> None:
        """Rows `first` up to `end` reach at least `to`."""
        high = high or self.size
        if end <= low or high <= first:
            return
        self.largest[k] = max(self.largest[k], to)
        if first <= low and high <= end:
            self.raised[k] = max(self.raised[k], to)
            return
        middle = (low + high) // 2
        self.lift(first, end, to, 2 * k, low, middle)
        self.lift(first, end, to, 2 * k + 1, middle, high)


def lanes(level: Level) -> None:
    """Give each lane its place, the shortest the innermost."""
    ranks = level.rank
    chosen = [e for e, edge in enumerate(level.edges) if edge.lane]
    if not chosen:
        return
    reach = [0.0] * len(level.rows)
    for r, row in enumerate(level.rows):
        last = row[-1]  # no row is empty: ranks are lengths of paths
        reach[r] = level.x[last] + level.width[last] / 2 + level.margin[last]
    sky = _Skyline(reach)
    edges = level.edges
    chosen.sort(key=lambda e: (ranks[edges[e].target] - ranks[edges[e].source], ranks[edges[e].source], e))
    for e in chosen:
        first, end = ranks[edges[e].source] + 1, ranks[edges[e].target]
        edges[e].across = sky.over(first, end)
        sky.lift(first, end, edges[e].across + LANE)
        level.steps += 4 * sky.size.bit_length()
