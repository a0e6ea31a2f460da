"""Is the strongest place of the map on the marked object?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.errors import BadOption
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.trials.layout import Layout
from pellucid.trials.regions import Marked, area_of, dilated, marks, measured, positive, unmarked

MISS = 15 / 224  # The paper allows 15 pixels, on pictures whose shorter side is about 224.


@measure(title="Pointing game", family="localization", paper="Zhang et al. 2016, arXiv:1608.00507")
def pointing_game(
    explanation: Explanation,
    *,
    mask: Marked | None = None,
    tolerance: Annotated[
        float | None,
        Range(0, 4096),
        "how many pixels away from the region still count as a hit; none: 15 for each 224 of a picture's shorter side",
    ] = None,
) -> Check:
    """The share of samples, 0..1, whose map is strongest on the marked region or within `tolerance` of it.

    `mask`: `[height, width]` or `[batch, height, width]`, true inside (the places of series, texts, tables and
    volumes likewise); or boxes (left, top, right, bottom) of a picture.  Where several places are equally strong each
    counts in part.  Beside it stand what a random place hits (chance: the region's area, grown by the tolerance) and
    what the picture's center hits.  The tolerance is Euclidean; the paper's 15 pixels are scaled with the picture, and
    where the input is no picture none is given unless asked for.  UNKNOWN without a mask, and for maps that are flat
    or have no positive value.  Raises `BadInput` when the mask does not fit or is empty, and `BadOption` for a
    tolerance between a table's columns, which have no neighbors.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[3.0, 1.0, 0.0, 2.0]])
    >>> why = pl.methods.saliency(net, torch.ones(1, 1, 2, 2), 0)
    >>> pointing_game(why, mask=[(0, 0, 1, 1)]).value
    1.0
    """
    if mask is None:
        return unmarked("pointing_game")
    found = marks(explanation, mask)
    reach = _reach(found.layout, tolerance)
    found = replace(found, regions=dilated(found.regions, reach))

    def hit(places: Tensor, inside: Tensor) -> float:
        if positive(places) is None:
            return math.nan
        top = places == places.max()
        return float((top & inside).sum() / top.sum())

    def said(value: float, chance: float) -> str:
        several = len(found.maps) > 1
        word = "hits" if value == 1 else "misses" if value == 0 else "partly hits (several places are as strong)"
        share = f"In {value:.0%} of samples the strongest place of the map" if several else "The map's strongest place"
        end = "is on" if several else word
        near = f" or within {reach:.3g} places of it" if reach else ""
        return f"{share} {end} the marked region{near}; a place drawn at random would be in {chance:.0%} of cases."

    return measured("pointing_game", found, hit, area_of, said)


def _reach(layout: Layout, tolerance: float | None) -> float:
    if tolerance is None:
        return MISS * min(layout.shape) if layout.kind == "picture" else 0.0
    if tolerance and layout.kind == "table":
        raise BadOption(f"tolerance={tolerance:g}, but a table's columns have no neighbors.", "Leave it out.")
    return tolerance
