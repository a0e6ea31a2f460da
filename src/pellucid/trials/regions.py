"""Regions that somebody marked in an input, held against the maps of an explanation, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.check import Check, Verdict
from pellucid.core.counts import count, were_given
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.run import current
from pellucid.trials.agreement import interval, resamples
from pellucid.trials.layout import Layout, layout_of
from pellucid.trials.yardsticks import center

Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom, in pixels; right and bottom excluded
Marked: TypeAlias = Tensor | Sequence[Box] | Sequence[Sequence[Box]]  # boxes for all samples, or a list for each
Pooling: TypeAlias = Literal["sum", "absolute", "max_norm", "l2_norm_squared"]
One: TypeAlias = Callable[[Tensor, Tensor], float]  # a map and its region to a number; NaN where there is none

ENOUGH = 5  # With fewer samples than this no interval of their mean is given.
NOWHERE = "The map is the same everywhere or has no positive value, so it points nowhere."


@dataclass(frozen=True, slots=True)
class Marks:
    """The maps of one input, a number a place, and each sample's marked region over the same places."""

    layout: Layout
    maps: Float[Tensor, "batch *places"]
    regions: Bool[Tensor, "batch *places"]

    def each(self, score: One) -> tuple[float, ...]:
        """A number for every sample."""
        return tuple(score(m, r) for m, r in zip(self.maps, self.regions, strict=True))


def marks(explanation: Explanation, mask: Marked, *, pooling: Pooling = "sum", empty: bool = False) -> Marks:
    """The maps and the regions; of several inputs that one which the mask fits, pictures first.

    At an inner site the mask speaks of the places of the value there.  `empty`: samples with nothing marked are
    allowed, if others have something.  Raises `BadInput` when the mask fits no input or marks nothing or everything.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.saliency(torch.nn.Linear(4, 1), torch.ones(1, 4), 0)
    >>> marks(why, torch.tensor([True, False, False, False])).regions.tolist()
    [[True, False, False, False]]
    """
    layouts = sorted(layouts_of(explanation), key=lambda layout: layout.kind != "picture")
    if not layouts:
        layouts = [layout_of(explanation.net, explanation.explained)]
    tail = tuple(mask.shape) if isinstance(mask, Tensor) else ()
    fitting = (one for one in layouts if tail in (one.shape, (len(explanation.maps[one.input]), *one.shape)))
    layout = next(fitting, layouts[0])
    values = explanation.maps[layout.input].detach().cpu().double()
    values = values.abs() if explanation.by_size else values
    return Marks(layout, _pooled(values, layout, pooling), region(mask, layout, len(values), empty=empty))


def layouts_of(explanation: Explanation) -> Iterator[Layout]:
    """The places of every input that has a map; words are explained at their vectors."""
    for name, v in explanation.explained.items():
        if name not in explanation.maps:
            continue
        if not v.is_floating_point():
            yield Layout("text", name, (1,), (explanation.maps[name].shape[1],))
            continue
        with suppress(BadInput):
            yield replace(layout_of(explanation.net, {name: v}), site=explanation.at)


def _pooled(values: Tensor, layout: Layout, how: Pooling) -> Tensor:
    """One number a place, after Arras et al. 2022: how the channels of a place are taken together."""
    if how == "max_norm":
        others = [axis for axis in range(1, values.ndim) if axis not in layout.axes]
        return layout.places(values.abs().amax(others, keepdim=True) if others else values.abs())
    if how == "l2_norm_squared":
        return layout.places(values.square())
    return layout.places(values).abs() if how == "absolute" else layout.places(values)


def region(mask: Marked, layout: Layout, samples: int, *, empty: bool = False) -> Bool[Tensor, "batch *places"]:
    """A mask for each sample: from one for all, from one for each, or from boxes."""
    mask = mask if isinstance(mask, Tensor) else _drawn(mask, layout, samples)
    given = tuple(mask.shape)
    mask = mask.detach().bool().cpu()
    mask = mask[None].expand(samples, *mask.shape) if mask.ndim == len(layout.shape) else mask
    if tuple(mask.shape) != (samples, *layout.shape):
        where = f" (the places at {layout.site})" if layout.site else ""
        wanted = f"expected {layout.shape} or {(samples, *layout.shape)}{where}"
        raise BadInput(f"The mask is {given}; {wanted}.", "Resize it.")
    inside = mask.flatten(1)
    nothing = not bool(inside.any()) if empty else not bool(inside.any(1).all())
    if nothing or bool(inside.all(1).any()):
        raise BadInput(f"The marked region is empty or the whole {layout.kind}.", f"Mark a part of the {layout.kind}.")
    return mask


def _drawn(boxes: Sequence[Box] | Sequence[Sequence[Box]], layout: Layout, samples: int) -> Bool[Tensor, "*places"]:
    if layout.kind != "picture":
        raise BadInput(f"Boxes mark parts of pictures; this input is a {layout.kind}.", "Give a mask over its places.")
    if len(boxes) and isinstance(boxes[0][0] if len(boxes[0]) else (), Sequence):  # a list of boxes for each sample
        if len(boxes) != samples:
            raise BadInput(
                f"{were_given(len(boxes), 'list of boxes')} for {count(samples, 'sample')}.", "Give one for each."
            )
        return torch.stack([_painted(some, layout.shape) for some in boxes])  # type: ignore[arg-type]  # just asked
    return _painted(boxes, layout.shape)  # type: ignore[arg-type]


