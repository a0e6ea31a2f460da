"""Places removed, or put back, in the order of a map: orders, steps, and the scores of all steps of all orders.

Where a map ties, places come in the order of one seeded draw, which depends on the sample's content alone: never in
the order in which they happen to lie.  The draw is the same from either end of the map.  So places that a map does not
tell apart come in one order whether its most or its least relevant places go first, a map that is the same everywhere
gains exactly nothing, and the negated map has exactly the opposite gain.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors
from pellucid.probes.blur import blurred
from pellucid.probes.fills import Fill, painted, stand_in
from pellucid.probes.variations import Variations
from pellucid.trials.agreement import FLAT
from pellucid.trials.nulls import moved
from pellucid.trials.sample import Sample

Infill: TypeAlias = Annotated[
    Fill | None,
    "what stands where something is removed; none: painted from the surroundings in pictures, 0 in tables, else the "
    "sample's mean",
]
Value: TypeAlias = Annotated[float, Range(-1e6, 1e6), "the constant infill, in the units of the prepared input"]
Sigma: TypeAlias = Annotated[
    float | None, Range(0.01, 1e4), "standard deviation of a blur, in places; none: a sixteenth of the mean side"
]
Unit: TypeAlias = Annotated[
    Literal["log_odds", "probability", "explained"],
    "what the curves are of: the class's log-odds, its probability, or the very score that was explained",
]
Steps: TypeAlias = Annotated[int, Range(1, 4096), "steps in which everything is removed, at most one a place"]
Randoms: TypeAlias = Annotated[
    int, Range(0, 1000), "random maps for reference: this one, flipped and rolled over the edge (a table's: shuffled)"
]
Order: TypeAlias = Int[Tensor, " size"]
_CHUNK = 8  # copies that are filled in together

FLAT_MAP = "The map is the same everywhere, so it puts nothing in an order."


@dataclass(frozen=True, slots=True)
class Removal:
    """What is put where something is removed."""

    fill: Fill | None = None
    value: float = 0.0
    sigma: float | None = None

    def kind(self, sample: Sample) -> Fill:
        """The infill, chosen by the kind of input where nothing is said."""
        usual: dict[str, Fill] = {"picture": "inpainted", "table": "constant"}
        kind = self.fill or usual.get(sample.layout.kind, "mean")
        if sample.layout.kind == "table" and kind != "constant":
            raise BadOption(f"fill={kind!r}: a table's columns have no neighbors and no common mean.", "constant")
        return kind

    def ready(self, sample: Sample) -> Tensor | None:
        """The sample of nothing but infill, where that does not depend on what is removed."""
        kind, axes = self.kind(sample), sample.layout.axes
        if kind == "blur" and self.sigma is not None:
            return blurred(sample.v, axes, self.sigma)
        if kind != "inpainted" and kind != "noisy_linear":
            return stand_in(sample.v, axes, kind, self.value)
        return None

    def copies(self, sample: Sample, masks: Bool[Tensor, "n *shape"]) -> Iterator[Tensor]:
        """The sample with the places under each mask removed, `[1, ...]` each."""
        kind, v, ready = self.kind(sample), sample.v, self.ready(sample)
        for start in range(0, len(masks), _CHUNK):
            mask = masks[start : start + _CHUNK].to(v.device)
            if ready is not None:
                yield from torch.where(sample.layout.spread(mask, v), ready, v).unsqueeze(1)
            elif kind == "inpainted" or kind == "noisy_linear":
                yield from painted(v.expand(len(mask), *v.shape[1:]), sample.layout.axes, mask, kind).unsqueeze(1)


def order_of(places: Float[Tensor, "*shape"], key: str) -> Order:
    """The places by their number, the highest first; ties by a draw for the key, the same for the negated map.

    >>> order_of(torch.tensor([0.0, 3.0, 5.0, 1.0]), "").tolist()
    [2, 1, 3, 0]
    """
    flat = places.detach().flatten().cpu()
    drawn = torch.randperm(len(flat), generator=current().generator("order", key))
    found: Tensor = drawn[flat[drawn].argsort(descending=True, stable=True)]
    return found


def first(order: Order, counts: Sequence[int], shape: tuple[int, ...]) -> Bool[Tensor, "n *shape"]:
    """Masks of the first so many places of an order.

    >>> first(torch.tensor([2, 0, 1]), [1, 2], (3,)).tolist()
    [[False, False, True], [True, False, True]]
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return (place < torch.tensor(counts)[:, None]).view(len(counts), *shape)


