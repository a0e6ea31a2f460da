"""How many of the map's strongest places does the network need to say what it says?  All others become random.

Nguyen and Martinez 2020: the least k such that, with the k strongest places as they are and the others drawn at random,
the score changes by no more than is allowed.  Few needed: the map is short and the network agrees that it is enough.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.trials.sample import LOG_ODDS, Sample, Scale, at_least, mean_of, samples, summary
from pellucid.trials.subsets import sizes_of
from pellucid.trials.touched import Draws, replaced


@measure(
    title="Effective complexity",
    family="complexity",
    paper="Nguyen, Martinez 2020, arXiv:2007.07584",
    better="lower",
    cost="2 x (`steps` + 1) x `draws` + 2 forward passes a sample",
)
def effective_complexity(
    explanation: Explanation,
    *,
    allowed: Annotated[float, Range(0.0, 1.0), "how much may be left of the mean square change"] = 0.1,
    steps: Annotated[int, Range(1, 1024), "numbers of places tried, spaced evenly in their logarithm"] = 12,
    draws: Draws = 8,
    scale: Scale = LOG_ODDS,
) -> Check:
    """The least share of the places, the map's strongest first, whose keeping leaves the score nearly as it was.

    Nearly: the mean square change of the score, the other places random, is at most `allowed` of what it is with all
    random.  Curves: "kept" (places), "change left" (as such a share, averaged over the samples).  Reference "random
    order": what strewn places need.  Raises `BadInput` when the input has no places, `Missing` without the network.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(10, 1)
    >>> net.weight.data = torch.tensor([[0.0, 0, 0, 5, 0, 0, 0, 0, 0, 0]])
    >>> effective_complexity(pl.methods.input_x_gradient(net, torch.rand(1, 10), 0)).value  # one place of ten
    0.1
    """
    each, strewn, curves = [], [], []
    with samples(explanation, scale) as found:
        at_least(found[0].layout, 2)
        n = found[0].layout.size
        kept = (0, *sizes_of(found[0].layout, steps, 1.0))
        for sample in found:
            generator = current().generator("effective complexity", sample.key)
            curve = _left(sample, sample.places.abs(), kept, draws)
            other = _left(sample, torch.rand(sample.layout.shape, generator=generator), kept, draws)
            each.append(_needed(curve, kept, allowed, n))
            strewn.append(_needed(other, kept, allowed, n))
            curves.append(curve)
    by_chance = mean_of(strewn)

    def say(v: float) -> str:
        return (
            f"With the map's strongest {v:.1%} of the places kept and all others random, at most {allowed:.0%} of the "
            f"change of the answer is left. Places in random order: {by_chance:.1%}."
        )

    nothing = "Making all places random does not change the answer, so none is needed."
    lists = (("kept", tuple(map(float, kept))), ("change left", tuple(torch.stack(curves).nanmean(0).tolist())))
    return summary(
        "effective_complexity", each, say, nothing, references=(("random order", by_chance),), curves=lists
    )  # fmt: skip


def _left(
    sample: Sample, heights: Float[Tensor, "*shape"], kept: tuple[int, ...], draws: int
) -> Float[Tensor, " steps"]:
    """The mean square change with so many of the highest places kept, as a share of that with none; NaN without any."""
    order = heights.flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order))).view(heights.shape)
    squares = replaced(sample, lambda i: rank >= kept[i], len(kept), draws).square().mean(0)
    return squares / squares[0].masked_fill(squares[0] == 0, torch.nan)


def _needed(curve: Float[Tensor, " steps"], kept: tuple[int, ...], allowed: float, n: int) -> float:
    if bool(curve.isnan().any()):
        return torch.nan
    enough = [k for k, left in zip(kept, curve.tolist(), strict=True) if left <= allowed]
    return min(enough, default=n) / n
