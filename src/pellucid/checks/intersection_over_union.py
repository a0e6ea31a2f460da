"""Cut at a threshold, does the map draw the marked object?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.errors import BadOption
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.components import boxed, components, largest, otsu
from pellucid.trials.regions import Marked, Marks, levels, marks, mean_of, measured, positive, unmarked

Threshold: TypeAlias = Literal["otsu", "area", "level", "value"]
Figure: TypeAlias = Literal["iou", "dice"]
OF_MAXIMUM = 0.2  # Zhou et al. 2016
SHARES = tuple(i / 20 for i in range(1, 20))


@measure(
    title="Intersection over union",
    family="localization",
    paper="Otsu 1979, doi:10.1109/TSMC.1979.4310076; Zhou et al. 2016, arXiv:1512.04150",
)
def intersection_over_union(
    explanation: Explanation,
    *,
    mask: Marked | None = None,
    threshold: Annotated[
        Threshold,
        "where the map is cut: by Otsu's rule, at a share of the places, at a share of the maximum, or at a value",
    ] = "otsu",
    at: Annotated[
        float | None, "the share or value of that cut; none: as many places as are marked, or 0.2 of the maximum"
    ] = None,
    part: Annotated[Literal["all", "largest"], "all that is above, or its largest connected part"] = "all",
    boxes: Annotated[bool, "compare boxes: around that largest part, and around the marked part it fits best"] = False,
    figure: Annotated[Figure, "intersection over union, or Dice: twice the intersection over the sum of both"] = "iou",
) -> Check:
    """The overlap, 0..1, of what the map shows above a threshold with the marked region; the mean over samples.

    `mask`: `[height, width]` or `[batch, height, width]`, true inside (the places of series, texts, tables and
    volumes likewise); or boxes (left, top, right, bottom) of a picture.  Only positive values are shown.  Chance is
    what as many places drawn at random get on average (with `boxes`: the same box at a random place), and
    `best threshold` what the best cut of this map would reach.  `curves`: the overlap by the share of places kept.
    Maps that are flat or have no positive value get no number; nothing above a given value is an overlap of 0.
    UNKNOWN without a mask.  Raises `BadInput` when the mask does not fit or is empty, and `BadOption` for a cut out of
    range, and for connected parts of a table.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(4, 1), torch.ones(1, 4), 0)
    >>> why.values[0] = torch.tensor([3.0, 2.9, 0.1, -2.0])
    >>> intersection_over_union(why, mask=torch.tensor([True, False, False, False])).value  # of columns 0 and 1
    0.5
    """
    cut = Cut(threshold, at, part == "largest" or boxes)
    if mask is None:
        return unmarked("intersection_over_union")
    found = marks(explanation, mask)
    if found.layout.kind == "table" and cut.largest:
        raise BadOption("A table's columns have no neighbors, so there are no connected parts.", "Leave it out.")

    return _compared(found, cut, boxes, figure)


def _compared(found: Marks, cut: Cut, boxes: bool, figure: Figure) -> Check:
    def score(places: Tensor, inside: Tensor) -> float:
        above = cut.above(places, inside)
        if above is None:
            return math.nan
        return _of_boxes(above, inside, figure) if boxes else overlap(above, inside, figure)

    def chance(places: Tensor, inside: Tensor) -> float:
        above = cut.above(places, inside)
        if above is None or not bool(above.any()):
            return math.nan if above is None else 0.0
        return _of_moved_box(above, inside, figure) if boxes else _of_random_places(above, inside, figure)

    def said(value: float, by_chance: float) -> str:
        name = "intersection over union" if figure == "iou" else "Dice"
        drawn = "a box around the map's largest part" if boxes else "what the map shows above the threshold"
        return f"The marked region and {drawn} overlap to {value:.2f} ({name}, of 1); by chance {by_chance:.2f}."

    def best(places: Tensor, inside: Tensor) -> float:
        return _best(places, inside, figure)

    others = () if cut.largest else (("best threshold", best),)
    check = measured("intersection_over_union", found, score, chance, said, others=others)
    known = [(m, r) for m, r, v in zip(found.maps, found.regions, check.each, strict=True) if not math.isnan(v)]
    return check if cut.largest or not known else replace(check, curves=_curves(known, figure))


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a map is cut into what it shows and what not; raises `BadOption` when there can be no such cut."""

    threshold: Threshold
    at: float | None
    largest: bool = False

    def __post_init__(self) -> None:
        if self.at is None and self.threshold == "value":
            raise BadOption("threshold='value' was given without a value.", "Give at=... in the map's own units.")
        if self.at is not None and self.threshold == "otsu":
            raise BadOption(f"at={self.at:g}, but Otsu's rule finds its own cut.", "Leave it out, or name a threshold.")
        if self.at is not None and self.threshold != "value" and not 0 < self.at < 1:
            raise BadOption(f"at={self.at:g}: expected a share between 0 and 1 (threshold={self.threshold!r}).")

    def above(self, places: Float[Tensor, "*places"], inside: Bool[Tensor, "*places"]) -> Tensor | None:
        """What the map shows, true; None where it is flat or has no positive value."""
        evidence = positive(places)
        if evidence is None:
            return None
        if self.threshold == "otsu":
            shown = evidence >= otsu(evidence.flatten())
        elif self.threshold == "area":
            count = int(inside.sum()) if self.at is None else max(round(self.at * places.numel()), 1)
            shown = _highest(evidence, count)
        elif self.threshold == "level":
            shown = evidence >= (OF_MAXIMUM if self.at is None else self.at) * evidence.max()
        else:
            shown = (evidence >= (self.at or 0.0)) & (evidence > 0)
        return largest(shown) if self.largest else shown


