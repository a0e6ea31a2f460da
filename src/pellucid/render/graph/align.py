"""The x of every vertex: as straight as can be, by exact least squares row by row (pool adjacent violators).

Within a row the order is given, and so is the least distance; what is left is isotonic regression, which pooling solves
in linear time (Ayer, Brunk, Ewing, Reid and Silverman, 1955).
"""

from __future__ import annotations

from pellucid.render.graph.level import Level, Links, links
from pellucid.render.graph.straighten import straighten

PASSES = 6
PULL = 0.02  # a weak pull to the middle, against drifting away together


def align(level: Level) -> None:
    """Set `x`: each row in turn, down and up, where its neighbors want it; at last columns are made straight."""
    level.x = [0.0] * len(level.rank)
    for row in level.rows:
        _packed(level, row)
    above, below = links(level, down=True), links(level, down=False)
    for turn in range(PASSES):
        down = turn % 2 == 0
        both = turn == PASSES - 1
        for row in level.rows if down else reversed(level.rows):
            _settle(level, row, above if down else below, above if both else None)
    straighten(level)


def _packed(level: Level, row: list[int]) -> None:
    at = 0.0
    for v in row:
        reach = level.width[v] / 2 + level.margin[v]
        level.x[v] = at + reach
        at += 2 * reach
    for v in row:
        level.x[v] -= at / 2
    level.steps += len(row)


def _settle(level: Level, row: list[int], near: Links, also: Links | None) -> None:
    x, pull = level.x, 0.0 if also else PULL
    wishes: list[float] = []
    weights: list[float] = []
    for v in row:
        total = weight = 0.0
        for found in (near, also) if also else (near,):
            for k in range(found.first[v], found.first[v + 1]):
                total += (x[found.other[k]] + found.shift[k]) * found.weight[k]
                weight += found.weight[k]
            level.steps += found.first[v + 1] - found.first[v]
        wishes.append(total / (weight + pull) if weight else x[v] * 0.5)
        weights.append((weight or 0.1) + pull)
    _pool(level, row, wishes, weights)


def _pool(level: Level, row: list[int], wishes: list[float], weights: list[float]) -> None:
    """The places closest to the wishes that keep the order and the distances."""
    offsets: list[float] = []
    at = 0.0
    means: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    before = 0.0
    for i, v in enumerate(row):
        reach = level.width[v] / 2 + level.margin[v]
        at += before + reach if i else 0.0
        before = reach
        offsets.append(at)
        mean, mass, size = wishes[i] - at, weights[i], 1
        while means and means[-1] > mean:
            other, weight = means.pop(), masses.pop()
            mean = (mean * mass + other * weight) / (mass + weight)
            mass += weight
            size += sizes.pop()
        means.append(mean)
        masses.append(mass)
        sizes.append(size)
    i = 0
    for mean, size in zip(means, sizes, strict=True):
        for _ in range(size):
            level.x[row[i]] = mean + offsets[i]
            i += 1
    level.steps += 2 * len(row)
