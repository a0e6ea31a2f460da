"""Does the map rank marked places above the others, whatever the threshold?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.agreement import ranks
from pellucid.trials.regions import Marked, levels, marks, mean_of, measured, unmarked

RATES = 21  # points of the drawn curve: false positive rates, or recalls, from 0 to 1


@measure(
    title="Pixel AUC", family="localization", paper="Fawcett 2006, doi:10.1016/j.patrec.2005.10.010", better="higher"
)
def pixel_auc(
    explanation: Explanation,
    *,
    mask: Marked | None = None,
    area_under: Annotated[
        Literal["roc", "precision_recall"],
        "ROC: the chance that a marked place is above an unmarked one; precision-recall: average precision",
    ] = "roc",
) -> Check:
    """How well the map's values tell marked places from others, 0..1, over all thresholds; the mean over samples.

    `mask`: `[height, width]` or `[batch, height, width]`, true inside (the places of series, texts, tables and
    volumes likewise); or boxes (left, top, right, bottom) of a picture.  AUROC is the share of pairs of a marked and an
    unmarked place in which the marked one is higher, ties counting half; chance is 0.5.  Average precision is
    the mean precision at the marked places, tied places taken together, and its chance what a random order gets, a
    little above the region's share: it is the stricter one when little is marked.  Signed maps are ranked as they are.
    `curves`: the mean curve at 21 rates.  A flat map gets no number.  UNKNOWN without a mask.  Raises `BadInput` when
    the mask does not fit or is empty.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(4, 1), torch.ones(1, 4), 0)
    >>> why.values[0] = torch.tensor([3.0, 1.0, 0.0, -2.0])
    >>> pixel_auc(why, mask=torch.tensor([True, False, True, False])).value  # 3 of 4 pairs
    0.75
    """
    if mask is None:
        return unmarked("pixel_auc")
    found, roc = marks(explanation, mask), area_under == "roc"
    one = auroc if roc else average_precision

    def score(places: Tensor, inside: Tensor) -> float:
        return math.nan if float(places.max()) == float(places.min()) else one(places, inside)

    def chance(_: Tensor, inside: Tensor) -> float:
        return 0.5 if roc else expected_precision(inside)

    def said(value: float, by_chance: float) -> str:
        if roc:
            return f"A marked place is above an unmarked one in {value:.0%} of pairs; a random map has it so in 50%."
        return (
            f"Going down the map, {value:.0%} of the places above each marked one are marked too, on average "
            f"(average precision); a random order has {by_chance:.0%}."
        )

    nothing = "The map is the same everywhere."
    check = measured(
        "pixel_auc", found, score, lambda _, r: 0.5 if roc else expected_precision(r), said, nothing=nothing
    )
    drawn = [(m, r) for m, r, v in zip(found.maps, found.regions, check.each, strict=True) if not math.isnan(v)]
    return replace(check, curves=_curves(drawn, roc)) if drawn else check


def auroc(places: Float[Tensor, "*places"], inside: Bool[Tensor, "*places"]) -> float:
    """Mann and Whitney's statistic over the number of pairs: ranks with ties averaged."""
    mine = inside.flatten()
    marked = int(mine.sum())
    above = float(ranks(places.flatten())[mine].sum()) - marked * (marked - 1) / 2
    return above / (marked * (len(mine) - marked))


def average_precision(places: Float[Tensor, "*places"], inside: Bool[Tensor, "*places"]) -> float:
    """The mean over marked places of the precision at their value; tied places enter together."""
    hits, shown = levels(places, inside)
    gained = torch.diff(hits, prepend=hits.new_zeros(1))
    return float((gained * hits / shown).sum() / hits[-1])


def expected_precision(inside: Bool[Tensor, "*places"]) -> float:
    """The average precision of a random order, exactly: with n places and m marked, (h + (m-1)/(n-1) (n-h)) / n.

    `h` is the n-th harmonic number: given that rank i is marked, each rank above is with probability (m-1)/(n-1).
    """
    n, marked = inside.numel(), int(inside.sum())
    harmonic = float((1 / torch.arange(1, n + 1, dtype=torch.double)).sum())
    return (harmonic + (marked - 1) / (n - 1) * (n - harmonic)) / n


def _curves(drawn: list[tuple[Tensor, Tensor]], roc: bool) -> tuple[tuple[str, tuple[float, ...]], ...]:
    at = torch.linspace(0, 1, RATES, dtype=torch.double)
    each = torch.stack([_curve(m, r, at, roc) for m, r in drawn])
    names = ("false positive rate", "true positive rate") if roc else ("recall", "precision")
    return (names[0], tuple(at.tolist())), (names[1], tuple(mean_of(column) for column in each.T.tolist()))


def _curve(places: Tensor, inside: Tensor, at: Tensor, roc: bool) -> Tensor:
    hits, shown = levels(places, inside)
    if not roc:  # the precision at the first level that reaches the recall
        return (hits / shown)[torch.searchsorted(hits / hits[-1], at - 1e-12).clamp(max=len(hits) - 1)]
    false = torch.cat([hits.new_zeros(1), shown - hits]) / (shown[-1] - hits[-1])
    true = torch.cat([hits.new_zeros(1), hits]) / hits[-1]
    beyond = torch.searchsorted(false, at, right=True)  # the first point beyond the rate
    before, after = beyond - 1, beyond.clamp(max=len(false) - 1)
    width = (false[after] - false[before]).clamp(min=1e-300)
    along = ((at - false[before]) / width).clamp(0, 1)
    return true[before] + along * (true[after] - true[before])
