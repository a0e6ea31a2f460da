"""Do the map's values add up to what they claim to share out?  Free: the method measured the gap when it ran."""

from __future__ import annotations

import math

from pellucid.core.check import Check, Verdict
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure

ALLOWED = 0.05


@measure(
    title="Completeness",
    family="axiom",
    paper="Sundararajan, Taly, Yan 2017, arXiv:1703.01365",
    better="lower",
    cost="no pass",
    place=6,
)
def completeness(explanation: Explanation) -> Check:
    """The largest relative gap, |sum of the map - change of the score| / |change of the score|, over the samples.

    HOLDS up to 5 %.  UNKNOWN for methods that do not promise that their values add up: then the size of a value
    has no meaning, only its rank.

    >>> import torch, pellucid as pl
    >>> completeness(pl.methods.integrated_gradients(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)).verdict.name
    'HOLDS'
    """
    gaps = explanation.gap
    if gaps is None:
        why = f"{explanation.method} does not promise that its values add up: compare places within this map only."
        return Check("completeness", math.nan, Verdict.UNKNOWN, why)
    worst = max(gaps, key=lambda gap: math.inf if math.isnan(gap) else gap)
    which = f" in the worst of {len(gaps)} samples" if len(gaps) > 1 else ""
    if not math.isfinite(worst):
        return Check("completeness", worst, Verdict.UNKNOWN, f"The sum of the values is not a number{which}.")
    if worst <= ALLOWED:
        why = f"The values add up to the change of the answer, but for {worst:.1%}{which}: each value is its share."
        return Check("completeness", worst, Verdict.HOLDS, why)
    why = f"The values miss the change of the answer by {worst:.0%}{which}: read them as a ranking, or use more steps."
    return Check("completeness", worst, Verdict.FAILS, why)
