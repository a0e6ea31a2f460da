"""How many of the marked objects does the map find, at how many false alarms a picture?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadOption
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.tensors import digest
from pellucid.trials.agreement import interval, resamples
from pellucid.trials.components import above, components
from pellucid.trials.regions import ENOUGH, NOWHERE, Marked, marks, unmarked

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)  # false alarms a picture (Setio et al. 2017)
ROLLS = 19  # for chance: the marked objects lie elsewhere, rolled over the border
MOST = 2**19  # places whose parts are looked for at a time


@measure(
    title="Free-response ROC",
    family="localization",
    paper="Bunch et al. 1977, doi:10.1117/12.955926; Setio et al. 2017, arXiv:1612.08012; "
    "Wang et al. 2017, arXiv:1705.02315",
)
def free_response(
    explanation: Explanation,
    *,
    mask: Marked | None = None,
    overlap: Annotated[float, Range(0.01, 1), "the least share of a found part that must be marked to count"] = 0.5,
    scale: Annotated[
        Literal["value", "maximum"], "thresholds on the maps' own values, or on each as a share of its maximum"
    ] = "value",
    thresholds: Annotated[int, Range(2, 1000), "how many thresholds, between the highest and the lowest value"] = 50,
) -> Check:
    """The mean share of marked objects found, 0..1, at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false alarms a picture.

    Above each threshold the connected parts of the map are what it points at: a part is right when at least `overlap`
    of it is marked, and else one false alarm; a marked object (a connected part of the mask) is found when a right
    part reaches into it.  So a map that lights up everywhere finds nothing.  At each rate the best threshold counts
    that raises no more alarms.  `mask` as for `localization`; samples in which nothing is marked take part with their
    false alarms.  `curves`: false alarms a picture and share found at every threshold, and the share found at each
    rate.  Chance is what the same maps reach when the
    marked objects lie elsewhere, rolled over the border at random (the mean of 19 times).  The
    interval is by bootstrap over samples.  `each`: the mean share of a sample's own objects, at the thresholds chosen
    for all.  UNKNOWN without a mask, and when no map has a positive value.  Raises `BadInput` when the mask does not
    fit or nothing at all is marked, and `BadOption` for tables, whose columns have no neighbors.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(25, 1, bias=False))
    >>> net[1].weight.data = torch.zeros(1, 25).index_fill_(1, torch.tensor([0, 12]), 1.0)
    >>> why = pl.methods.saliency(net, torch.ones(1, 1, 5, 5), 0)
    >>> found = free_response(why, mask=[(0, 0, 1, 1), (4, 4, 5, 5)])  # one of two found, and one false alarm
    >>> found.curves[0][1][0], found.curves[1][1][0]
    (1.0, 0.5)
    """
    if mask is None:
        return unmarked("free_response")
    given = marks(explanation, mask, empty=True)
    if given.layout.kind == "table":
        raise BadOption("A table's columns have no neighbors, so there are no connected parts to count.")
    maps = given.maps.clamp(min=0)
    if scale == "maximum":
        maps = maps / maps.flatten(1).amax(1).clamp(min=1e-300).view(-1, *[1] * (maps.ndim - 1))
    if not bool((maps > 0).any()):
        return Check("free_response", math.nan, Verdict.UNKNOWN, NOWHERE)
    levels = _levels(maps, thresholds)
    objects = components(given.regions)
    counted = [_counted_at(m, _with_rolled(o, digest(m)), levels, overlap) for m, o in zip(maps, objects, strict=True)]
    found, *rolled = torch.stack(counted, 1)
    counts = objects.flatten(1).amax(1).double()
    chance = sum(float(at_rates(r, counts).mean()) for r in rolled) / len(rolled)
    return _worded(found, counts, levels, chance)


def _levels(maps: Float[Tensor, "batch *places"], count: int) -> list[float]:
    """Thresholds, the highest first: values so ranked that each lets in a fixed factor more places than the last."""
    values = maps[maps > 0].flatten().sort(descending=True).values
    ranks = torch.logspace(0, math.log10(len(values)), count, dtype=torch.double).round().long().clamp(1, len(values))
    found: list[float] = torch.unique(values[ranks - 1]).flip(0).tolist()
    return found


def _with_rolled(objects: Tensor, key: str) -> list[Tensor]:
    """The marked objects, and then again and again somewhere else: it is cheaper to move them than the map."""
    generator = current().generator("free_response", key)
    axes = tuple(range(objects.ndim))
    shifts = [[int(torch.randint(n, (), generator=generator)) for n in objects.shape] for _ in range(ROLLS)]
    return [objects, *(objects.roll(shift, axes) for shift in shifts)]


def _counted_at(
    places: Float[Tensor, "*places"], marked: Sequence[Tensor], levels: Sequence[float], overlap: float
) -> Float[Tensor, "marked levels two"]:
    """For each way the objects lie, at each threshold, the number of false alarms and of objects found."""
    some, parts = max(MOST // places.numel(), 1), above(places, levels)
    rows = []
    while here := list(itertools.islice(parts, some)):
        numbered = _numbered(torch.stack(here).flatten(1))
        rows.append(torch.stack([_counted(numbered, objects.flatten(), overlap) for objects in marked]))
    return torch.cat(rows, 1)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts at several thresholds, numbered through from 1 (0: outside): their sizes, and at which each one is."""

    number: Int[Tensor, "levels places"]
    sizes: Int[Tensor, " parts"]
    level: Int[Tensor, " parts"]


