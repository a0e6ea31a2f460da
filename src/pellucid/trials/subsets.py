"""Random subsets of an input's places are removed; the map's sum over each is held against the fall of the score.

The machinery of the tests by Ancona et al. 2018 (sensitivity-n), Bhatt et al. 2020 (faithfulness correlation) and Yeh
et al. 2019 (infidelity).  Every draw is independent of the others, and every drop belongs to the removal of one subset
from the whole input: on a network that adds up, the exact contributions then correlate with the drops to exactly 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.probes.fills import StandIn, stand_in
from pellucid.probes.masks import subsets
from pellucid.trials.agreement import pearson
from pellucid.trials.layout import Layout
from pellucid.trials.sample import Sample

Fill: TypeAlias = Annotated[
    Literal["constant", "mean", "blur"], "what is put where a part was: a constant, the sample's mean, or a blur of it"
]
Value: TypeAlias = Annotated[float, Range(-1e6, 1e6), "the constant, in the units of the prepared input"]

CHANCE = 499
_CHUNK = 16


def fixed(sizes: Sequence[int], count: int, sample: Sample, name: str) -> Bool[Tensor, "count *shape"]:
    """`count` random subsets of each of the sizes, by the seed and the sample's content."""
    generator = current().generator(name, sample.key)
    n = sample.layout.size
    drawn = [subsets(count, n, size / n, generator) for size in sizes]
    return torch.cat(drawn).view(-1, *sample.layout.shape)


def boxes(count: int, sample: Sample, name: str) -> Bool[Tensor, "count *shape"]:
    """Random boxes: each side of random length at a random place.  A table has no neighbors: subsets of random size."""
    generator = current().generator(name, sample.key)
    shape, n = sample.layout.shape, sample.layout.size
    if sample.layout.kind == "table":
        sizes = torch.randint(1, max(n, 2), (count,), generator=generator).tolist()
        return torch.cat([subsets(1, n, size / n, generator) for size in sizes])
    masks = torch.zeros(count, *shape, dtype=torch.bool)
    for mask in masks:
        sides = [int(torch.randint(1, side + 1, (), generator=generator)) for side in shape]
        rooms = [side - s + 1 for side, s in zip(shape, sides, strict=True)]
        starts = [int(torch.randint(room, (), generator=generator)) for room in rooms]
        mask[tuple(slice(a, a + s) for a, s in zip(starts, sides, strict=True))] = True
    return masks


def filling(sample: Sample, fill: StandIn, value: float) -> Tensor:
    """The input of nothing but fill; raises `BadOption` when columns of a table are to be averaged or blurred."""
    if sample.layout.kind == "table" and fill != "constant":
        raise BadOption(f"fill={fill!r}: the columns of a table have no common mean and no neighbors.", "constant")
    return stand_in(sample.v, sample.layout.axes, fill, value)


def drops(sample: Sample, masks: Bool[Tensor, "count *shape"], fill: Tensor) -> Float[Tensor, " count"]:
    """How much the score falls when each mask's places are filled, in passes of many."""

    def copies() -> Iterator[Tensor]:
        for start in range(0, len(masks), _CHUNK):
            mask = sample.layout.spread(masks[start : start + _CHUNK].to(sample.v.device), sample.v)
            yield from torch.where(mask, fill, sample.v).unsqueeze(1)

    start = float(sample.score(sample.x))
    fallen: Tensor = start - sample.scores(copies(), len(masks))
    return fallen


def sums(places: Float[Tensor, "*shape"], masks: Bool[Tensor, "count *shape"]) -> Float[Tensor, " count"]:
    """The map's sum over each mask, in float64."""
    parts = [m.flatten(1).double() @ places.flatten().double() for m in torch.split(masks, _CHUNK)]
    return torch.cat(parts)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well predicted changes fit the changes that came: all of them as shares of the mean square of the latter.

    `raw`: the mean squared error of the values as they stand.  `scale`: the factor on the values that fits best, and
    `scaled`: the error left with it (captum's normalized infidelity).  `shape`: the error left when an offset is free
    too and the factor may not be negative, 1 - max(r, 0)^2.  0 is perfect; 1 is what a map of zeros has.
    """

    raw: float
    scale: float
    scaled: float
    shape: float


def fit(predicted: Float[Tensor, " count"], changes: Float[Tensor, " count"]) -> Fit:
    """Hold predicted changes against those that came; NaN where they do not vary.

    >>> found = fit(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0]))
    >>> round(found.raw, 4), round(found.scale, 4), round(found.scaled, 4), round(found.shape, 4)
    (0.25, 2.0, 0.0, 0.0)
    """
    p, d = predicted.double(), changes.double()
    size = d.square().mean()
    scale = (p * d).mean() / p.square().mean()
    r = pearson(p, d)
    raw, scaled = (((factor * p - d).square().mean() / size) for factor in (1.0, scale))
    return Fit(float(raw), float(scale), float(scaled), float(1 - r.clamp(min=0).square()))


def by_chance(found: Float[Tensor, " count"], other: Float[Tensor, " count"], sample: Sample) -> float:
    """What the best twentieth of correlations reach when the two lists are paired at random."""
    generator = current().generator("pairs", sample.key)
    order = torch.stack([torch.randperm(len(found), generator=generator) for _ in range(CHANCE)])
    return float(torch.quantile(pearson(found[order], other), 0.95))


def sizes_of(layout: Layout, steps: int, largest: float = 0.8) -> tuple[int, ...]:
    """Sizes of subsets from one place to a share of all, evenly spaced in their logarithm, each once.

    >>> sizes_of(Layout("table", "x", (1,), (100,)), 4)
    (1, 4, 19, 80)
    """
    top = max(1, min(round(largest * layout.size), layout.size - 1))
    spaced = torch.logspace(0, torch.log10(torch.tensor(float(top))).item(), steps, dtype=torch.double)
    return tuple(sorted({int(s) for s in spaced.round()}))
