"""Is the map about few places or about many?  The Gini index of its absolute values.

Hurley and Rickard 2009 (the index), Chalasani et al. 2020 (of explanations).  0: all places alike; near 1: one place
has it all.  It describes; a sparse map is easier to read and no truer.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.sample import mapped, summary


@measure(
    title="Sparseness (Gini index)",
    family="complexity",
    paper="Hurley, Rickard 2009, arXiv:0811.4706; Chalasani et al. 2020, arXiv:1810.06583",
    better="neither",
)
def sparseness(explanation: Explanation) -> Check:
    """The Gini index, 0..1 - 1/n, of the places' absolute values (channels summed first).

    Costs no pass, and works on explanations from a file.  Raises `BadInput` when the input has no places.

    >>> import torch, pellucid as pl
    >>> round(sparseness(pl.methods.saliency(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)).value, 3) < 1
    True
    """
    _, places = mapped(explanation)
    each = [gini(m) for m in places]

    def say(v: float) -> str:
        return f"Gini index {v:.2f}: 0 is a map that is the same everywhere, 1 one that is about a single place."

    return summary("sparseness", each, say, "The map is zero everywhere.")


def gini(values: Float[Tensor, "*places"]) -> float:
    """Twice the area between equality and the curve of how much the weakest k places hold; NaN when all are zero.

    >>> import torch
    >>> gini(torch.tensor([0.0, 0.0, 0.0, 1.0])), gini(torch.ones(5))
    (0.75, 0.0)
    """
    ascending = values.double().abs().flatten().sort().values
    total, n = float(ascending.sum()), len(ascending)
    if total == 0:
        return math.nan
    weight = 2 * _counted(ascending) - n - 1
    return float((weight * ascending).sum() / (n * total))


def _counted(v: Tensor) -> Tensor:
    """1, 2, 3, ... as long as `v`."""
    return v.new_ones(len(v)).cumsum(0)