def _numbered(parts: Int[Tensor, "levels places"]) -> _Parts:
    counts = parts.amax(1)
    before = (counts.cumsum(0) - counts)[:, None]
    number = torch.where(parts > 0, parts + before, 0)
    return _Parts(
        number, torch.bincount(number.flatten())[1:], torch.repeat_interleave(torch.arange(len(parts)), counts)
    )


def _counted(parts: _Parts, objects: Int[Tensor, " places"], overlap: float) -> Float[Tensor, "levels two"]:
    """At each threshold, how many parts are false alarms, and how many objects a right part reaches into."""
    inside = objects.nonzero()[:, 0]
    number, which = parts.number[:, inside], objects[inside]
    right = torch.bincount(number.flatten(), minlength=len(parts.sizes) + 1)[1:] >= overlap * parts.sizes
    alarms = torch.bincount(parts.level[~right], minlength=len(number))
    reached = torch.cat([right.new_zeros(1), right])[number]
    found = torch.zeros(len(number), int(objects.max()) + 1, dtype=torch.uint8)
    found.scatter_reduce_(1, which.expand_as(number), reached.to(torch.uint8), "amax")
    return torch.stack([alarms, found.sum(1)], 1).double()


def at_rates(found: Float[Tensor, "batch levels two"], counts: Float[Tensor, " batch"]) -> Float[Tensor, " rates"]:
    """The share of all objects that is found, at the best threshold with no more than each rate of false alarms.

    >>> at_rates(torch.tensor([[[0.0, 1.0], [3.0, 2.0]]]).double(), torch.tensor([2.0]).double()).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0]
    """
    alarms, share = found[..., 0].mean(0), found[..., 1].sum(0) / counts.sum()
    return torch.stack([torch.where(alarms <= rate, share, 0.0).amax() for rate in RATES])


def _worded(found: Tensor, counts: Tensor, levels: Sequence[float], chance: float) -> Check:
    shares = at_rates(found, counts)
    alarms, share = found[..., 0].mean(0), found[..., 1].sum(0) / counts.sum()
    at_one = float(shares[RATES.index(1.0)])
    why = (
        f"The maps find {float(shares.mean()):.0%} of the {int(counts.sum())} marked objects on average over the usual "
        f"rates, {at_one:.0%} at one false alarm a sample; if the objects lay elsewhere, it would be {chance:.0%}."
    )
    low, high = _interval(found, counts)
    return Check(
        "free_response", float(shares.mean()), Verdict.MEASURED, why, low, high, (("chance", chance),),
        _each(found, counts),
        (
            ("false alarms", tuple(alarms.tolist())), ("share found", tuple(share.tolist())),
            ("threshold", tuple(levels)), ("rate", RATES), ("share found at rate", tuple(shares.tolist())),
        ),
    )  # fmt: skip


def _each(found: Tensor, counts: Tensor) -> tuple[float, ...]:
    """Each sample's own share, at the thresholds chosen for all; NaN where nothing is marked."""
    alarms, share = found[..., 0].mean(0), found[..., 1].sum(0) / counts.sum()
    chosen = []
    for rate in RATES:
        allowed = torch.where(alarms <= rate, share, -1.0)
        chosen.append(int(allowed.argmax()) if float(allowed.amax()) >= 0 else None)
    mine = [found[:, i, 1] / counts if i is not None else torch.zeros_like(counts) for i in chosen]
    means = torch.stack(mine).mean(0)
    return tuple(torch.where(counts > 0, means, math.nan).tolist())


def _interval(found: Tensor, counts: Tensor) -> tuple[float, float]:
    if len(counts) < ENOUGH:
        return math.nan, math.nan
    picks = resamples(500, len(counts), current().generator("free_response", "samples"))
    drawn = [at_rates(found[pick], counts[pick]).mean() for pick in picks if float(counts[pick].sum()) > 0]
    return interval(torch.stack(drawn))