def counts_of(size: int, steps: int, *, ends: bool = True) -> tuple[int, ...]:
    """How many places are gone after each step, evenly spaced; with the `ends`, from none to all.

    >>> counts_of(10, 4), counts_of(10, 4, ends=False), counts_of(2, 100)
    ((0, 2, 5, 8, 10), (2, 4, 6, 8), (0, 1, 2))
    """
    if ends:
        steps = min(steps, size)
        return tuple(round(size * i / steps) for i in range(steps + 1))
    steps = min(steps, size - 1)
    return tuple(round(size * i / (steps + 1)) for i in range(1, steps + 1))


def random_maps(sample: Sample, count: int) -> list[Tensor]:
    """Maps that know nothing: this one, flipped or turned and rolled over the edge; a table's values are shuffled."""
    generator = current().generator("random order", sample.key)
    return list(itertools.islice(moved(sample.places, sample.layout, generator), count))


def flat(places: Float[Tensor, "*shape"]) -> bool:
    """Does the map put nothing in an order?"""
    low, high = places.aminmax()
    return bool(high - low <= FLAT * torch.maximum(low.abs(), high.abs()))


@dataclass(frozen=True, slots=True)
class Shown:
    """What the network made of copies of one sample: the score, and the class's lead over the best other logit.

    `lead` is NaN where the score is no single class's; a single output's lead is the output itself.
    """

    scores: Float[Tensor, " n"]
    lead: Float[Tensor, " n"]


def of_class(sample: Sample) -> bool:
    """Is the score the log-odds of a class?"""
    return [(t.kind, t.weight) for t in sample.score.target.terms] == [("log_odds", 1.0)]


def shown(sample: Sample, copies: Iterator[Tensor], count: int) -> Shown:
    """Show the network `count` copies of one sample, many to a pass; it is asked once for both numbers."""
    which = int(sample.score.target.terms[0].args[0]) if of_class(sample) else None

    def one(f: Score, x: Tensors, rows: Tensor) -> Tensors:
        answer, score = f.scored(x, rows)
        lead = torch.full_like(score, torch.nan) if which is None else _lead(answer.main, which)
        return {"scores": score, "lead": lead}

    inputs = Variations(count, lambda _: {**sample.x, sample.layout.input: next(copies)})
    found = list(sample.score.passes(inputs, one, "forward passes", folds=True))
    scores, lead = (torch.cat([f[k] for f in found]).double().cpu() for k in ("scores", "lead"))
    return Shown(scores, lead)


def _lead(z: Float[Tensor, "n classes"], which: int) -> Float[Tensor, " n"]:
    if z.shape[1] == 1:
        return z[:, 0]
    others = torch.cat([z[:, :which], z[:, which + 1 :]], 1)
    return z[:, which] - others.amax(1)


def in_unit(scores: Tensor, sample: Sample, unit: str) -> Tensor:
    """Scores in the unit that was asked for; raises `BadOption` when a probability is wanted of what has none."""
    if unit != "probability":
        return scores
    if not of_class(sample):
        raise BadOption("unit='probability': the score that was explained is no single class's.", "unit='explained'")
    return torch.sigmoid(scores)


def curves(
    sample: Sample, maps: Sequence[Tensor], counts: Sequence[int], removal: Removal, *, restored: bool = False
) -> Float[Tensor, "maps counts"]:
    """The scores along the order of each map; `restored`: places are put back into nothing but infill instead.

    With nothing or everything gone all orders are alike, so those two are shown once.
    """
    size, shape = sample.layout.size, sample.layout.shape
    ends = [c for c in (0, size) if c in counts]
    inner = [c for c in counts if 0 < c < size]
    orders = [order_of(m, sample.key) for m in maps]
    wanted = [(order, inner) for order in orders if inner] + [(orders[0], ends)] * bool(ends)

    def copies() -> Iterator[Tensor]:
        for order, here in wanted:
            masks = first(order, here, shape)
            yield from removal.copies(sample, ~masks if restored else masks)

    scores = shown(sample, copies(), len(maps) * len(inner) + len(ends)).scores
    found = scores[: len(maps) * len(inner)].view(len(maps), len(inner))
    at_ends = dict(zip(ends, scores[len(maps) * len(inner) :], strict=True))
    columns = [at_ends[c].expand(len(maps)) if c in at_ends else found[:, inner.index(c)] for c in counts]
    return torch.stack(columns, 1)


def area(curve: Float[Tensor, "*maps counts"], counts: Sequence[int]) -> Float[Tensor, "*maps"]:
    """The mean height of a curve from none to all, by trapezoids."""
    at = torch.tensor(counts, dtype=torch.double)
    return torch.trapezoid(curve, at) / (at[-1] - at[0])
