"""How much of the map's evidence lies on the marked object?"""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.regions import Marked, Pooling, area_of, marks, measured, positive, unmarked


@measure(title="Relevance mass accuracy", family="localization", paper="Arras et al. 2022, arXiv:2003.07258")
def relevance_mass(
    explanation: Explanation,
    *,
    mask: Marked | None = None,
    pooling: Annotated[
        Pooling,
        "how a place's channels become one number: their sum (its positive part), the sum's size, the largest size, "
        "or the sum of squares",
    ] = "sum",
) -> Check:
    """The share, 0..1, of the map's positive evidence that lies in the marked region; the mean over samples.

    `mask`: `[height, width]` or `[batch, height, width]`, true inside (the places of series, texts, tables and
    volumes likewise); or boxes (left, top, right, bottom) of a picture.  Chance is the region's share of all places:
    what an even map gets.  Maps that are flat or have no positive value get no number.  UNKNOWN without a mask.  Raises
    `BadInput` when the mask does not fit or is empty.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(3, 1), torch.ones(1, 3), 0)
    >>> why.values[0] = torch.tensor([3.0, 1.0, -2.0])
    >>> relevance_mass(why, mask=torch.tensor([True, False, True])).value  # 3 of 3 + 1
    0.75
    """
    if mask is None:
        return unmarked("relevance_mass")
    found = marks(explanation, mask, pooling=pooling)

    def said(value: float, chance: float) -> str:
        return (
            f"{value:.0%} of the map's evidence lies in the marked region, which covers {chance:.0%} of the "
            f"{found.layout.kind}: that much an even map would have there."
        )

    return measured("relevance_mass", found, mass, area_of, said)


def mass(places: Tensor, inside: Tensor) -> float:
    """The positive part's share inside; NaN where there is none."""
    evidence = positive(places)
    return math.nan if evidence is None else float(evidence[inside].sum() / evidence.sum())
