"""Are the few strongest places of the map on the marked object?"""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.errors import BadOption
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.trials.regions import Marked, area, marks, measured, share_of_top, unmarked

SHARE = 0.02  # 1000 places of 224 x 224, the number that the field uses.


@measure(title="Top-k intersection", family="localization", paper="Theiner et al. 2022, arXiv:2104.14995")
def top_k_intersection(
    explanation: Explanation,
    *,
    mask: Marked | None = None,
    k: Annotated[int | None, Range(1, 10**9), "how many of the highest places; none: 2 % of all"] = None,
    concept_influence: Annotated[bool, "divide by the region's share of the places, so that chance is 1"] = False,
) -> Check:
    """The share, 0..1, of the `k` highest places that lies in the marked region; the mean over samples.

    `mask`: `[height, width]` or `[batch, height, width]`, true inside (the places of series, texts, tables and
    volumes likewise); or boxes (left, top, right, bottom) of a picture.  With `concept_influence` it is divided by the
    region's share of all places, so that objects of different size compare; chance then is 1.  A region of fewer than
    `k` places cannot be hit by all: the reference `best` says what could be.  Places that tie at the end of the
    ranking count in part.  A flat map gets no number.  UNKNOWN without a mask.  Raises `BadInput` when the mask does
    not fit or is empty, `BadOption` when there are not `k` places.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(4, 1), torch.ones(1, 4), 0)
    >>> why.values[0] = torch.tensor([3.0, 1.0, 0.0, -2.0])
    >>> top_k_intersection(why, mask=torch.arange(4) < 1, k=2).value
    0.5
    """
    if mask is None:
        return unmarked("top_k_intersection")
    found = marks(explanation, mask)
    size = found.layout.size
    count = max(round(SHARE * size), 1) if k is None else k
    if count > size:
        raise BadOption(f"k={count}, but the {found.layout.kind} has {size} places.", f"Give 1 to {size}.")

    def scaled(share: float, inside: Tensor) -> float:
        return share / area(inside) if concept_influence else share

    def share(places: Tensor, inside: Tensor) -> float:
        flat = float(places.max()) == float(places.min())
        return math.nan if flat else scaled(share_of_top(places, inside, count), inside)

    def said(value: float, chance: float) -> str:
        if concept_influence:
            return f"Of the map's {count} highest places {value:.2f} times as many are marked as chance would give."
        return f"{value:.0%} of the map's {count} highest places are marked; by chance {chance:.0%} would be."

    return measured(
        "top_k_intersection", found, share, lambda _, inside: 1.0 if concept_influence else area(inside), said,
        others=(("best", lambda _, inside: scaled(min(int(inside.sum()) / count, 1.0), inside)),),
        nothing="The map is the same everywhere.",
    )  # fmt: skip
