"""Does the picture depend on what the network learned?  A red flag when it does not, and no praise when it does.

The method explains a copy of the network whose weights are drawn anew.  An edge detector gives the same picture as
before; so does a method that only shows the input.  That a picture changes proves nothing: good methods keep part
of it (measured: integrated gradients .54, occlusion .45, deconvolution .13, and deconvolution is the worst of them).
After Adebayo et al. 2018, with the critique of Binder et al. 2023; the entropy form after Hedstroem et al. 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from pellucid.core.check import Check, Verdict
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.again import flat, on_random_weights
from pellucid.trials.agreement import entropy, spearman

SAME = 0.95


@measure(
    title="Weights drawn anew",
    family="sanity",
    paper="Adebayo et al. 2018, arXiv:1810.03292",
    better="neither",
    cost="one explanation",
    place=4,
    again=True,
)
def randomization(explanation: Explanation, *, again: Callable[[], Explanation] | None = None) -> Check:
    """Rank correlation, in -1..1, of the map's absolute values with those from a network that never learned.

    FAILS (the red flag) from .95, or when the histogram's entropy stays exactly the same; HOLDS otherwise, which
    only says that the map depends on the weights.  Costs one more explanation, unless `again` gives it: what the same
    method shows on random weights.  Raises `BadModel` when the network has no weights, `Missing` when the explanation
    came without it.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(99, 1)
    >>> randomization(pl.methods.saliency(net, torch.ones(1, 99), 0)).value < 0.95
    True
    """
    other = again() if again is not None else on_random_weights(explanation)
    found = [_same(a, b) for a, b in zip(flat(explanation).abs(), flat(other).abs(), strict=True)]
    alike, calmer = max(found, key=lambda f: -2.0 if math.isnan(f[0]) else f[0])
    changes = (("change of entropy", calmer),) if math.isfinite(calmer) else ()
    if math.isnan(alike):
        why = "One of the two maps is the same everywhere, so there is nothing to compare."
        return Check("randomization", alike, Verdict.UNKNOWN, why)
    if alike >= SAME or calmer == 0:
        why = (
            f"Red flag: a network with random weights gives nearly the same map (rank correlation {alike:.2f}). "
            "This picture shows the input, not what the network learned."
        )
        return Check("randomization", alike, Verdict.FAILS, why, references=changes)
    why = (
        f"With random weights the map is another one (rank correlation {alike:.2f}; the alarm is at {SAME}): it "
        "depends on what the network learned. That alone does not make it right."
    )
    return Check("randomization", alike, Verdict.HOLDS, why, references=changes)


def _same(learned: Tensor, random: Tensor) -> tuple[float, float]:
    """Rank correlation, and the relative change of the histogram's entropy."""
    before = entropy(learned)
    return spearman(learned, random), (entropy(random) - before) / before if before > 0 else math.nan
