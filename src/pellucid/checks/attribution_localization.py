"""How much of the map's evidence lies on the marked object, for objects that are small enough to tell?"""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.trials.regions import Marked, area, marks, measured, positive, unmarked


@measure(title="Attribution localization", family="localization", paper="Kohlbrenner et al. 2020, arXiv:1910.09840")
def attribution_localization(
    explanation: Explanation,
    *,
    mask: Marked | None = None,
    weighted: Annotated[bool, "divide by the region's share of the places, so that an even map gets 1"] = False,
    max_size: Annotated[float, Range(0, 1), "leave out samples whose region is a larger share of the places"] = 1.0,
) -> Check:
    """The positive evidence inside the marked region as a share of all, 0..1 (inside-total ratio); mean over samples.

    `mask`: `[height, width]` or `[batch, height, width]`, true inside (the places of series, texts, tables and
    volumes likewise); or boxes (left, top, right, bottom) of a picture.  `weighted` makes it how many times more
    evidence than in an even map lies inside, from 0 to places / marked places: the number of one sample depends on
    that sample alone.  Chance is the region's share of all places, or 1 when weighted.  Maps that are flat or have no
    positive value, and regions beyond `max_size`, get no number.  UNKNOWN without a mask.  Raises `BadInput` when the
    mask does not fit or is empty.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(4, 1), torch.ones(1, 4), 0)
    >>> why.values[0] = torch.tensor([3.0, 1.0, 0.0, -2.0])
    >>> attribution_localization(why, mask=torch.arange(4) < 1, weighted=True).value  # 3/4 of it on 1/4 of the places
    3.0
    """
    if mask is None:
        return unmarked("attribution_localization")
    found = marks(explanation, mask)

    def ratio(places: Tensor, inside: Tensor) -> float:
        evidence = positive(places)
        if evidence is None or area(inside) > max_size:
            return math.nan
        share = float(evidence[inside].sum() / evidence.sum())
        return share / area(inside) if weighted else share

    def said(value: float, chance: float) -> str:
        if weighted:
            return f"The marked region holds {value:.2f} times the evidence that an even map would have there."
        return f"{value:.0%} of the map's evidence lies in the marked region; an even map would have {chance:.0%}."

    return measured(
        "attribution_localization", found, ratio, lambda _, inside: 1.0 if weighted else area(inside), said,
        nothing=f"The map is flat, has no positive value, or the region is more than {max_size:.0%} of the places.",
    )  # fmt: skip
