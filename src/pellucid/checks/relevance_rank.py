"""Are the strongest places of the map those of the marked object?"""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.regions import Marked, Pooling, area_of, marks, measured, share_of_top, unmarked


@measure(title="Relevance rank accuracy", family="localization", paper="Arras et al. 2022, arXiv:2003.07258")
def relevance_rank(
    explanation: Explanation,
    *,
    mask: Marked | None = None,
    pooling: Annotated[
        Pooling,
        "how a place's channels become one number: their sum, the sum's size, the largest size, or the sum of squares",
    ] = "sum",
) -> Check:
    """As many of the highest places as are marked: the share of them, 0..1, that is marked; the mean over samples.

    `mask`: `[height, width]` or `[batch, height, width]`, true inside (the places of series, texts, tables and
    volumes likewise); or boxes (left, top, right, bottom) of a picture.  Signed maps are ranked as they are, evidence
    against the target last.  Where places tie at the end of the ranking each counts in part, so that the order in
    which they are stored is no advantage.  Chance is the region's share of all places.  A flat map gets no number.
    UNKNOWN without a mask.  Raises `BadInput` when the mask does not fit or is empty.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(3, 1), torch.ones(1, 3), 0)
    >>> why.values[0] = torch.tensor([3.0, 1.0, -2.0])
    >>> relevance_rank(why, mask=torch.tensor([True, False, True])).value  # the two highest are columns 0 and 1
    0.5
    """
    if mask is None:
        return unmarked("relevance_rank")
    found = marks(explanation, mask, pooling=pooling)

    def said(value: float, chance: float) -> str:
        return (
            f"Of the map's highest places, as many as are marked, {value:.0%} lie in the marked region; of places "
            f"drawn at random {chance:.0%} would."
        )

    return measured("relevance_rank", found, _rank, area_of, said, nothing="The map is the same everywhere.")


def _rank(places: Tensor, inside: Tensor) -> float:
    flat = float(places.max()) == float(places.min())
    return math.nan if flat else share_of_top(places, inside, int(inside.sum()))
