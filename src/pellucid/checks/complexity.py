"""Over how many places does the map spread its evidence?  The entropy of the shares that the places have of it.

Bhatt et al. 2020: H = -sum p log p, p = |value| / sum of |values|.  exp(H) is the number of equally strong places that
would have the same entropy; over all places, the effective share.  It describes; it does not judge.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.sample import mapped, mean_of, summary


@measure(
    title="Complexity (entropy)",
    family="complexity",
    paper="Bhatt, Weller, Moura 2020, arXiv:2005.00631",
    better="neither",
)
def complexity(explanation: Explanation) -> Check:
    """The entropy, in nats, 0..log n, of the share of each place in the map's absolute values (channels summed first).

    Reference "effective share": exp(H) / n, the share of places that the map is really about, 1/n..1.  Costs no pass,
    and works on explanations from a file.  Raises `BadInput` when the input has no places.

    >>> import torch, pellucid as pl
    >>> found = complexity(pl.methods.saliency(torch.nn.Linear(1, 1), torch.ones(1, 1), 0))
    >>> abs(found.value), dict(found.references)["effective share"]
    (0.0, 1.0)
    """
    layout, places = mapped(explanation)
    each = [spread(m) for m in places]
    share = mean_of([math.exp(h) / layout.size for h in each])

    def say(v: float) -> str:
        return (
            f"Entropy {v:.2f} of at most {math.log(layout.size):.2f}: the map is as spread as one that is about "
            f"{share:.0%} of the {layout.size} places equally, and about no other."
        )

    references = (("effective share", share),)
    return summary("complexity", each, say, "The map is zero everywhere.", references=references)


def spread(values: Float[Tensor, "*places"]) -> float:
    """The entropy of the shares, in nats; NaN when all values are zero.

    >>> round(spread(torch.tensor([1.0, -1.0, 0.0, 2.0])), 4)  # shares 1/4, 1/4, 1/2: 1.5 bits
    1.0397
    """
    sizes = values.double().abs().flatten()
    total = sizes.sum()
    if not total > 0:
        return math.nan
    shares = sizes / total
    return float(-torch.special.xlogy(shares, shares).sum())
