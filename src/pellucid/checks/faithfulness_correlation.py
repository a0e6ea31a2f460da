"""Do the map's sums over random parts follow the fall of the score when those parts are removed?  The simplest form.

Bhatt et al. 2020: subsets of one fixed size, drawn at random; Pearson's correlation, over the draws, of the map's sum
over a subset and the fall of the score when it is replaced by a baseline.  The subsets are single places, strewn: on
pictures `faithfulness` asks the same question with patches and an infill that the network has a chance to know.
"""

from __future__ import annotations

from typing import Annotated

import torch

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.trials.agreement import interval, pearson, resamples
from pellucid.trials.sample import LOG_ODDS, Scale, at_least, mean_of, samples, summary
from pellucid.trials.subsets import Fill, Value, by_chance, drops, filling, fixed, sums

BOOTSTRAPS = 1000
_NOTHING = "Removing parts changed nothing, or the map is the same everywhere: there is nothing to correlate."


@measure(
    title="Faithfulness correlation",
    family="faithfulness",
    paper="Bhatt, Weller, Moura 2020, arXiv:2005.00631",
    better="higher",
    cost="`count` + 1 forward passes a sample",
)
def faithfulness_correlation(
    explanation: Explanation,
    *,
    share: Annotated[float, Range(1e-6, 0.999), "the share of the places that each subset removes"] = 0.2,
    count: Annotated[int, Range(8, 100_000), "subsets drawn"] = 100,
    fill: Fill = "constant",
    value: Value = 0.0,
    scale: Scale = LOG_ODDS,
) -> Check:
    """Pearson's r, -1..1, of the map's sum over random subsets of one size and the fall of the score without them.

    1 where the score is a sum of what the places give and the map says what each gives.  `low` and `high` are a 95 %
    bootstrap interval of the mean over the samples; "chance" is what the best twentieth of random pairings reach.
    Raises `BadInput` when the input has no places, `Missing` when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.rand(1, 9), 0)
    >>> round(faithfulness_correlation(why).value, 4)
    1.0
    """
    each, redone, chance = [], [], []
    with samples(explanation, scale) as found:
        for sample in found:
            at_least(sample.layout, 2)
            size = min(max(round(share * sample.layout.size), 1), sample.layout.size - 1)
            masks = fixed([size], count, sample, "faithfulness correlation")
            fallen = drops(sample, masks, filling(sample, fill, value))
            here = sums(sample.places, masks)
            each.append(float(pearson(here, fallen)))
            pick = resamples(BOOTSTRAPS, count, current().generator("faithfulness correlation", sample.key, "again"))
            redone.append(pearson(here[pick], fallen[pick]))
            chance.append(by_chance(here, fallen, sample))
    low, high = interval(torch.stack(redone).nanmean(0))
    best = mean_of(chance)

    def say(r: float) -> str:
        return (
            f"{count} times {share:.0%} of the places, strewn at random, were removed: the map's sum over them and the "
            f"fall of the answer agree to r = {r:.2f}. Paired at random they reach {best:.2f}."
        )

    references = (("chance", best),)
    return summary("faithfulness_correlation", each, say, _NOTHING, low=low, high=high, references=references)
