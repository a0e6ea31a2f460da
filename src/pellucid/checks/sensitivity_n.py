"""Does the map predict the fall of the score for every number of parts removed?  From one place to most of them.

Ancona et al. 2018: for each of several sizes n, many random subsets of n places; Pearson's correlation, over them, of
the map's sum and the fall of the score.  Each subset is removed from the whole input, never from what an earlier one
left.  An exact map of a network that adds up has 1 at every size.  Local maps do well at small n and fall; maps of
whole objects rise: the curve says more than its mean.
"""

from __future__ import annotations

from typing import Annotated

import torch

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.trials.agreement import pearson
from pellucid.trials.sample import LOG_ODDS, Scale, at_least, mean_of, samples, summary
from pellucid.trials.subsets import Fill, Value, by_chance, drops, filling, fixed, sizes_of, sums

_NOTHING = "Removing parts changed nothing, or the map is the same everywhere: there is nothing to correlate."


@measure(
    title="Sensitivity-n",
    family="faithfulness",
    paper="Ancona, Ceolini, Oeztireli, Gross 2018, arXiv:1711.06104",
    better="higher",
    cost="`steps` x `count` + 1 forward passes a sample",
)
def sensitivity_n(
    explanation: Explanation,
    *,
    steps: Annotated[int, Range(1, 64), "sizes of subsets, spaced evenly in their logarithm"] = 8,
    count: Annotated[int, Range(8, 10_000), "subsets of each size"] = 50,
    largest: Annotated[float, Range(1e-6, 0.999), "the largest size, as a share of all places"] = 0.8,
    fill: Fill = "constant",
    value: Value = 0.0,
    scale: Scale = LOG_ODDS,
) -> Check:
    """Pearson's r, -1..1, of the map's sum over n random places and the fall of the score, averaged over sizes n.

    The curves are "size" (in places) and "r", averaged over the samples.  "chance" is what the best twentieth of random
    pairings reach at one size.  Raises `BadInput` when the input has no places, `Missing` when the explanation came
    without its network.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.rand(1, 9), 0)
    >>> round(sensitivity_n(why).value, 4)
    1.0
    """
    curves, chance = [], []
    with samples(explanation, scale) as found:
        at_least(found[0].layout, 2)
        sizes = sizes_of(found[0].layout, steps, largest)
        for sample in found:
            masks = fixed(sizes, count, sample, "sensitivity-n")
            fallen = drops(sample, masks, filling(sample, fill, value)).view(-1, count)
            here = sums(sample.places, masks).view(-1, count)
            curves.append(pearson(here, fallen))
            chance.append(by_chance(here[-1], fallen[-1], sample))
    best = mean_of(chance)
    curve = torch.stack(curves)
    means = curve.nanmean(0).tolist()

    def say(r: float) -> str:
        return (
            f"{count} random subsets of each of {len(sizes)} sizes, from {sizes[0]} to {sizes[-1]} places, were "
            f"removed: the map's sum and the fall of the answer agree to r = {r:.2f} on average, {means[0]:.2f} at the "
            f"smallest and {means[-1]:.2f} at the largest. Paired at random they reach {best:.2f}."
        )

    lists = (("size", tuple(map(float, sizes))), ("r", tuple(means)))
    each = curve.nanmean(1).tolist()
    return summary("sensitivity_n", each, say, _NOTHING, references=(("chance", best),), curves=lists)
