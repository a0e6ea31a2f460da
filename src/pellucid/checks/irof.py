"""Whole segments removed, those with the highest mean in the map first: how much of the class's probability goes?

Rieger and Hansen 2020 (IROF).  Single pixels are no units of meaning, and neighbors stand in for each other; segments
are and do not.  The area over the curve of p(segments removed) / p(nothing removed), on the probability: on logits that
ratio means nothing.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from pellucid.core.check import Check
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.probes.fills import Fill
from pellucid.probes.segments import segments
from pellucid.trials.ordered import (
    FLAT_MAP,
    Randoms,
    Removal,
    Sigma,
    Value,
    area,
    flat,
    of_class,
    order_of,
    random_maps,
    shown,
)
from pellucid.trials.sample import Sample, at_least, mean_of, samples, summary

By: TypeAlias = Annotated[
    Literal["grid", "slic", "felzenszwalb"] | None,
    "how pictures are divided: a grid, or superpixels by scikit-image; none: SLIC for pictures, else a grid",
]
Mask: TypeAlias = Annotated[
    Tensor | None, "instead, each place's segment as a whole number: [height, width] for a picture"
]
Infill: TypeAlias = Annotated[
    Fill | None, "what stands where a segment is removed; none: the sample's mean, 0 in tables"
]


@measure(
    title="IROF",
    family="faithfulness",
    paper="Rieger, Hansen 2020, arXiv:2003.08747",
    better="higher",
    cost="(1 + `randoms`) x segments + 1 forward passes a sample",
)
def irof(
    explanation: Explanation,
    *,
    by: By = None,
    cells: Annotated[int, Range(2, 256), "blocks along each side, or about this number squared of superpixels"] = 10,
    mask: Mask = None,
    randoms: Randoms = 1,
    fill: Infill = None,
    value: Value = 0.0,
    sigma: Sigma = None,
) -> Check:
    """The share of the class's probability lost, on average, while segments go by their mean in the map; up to 1.

    1 less the area under p / p at the start, by trapezoids from nothing to everything removed: 0 where nothing changes,
    negative where the class gets likelier.  Higher is better.  "random": the same by random maps, which are this one
    flipped and rolled over the edge.  Segments that tie come in one seeded order.  Columns and words are segments of
    their own; what goes is replaced by the sample's mean (a table's by 0).  Curves: "share" of segments removed and
    what is left of the probability, at 21 places.  Raises `BadInput` when no class was explained, `Missing` without
    scikit-image where superpixels are wanted or when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> line = torch.nn.Linear(2, 1, bias=False); line.weight.data = torch.tensor([[30.0, 0.0]])
    >>> why = pl.methods.input_x_gradient(line, torch.ones(1, 2), 0)
    >>> round(irof(why).value, 4)  # p / p: 1, then 0.5 and 0.5
    0.375
    """
    each, chance, lines = list[float](), list[float](), list[Tensor]()
    with samples(explanation) as taken:
        _fits(taken[0], explanation)
        for sample in taken:
            removal = Removal(fill or ("constant" if sample.layout.kind == "table" else "mean"), value, sigma)
            labels = _labels(sample, by, cells, mask)
            if flat(_means(sample.places, labels)):
                each.append(math.nan)
                continue
            maps = [sample.places, *random_maps(sample, randoms)]
            left = _left(sample, [_means(m, labels) for m in maps], labels, removal)
            over = 1 - area(left, range(left.shape[1]))
            each.append(float(over[0]))
            chance.append(mean_of(over[1:].tolist()))
            lines.append(_at_shares(torch.stack([left[0], left[1:].mean(0)])))
    random = mean_of(chance)

    def say(found: float) -> str:
        told = f"; random maps of the same kind lose {random:.0%}" if not math.isnan(random) else ""
        return (
            "Whole segments were removed, those where the map is strongest on average first: on the way the class lost "
            f"{found:.0%} of its probability on average (higher is better){told}."
        )

    references = () if math.isnan(random) else (("random", random),)
    return summary("irof", each, say, FLAT_MAP, references=references, curves=_curves(lines))


def _fits(sample: Sample, explanation: Explanation) -> None:
    if not of_class(sample):
        raise BadInput(
            f"IROF is a share of a class's probability; what was explained is {explanation.target}.",
            "Use pixel_flipping.",
        )
    at_least(sample.layout, 2)


def _labels(sample: Sample, by: str | None, cells: int, mask: Tensor | None) -> Int[Tensor, "*shape"]:
    """The number of each place's segment."""
    layout = sample.layout
    picture = layout.kind == "picture" and not layout.site and layout.input not in sample.score.positions
    by = by or ("slic" if picture and mask is None else "grid")
    found = segments(sample.score, {layout.input: sample.v}, by=by, cells=cells, mask=mask).labels[layout.input]
    if found.numel() != layout.size:
        raise BadInput(f"The mask divides more than the places {layout.shape}.", "Give a number a place.")
    return found.cpu().reshape(layout.shape)


def _means(places: Float[Tensor, "*shape"], labels: Int[Tensor, "*shape"]) -> Float[Tensor, " segments"]:
    """A map's mean over each segment."""
    which = labels.flatten()
    sums = torch.zeros(int(which.max()) + 1, dtype=torch.double).index_add_(0, which, places.flatten().double())
    return sums / torch.bincount(which)


def _left(sample: Sample, means: list[Tensor], labels: Tensor, removal: Removal) -> Float[Tensor, "maps steps"]:
    """P / p at the start after each segment, for each map's order; what comes first and last is shown once."""
    count = len(means[0])
    places = []
    for m in means:
        order = order_of(m, sample.key)
        place = torch.empty_like(order)
        place[order] = torch.arange(count)
        places.append(place[labels])
    steps = [p < n for p in places for n in range(1, count)] + [places[0] < 0, places[0] < count]
    copies = (copy for step in steps for copy in removal.copies(sample, step[None]))
    scores = logsigmoid(shown(sample, copies, len(steps)).scores)
    start, end = scores[-2], scores[-1]
    inner = scores[:-2].view(len(means), count - 1)
    whole = torch.cat([start.expand(len(means), 1), inner, end.expand(len(means), 1)], 1)
    return (whole - start).exp()


SHARES = 21


def _at_shares(left: Float[Tensor, "maps steps"]) -> Float[Tensor, "maps shares"]:
    """Curves of any number of steps, read at equal shares."""
    at = torch.linspace(0, left.shape[1] - 1, SHARES, dtype=torch.double)
    low = at.floor().long().clamp(max=left.shape[1] - 2)
    return torch.lerp(left[:, low], left[:, low + 1], at - low)


def _curves(lines: list[Tensor]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    if not lines:
        return ()
    mean = torch.stack(lines).mean(0)
    named = (("share", torch.linspace(0, 1, SHARES)), ("map", mean[0]), ("random", mean[1]))
    return tuple((name, tuple(line.tolist())) for name, line in named if not bool(line.isnan().any()))
