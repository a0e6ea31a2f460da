"""How far can a small change of the input move the map?  The worst of several near copies.

Yeh et al. 2019: max over ||d||_inf <= radius of ||map(x + d) - map(x)|| / ||map(x)||.  It compares values, where
`stability` compares rankings.  Zero for a map that never changes, such as a picture of edges would nearly be: small is
no mark of quality.
"""

from __future__ import annotations

import torch

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.again import Copies, Radius, around, distances, flat
from pellucid.trials.sample import mean_of, summary


@measure(
    title="Max-sensitivity",
    family="stability",
    paper="Yeh et al. 2019, arXiv:1901.09392",
    better="lower",
    cost="`copies` explanations",
)
def max_sensitivity(explanation: Explanation, *, radius: Radius = 0.02, copies: Copies = 10) -> Check:
    """The farthest that the map moves, in shares of its own length, when every value of the input moves a little.

    The moves are uniform in a box of `radius` times the sample's range.  The maximum of draws is below the true one,
    and grows with `copies`.  Reference "average" is the mean over the draws.  Raises `BadInput` for words, `Missing`
    when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> max_sensitivity(pl.methods.saliency(torch.nn.Linear(9, 1), torch.rand(1, 9), 0)).value  # the same everywhere
    0.0
    """
    start = flat(explanation)
    moved = torch.tensor([distances(start, there) for _, there in around(explanation, radius, copies)])
    average = mean_of(moved.mean(0).tolist())

    def say(v: float) -> str:
        return (
            f"Of {copies} copies with every value moved by up to {radius:.0%} of the range, the worst moves the map by "
            f"{v:.0%} of its length; on average it is {average:.0%}. A map that never moves need not be right."
        )

    each = moved.amax(0).tolist()
    nothing = "The map is zero everywhere, so how far it moves has no measure."
    return summary("max_sensitivity", each, say, nothing, references=(("average", average),))
