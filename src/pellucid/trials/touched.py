"""What the score does when parts of an input are replaced by something random: which of them the network reads at all.

The axioms that this serves speak of every value that a place could have.  Draws cannot show that a place is not read;
that several draws of a whole cell leave the score exactly as it was makes it as good as sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.trials.layout import Layout
from pellucid.trials.sample import Sample

Side: TypeAlias = Annotated[int, Range(1, 1024), "cells along each axis, at most one a place"]
Draws: TypeAlias = Annotated[int, Range(1, 1000), "random values that are tried"]

NOTHING = 1e-6  # of the largest change: smaller ones, and what rounding does to the score, count as none


def cells_of(layout: Layout, side: int) -> Int[Tensor, "*shape"]:
    """The number of the cell that each place lies in: at most `side` nearly equal blocks along each axis.

    >>> cells_of(Layout("series", "x", (1,), (5,)), 2).tolist()
    [0, 0, 0, 1, 1]
    """
    found = torch.zeros(layout.shape, dtype=torch.long)
    for axis, n in enumerate(layout.shape):
        blocks = min(side, n)
        along = torch.arange(n) * blocks // n
        found = found * blocks + along.view([-1 if a == axis else 1 for a in range(len(layout.shape))])
    return found


def over_cells(values: Float[Tensor, "*shape"], cells: Int[Tensor, "*shape"]) -> Float[Tensor, " cells"]:
    """The largest of each cell's values."""
    start = values.new_full((int(cells.max()) + 1,), -torch.inf)
    return start.scatter_reduce(0, cells.flatten(), values.flatten(), "amax")


def random_values(sample: Sample, draw: int) -> Tensor:
    """An input of uniform noise over the sample's range; where it is one and the same number, of one unit around it."""
    v = sample.v
    low, high = v.min(), v.max()
    wide = torch.where(high > low, high - low, torch.ones_like(low))
    even: Tensor = torch.special.ndtr(current().normal(v)(draw))  # normal noise, made uniform
    return torch.where(high > low, low, low - wide / 2) + wide * even


def replaced(
    sample: Sample, mask: Callable[[int], Bool[Tensor, "*shape"]], count: int, draws: int
) -> Float[Tensor, "draws count"]:
    """The change of the score when the places under each of `count` masks become random, draw after draw."""

    def copies() -> Iterator[Tensor]:
        for draw in range(draws):
            other = random_values(sample, draw)
            for i in range(count):
                under = sample.layout.spread(mask(i)[None].to(sample.v.device), sample.v)
                yield torch.where(under, other, sample.v)

    start = float(sample.score(sample.x))
    found = sample.scores(copies(), draws * count).view(draws, count)
    rounding = 16 * torch.finfo(sample.v.dtype).eps * max(abs(start), float(found.abs().max()))
    change: Tensor = found - start
    return change.masked_fill(change.abs() <= rounding, 0.0)


def read(sample: Sample, cells: Int[Tensor, "*shape"], draws: int) -> Bool[Tensor, " cells"]:
    """Which cells the network was seen to read: replacing the whole cell changed the score in some draw."""
    most = replaced(sample, lambda c: cells == c, int(cells.max()) + 1, draws).abs().amax(0)
    return most > NOTHING * most.max()