def _painted(boxes: Sequence[Box], shape: tuple[int, ...]) -> Bool[Tensor, "height width"]:
    drawn = torch.zeros(shape, dtype=torch.bool)
    for left, top, right, bottom in boxes:
        drawn[max(round(top), 0) : max(round(bottom), 0), max(round(left), 0) : max(round(right), 0)] = True
    return drawn


def positive(places: Float[Tensor, "*places"]) -> Float[Tensor, "*places"] | None:
    """The evidence for the target, negative values cut off; None where the map is flat or has none."""
    if float(places.max()) <= 0 or float(places.max()) == float(places.min()):
        return None
    return places.clamp(min=0)


def share_of_top(places: Float[Tensor, "*places"], inside: Bool[Tensor, "*places"], count: int) -> float:
    """The share of the `count` highest places that lies inside; where the last of them tie, each counts in part.

    >>> share_of_top(torch.tensor([3.0, 1.0, 1.0, 0.0]), torch.tensor([True, True, False, False]), 2)
    0.75
    """
    flat, mine = places.flatten(), inside.flatten()
    last = flat.topk(count).values[-1]
    above, tied = flat > last, flat == last
    left = (count - above.sum()) * (tied & mine).sum().double() / tied.sum()
    return float(((above & mine).sum() + left) / count)


def levels(
    places: Float[Tensor, "*places"], inside: Bool[Tensor, "*places"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """For each distinct value from the highest down: how many marked places reach it, and how many of all.

    >>> [v.tolist() for v in levels(torch.tensor([3.0, 1.0, 1.0]), torch.tensor([True, True, False]))]
    [[1.0, 2.0], [1.0, 3.0]]
    """
    values, which = torch.unique(places.flatten(), return_inverse=True)
    counts = torch.bincount(which, minlength=len(values)).double().flip(0)
    marked = torch.bincount(which[inside.flatten()], minlength=len(values)).double().flip(0)
    return marked.cumsum(0), counts.cumsum(0)


def dilated(regions: Bool[Tensor, "batch *places"], radius: float) -> Bool[Tensor, "batch *places"]:
    """Regions with every place at most `radius` away from them, in places (Euclidean).

    >>> dilated(torch.tensor([[False, False, False, True]]), 2).tolist()
    [[False, True, True, True]]
    """
    away = torch.where(regions, 0.0, math.inf)  # squared distance to the nearest marked place, axis by axis
    for axis in range(1, regions.ndim):
        known, size = away.clone(), regions.shape[axis]
        for step in range(1, min(math.floor(radius), size - 1) + 1):
            for to, of in ((step, 0), (0, step)):
                here = away.narrow(axis, to, size - step)
                torch.minimum(here, known.narrow(axis, of, size - step) + step**2, out=here)
    return away <= radius**2


def area_of(_: Tensor, inside: Tensor) -> float:
    """The chance of everything that an even map gets right in proportion."""
    return area(inside)


def area(inside: Bool[Tensor, "*places"]) -> float:
    """The region's share of all places."""
    return float(inside.double().mean())


def unmarked(name: str) -> Check:
    """What is said when there is no mask."""
    return Check(name, math.nan, Verdict.UNKNOWN, "Nobody marked a region to compare the map with.")


def mean_of(values: Sequence[float]) -> float:
    """The mean of those that are numbers; NaN when none is."""
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def interval_of(name: str, values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean over samples, by bootstrap; NaN with fewer than five samples."""
    known = torch.tensor([v for v in values if not math.isnan(v)], dtype=torch.double)
    if len(known) < ENOUGH:
        return math.nan, math.nan
    return interval(known[resamples(1000, len(known), current().generator(name, "samples"))].mean(1))


def measured(
    name: str,
    found: Marks,
    score: One,
    chance: One,
    said: Callable[[float, float], str],
    *,
    others: Sequence[tuple[str, One]] = (),
    nothing: str = NOWHERE,
    centered: bool = True,
) -> Check:
    """The check of a number a sample: its mean, what a random map gets (`chance`), what a blob in the middle gets.

    `said`: the sentence for the mean and the chance.  `others`: further references, a number a sample each.
    """
    each = found.each(score)
    known = [i for i, v in enumerate(each) if not math.isnan(v)]
    if not known:
        return Check(name, math.nan, Verdict.UNKNOWN, nothing, each=each)
    pairs = [(found.maps[i], found.regions[i]) for i in known]
    by_chance = mean_of([chance(m, r) for m, r in pairs])
    references = [("chance", by_chance), *((label, mean_of([one(m, r) for m, r in pairs])) for label, one in others)]
    if centered and found.layout.kind in ("picture", "volume", "series"):
        middle = center(found.layout.shape)
        references.append(("center", mean_of([score(middle, r) for _, r in pairs])))
    value, (low, high) = mean_of(each), interval_of(name, each)
    return Check(
        name, value, Verdict.MEASURED, said(value, by_chance) + over(len(known), len(each)), low, high,
        tuple(references), each,
    )  # fmt: skip


def over(known: int, given: int) -> str:
    """How many samples a mean speaks of, as a sentence; nothing for a single one."""
    if known < given:
        return f" The mean of {known} of {given} samples; the maps of the others point nowhere."
    return f" The mean of {known} samples." if known > 1 else ""
