"""Is the map of a sum of targets the sum of their maps?  Run again, with target algebra, on this network.

explain(a * t + b * u) = a * explain(t) + b * explain(u) (Sundararajan et al. 2017; one of Shapley's axioms).  Where it
holds, maps of "cat rather than dog" may be put together from the two; where it does not, they must be asked for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

import torch

from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.method import Promise
from pellucid.core.option import Range
from pellucid.core.target import Target
from pellucid.trials.again import classes_of, flat, of_target
from pellucid.trials.layout import score_of
from pellucid.trials.sample import summary

ALLOWED = 0.01  # of the maps' length: rounding, and what is drawn

Weight = Annotated[float, Range(-1e3, 1e3), "the weight of one of the two targets in their sum"]


@measure(
    title="Linearity",
    family="axiom",
    paper="Sundararajan, Taly, Yan 2017, arXiv:1703.01365",
    better="lower",
    cost="two explanations and a pass",
)
def linearity(explanation: Explanation, *, a: Weight = 1.0, b: Weight = -0.5, other: Target | None = None) -> Check:
    """||explain(a t + b u) - a explain(t) - b explain(u)|| over ||a explain(t)|| + ||b explain(u)||, 0..2.

    t is what was explained, u another class in the same form (the next one), or the target `other`.  HOLDS up to 1 %;
    above, FAILS for a method that promises it, MEASURED for others.  Raises `BadInput` when no class was explained and
    no target is given, `Missing` when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(9, 3)
    >>> linearity(pl.methods.input_x_gradient(net, torch.rand(1, 9), 0)).verdict.name
    'HOLDS'
    """
    score_of(explanation)
    second = _next_class(explanation) if other is None else other.named(score_of(explanation).net)
    one, two = flat(explanation), flat(of_target(explanation, second))
    both = flat(of_target(explanation, a * explanation.of + b * second))
    size = abs(a) * one.norm(dim=1) + abs(b) * two.norm(dim=1)
    away = (both - a * one - b * two).norm(dim=1) / size.masked_fill(size == 0, torch.nan)
    promised = Promise.LINEAR in getattr(explanation.again, "promises", Promise.NONE)

    def say(v: float) -> str:
        sums = f"The map of {a:g} times {explanation.target} and {b:g} times {second} misses the sum of the two maps"
        if v <= ALLOWED:
            return f"{sums} by {v:.1%}: maps of this method may be added."
        broken = ", though the method promises that it does not" if promised else ""
        return f"{sums} by {v:.0%}{broken}: ask for the contrast itself instead of subtracting maps."

    found = summary("linearity", away.tolist(), say, "All three maps are zero everywhere.")
    if math.isnan(found.value):
        return found
    verdict = Verdict.HOLDS if found.value <= ALLOWED else Verdict.FAILS if promised else Verdict.MEASURED
    return replace(found, verdict=verdict)


def _next_class(explanation: Explanation) -> Target:
    """The class after the one explained, for each sample its own, in the same form."""
    terms = explanation.of.terms
    if len(terms) != 1 or not explanation.of.classes:
        raise BadInput(
            f"{explanation.target} is not a single class, so there is no other target.", "Give one: other=pl.logit(3)."
        )
    which, count = terms[0].args[0], classes_of(score_of(explanation).net, explanation.x)
    if count < 2:
        raise BadInput(f"{explanation.network} has one class: there is no other one.", "Give a target: other=...")
    after = (which + 1) % count if isinstance(which, int) else tuple((k + 1) % count for k in which)
    return Target((replace(terms[0], args=(after,)),))
