"""How steep is the map around this input?  The largest change of the map per change of the input, in the input's units.

Alvarez-Melis and Jaakkola 2018: max over near copies of ||map(x) - map(x')||_2 / ||x - x'||_2.  It has the units of
the map over those of the input, so only maps of one method on one network can be compared by it; the relative form,
in which both are shares, is given beside it.
"""

from __future__ import annotations

import torch

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.tensors import each as of_floating
from pellucid.trials.again import Copies, Radius, around, flat, gaps
from pellucid.trials.sample import mean_of, summary


@measure(
    title="Local Lipschitz estimate",
    family="stability",
    paper="Alvarez-Melis, Jaakkola 2018, arXiv:1806.08049",
    better="lower",
    cost="`copies` explanations",
)
def local_lipschitz(explanation: Explanation, *, radius: Radius = 0.02, copies: Copies = 10) -> Check:
    """The largest ||change of the map|| / ||change of the input|| over near copies, Euclidean; a lower bound.

    Reference "relative": the same with both changes as shares of what they change.  Copies are uniform in a box of
    `radius` times the sample's range.  Raises `BadInput` for words, `Missing` without the network.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(1, 1)
    >>> found = local_lipschitz(pl.methods.input_x_gradient(net, torch.tensor([[2.0]]), 0), radius=0.1)
    >>> found.verdict.name  # of a sample with one value the range is 0: no copy differs
    'UNKNOWN'
    """
    start, x = flat(explanation), explanation.x
    steep = []
    for near, there in around(explanation, radius, copies):
        gap = gaps(x, near)
        steep.append((there - start).norm(dim=1) / gap.masked_fill(gap == 0, torch.nan))
    worst = torch.stack(steep).amax(0)
    size = torch.cat([v.flatten(1).double().cpu() for v in of_floating(torch.clone, x).values()], 1).norm(dim=1)
    relative = mean_of((worst * size / start.norm(dim=1)).tolist())

    def say(v: float) -> str:
        return (
            f"Of {copies} near copies, the worst moves the map by {v:.3g} per unit that the input moves; in shares of "
            f"both, {relative:.2g} per 1. Compare maps of one method and network by it, no others."
        )

    references = (("relative", relative),)
    return summary("local_lipschitz", worst.tolist(), say, "No copy differs from the input.", references=references)