def _highest(evidence: Tensor, count: int) -> Tensor:
    """The `count` highest places and those that tie with the last of them, if positive."""
    return (evidence >= evidence.flatten().topk(count).values[-1]) & (evidence > 0)


def overlap(one: Bool[Tensor, "*places"], other: Bool[Tensor, "*places"], figure: Figure = "iou") -> float:
    """Intersection over union, or Dice; 0 when both are empty."""
    return _figure(float((one & other).sum()), float(one.sum()), float(other.sum()), figure)


def _figure(both: float, one: float, other: float, figure: Figure) -> float:
    if one + other == 0:
        return 0.0
    return both / (one + other - both) if figure == "iou" else 2 * both / (one + other)


def _of_boxes(above: Tensor, inside: Tensor, figure: Figure) -> float:
    return max(overlap(boxed(above), box, figure) for box in _boxes(inside))


def _boxes(inside: Tensor) -> list[Tensor]:
    parts = components(inside[None])[0]
    return [boxed(parts == number) for number in range(1, int(parts.max()) + 1)]


def _of_random_places(above: Tensor, inside: Tensor, figure: Figure) -> float:
    """The mean over all ways to choose as many places: how many of them are marked is hypergeometric."""
    n, mine, marked = above.numel(), int(above.sum()), int(inside.sum())
    both = torch.arange(max(mine + marked - n, 0), min(mine, marked) + 1, dtype=torch.double)

    def ways(of: Tensor | int, chosen: Tensor | int) -> Tensor:
        of, chosen = torch.as_tensor(of, dtype=torch.double), torch.as_tensor(chosen, dtype=torch.double)
        return torch.lgamma(of + 1) - torch.lgamma(chosen + 1) - torch.lgamma(of - chosen + 1)

    chance = (ways(marked, both) + ways(n - marked, mine - both) - ways(n, mine)).exp()
    figures = both / (mine + marked - both) if figure == "iou" else 2 * both / (mine + marked)
    return float((chance * figures).sum() / chance.sum())


def _of_moved_box(above: Tensor, inside: Tensor, figure: Figure) -> float:
    """The mean over every place where the box fits of its overlap with the marked box that it fits best there."""
    where = above.nonzero()
    sizes = (where.amax(0) - where.amin(0) + 1).tolist()
    best = torch.zeros([n - size + 1 for n, size in zip(above.shape, sizes, strict=True)], dtype=torch.double)
    for box in _boxes(inside):
        corners = box.nonzero()
        both = torch.ones((), dtype=torch.double)
        for n, size, low, high in zip(above.shape, sizes, corners.amin(0), corners.amax(0) + 1, strict=True):
            start = torch.arange(n - size + 1)
            along = (torch.minimum(start + size, high) - torch.maximum(start, low)).clamp(min=0)
            both = both[..., None] * along.double()
        sides = math.prod(sizes) + float(box.sum())
        best = torch.maximum(best, both / (sides - both) if figure == "iou" else 2 * both / sides)
    return float(best.mean())


def _best(places: Tensor, inside: Tensor, figure: Figure) -> float:
    """What the best cut between two values of this map would reach."""
    both, shown = levels(places.clamp(min=0), inside)
    both, shown = (both[:-1], shown[:-1]) if float(places.min()) <= 0 else (both, shown)  # zeros are never shown
    marked = float(inside.sum())
    return float((both / (shown + marked - both) if figure == "iou" else 2 * both / (shown + marked)).max())


def _curves(known: list[tuple[Tensor, Tensor]], figure: Figure) -> tuple[tuple[str, tuple[float, ...]], ...]:
    def at(share: float) -> float:
        return mean_of(
            [overlap(_highest(m.clamp(min=0), max(round(share * m.numel()), 1)), r, figure) for m, r in known]
        )

    return ("share kept", SHARES), ("intersection over union" if figure == "iou" else "Dice", tuple(map(at, SHARES)))
