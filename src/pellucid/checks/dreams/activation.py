"""Does the dream excite its target more than anything natural does?  If not, the search failed, whatever it shows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pellucid.checks.dreams.measured import dream_measure, not_made, verdict
from pellucid.core.check import Check
from pellucid.dream.dream import Dream
from pellucid.trials.naturals import GIVE, Natural, naturals

ORDINARY = 0.95  # a dream below this share of natural pictures is beaten by ordinary ones


@dream_measure(
    title="Activation against natural pictures",
    paper="Borowski et al. 2021, arXiv:2010.12606",
    cost="one forward pass for each natural picture, for all dreams of a batch together",
    place=1,
)
def activation(dream: Dream, *, natural: Natural | None = None) -> tuple[Check, ...]:
    """(score - mean over natural) / (max over natural - mean): 1 is the best natural picture, 0 an average one.

    The score is untransformed (`Dream.scores`), so that this says nothing of how fragile it is.  HOLDS from 1; FAILS
    when a twentieth of the natural pictures excites the target as much.  UNKNOWN without natural pictures.
    """
    if natural is None:
        return tuple(not_made(f"No natural pictures were given to compare it with. {GIVE}") for _ in dream.targets)
    known = naturals(dream, natural, features=False)
    return tuple(_one(score, known.scores[:, i]) for i, score in enumerate(dream.scores))


def _one(score: float, natural: Tensor) -> Check:
    mean, best = float(natural.mean()), float(natural.max())
    above = float((natural >= score).float().mean())
    if not math.isfinite(score) or best <= mean:
        return not_made("The target is the same for all natural pictures, so nothing can be compared.")
    value, n = (score - mean) / (best - mean), len(natural)
    # one picture alone may be the best for its own reasons: beyond it, the dream is extreme; within, it is ordinary
    typical = float(torch.quantile(natural.double(), ORDINARY))
    found = verdict(score >= best, score <= typical)
    if score >= best:
        why = f"It excites the target {value:.1f} times as far above the average as the best of {n} natural pictures."
    elif score > typical:
        why = f"It reaches {value:.2f} of what the best of {n} natural pictures does; {above:.1%} do as much."
    else:
        why = f"Ordinary pictures excite the target as much: {above:.0%} of {n} do. The search found nothing."
    references = (("natural mean", 0.0), ("best natural", 1.0))
    facts = {"score": score, "mean": mean, "best": best, "natural pictures": n, "as much": above}
    return Check("activation", value, found, why, references=references, facts=facts)
