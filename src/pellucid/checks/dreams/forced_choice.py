"""Does the dream help to tell which pictures excite the unit?  The question that a person would put to it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.checks.dreams.measured import dream_measure, not_made, verdict
from pellucid.core.check import Check
from pellucid.core.run import current
from pellucid.core.target import Target
from pellucid.dream.dream import Dream
from pellucid.trials.agreement import interval, resamples
from pellucid.trials.naturals import GIVE, Natural, dreamed_at, naturals
from pellucid.trials.route import network_of, route_of

STRONG, LEAST = 0.2, 6  # share of the pictures of one half that excite the unit most, and how many there must be
EXEMPLARS, FAIR = 5, 0.55  # natural pictures in the dream's place; where they do worse, the test is not fair
DRAWS = 500


@dream_measure(
    title="Forced choice between two pictures",
    paper="Borowski et al. 2021, arXiv:2010.12606; Zimmermann et al. 2021, arXiv:2106.12447",
    cost="one forward pass for each natural picture, for all dreams of a batch together, and one for each dream",
    place=7,
)
def forced_choice(dream: Dream, *, natural: Natural | None = None) -> tuple[Check, ...]:
    """Of two natural pictures, how often is the one that excites the unit more also the more alike to the dream?

    Each pair is one of the fifth that excites it most and one of the weaker half, all pairs of one half of the data;
    alike is the cosine of the features before the output, less their mean.  .5 is chance.  HOLDS when the 95 %
    interval (pictures redrawn) is above it, FAILS when it is below.  `references`: the mean of the same with each of
    the five best natural pictures of the other half in the dream's place; where it is not above .55, those features say
    little about the unit, and the check is not made.  For inner units; the embedding is the network's own, not a
    person's.
    """
    if natural is None:
        return tuple(not_made(f"No natural pictures were given to choose from. {GIVE}") for _ in dream.targets)
    if not any(_inner(t) for t in dream.targets):
        return tuple(not_made(_OUTPUT) for _ in dream.targets)
    known, last = naturals(dream, natural), route_of(network_of(dream), dream.canvas).last
    if last is None:
        return tuple(
            not_made("The network has no inner site with channels to compare pictures at.") for _ in dream.targets
        )
    own, zero = dreamed_at(dream, dream.pictures, (last,))[last].double(), known.at[last].double().mean(0)
    features = known.at[last].double() - zero
    return tuple(
        _one(known.scores[:, i], features, own[i] - zero) if _inner(t) else not_made(_OUTPUT)
        for i, t in enumerate(dream.targets)
    )


_OUTPUT = "This is asked of inner units; of a class, other networks are asked."


def _inner(target: Target) -> bool:
    return bool(target.sites) and not target.whole


def _one(scores: Tensor, features: Float[Tensor, "n width"], own: Float[Tensor, " width"]) -> Check:
    order = torch.randperm(len(scores), generator=current().generator("forced choice"))
    shown, asked = order[: len(order) // 2], order[len(order) // 2 :]
    ranked = asked[scores[asked].argsort(descending=True, stable=True)]
    strong, weak = ranked[: int(STRONG * len(ranked))], ranked[len(ranked) // 2 :]
    if len(strong) < LEAST or float(scores[strong].min()) <= float(scores[weak].max()):
        return not_made(f"Too few of the {len(scores)} natural pictures differ in what they do to the unit.")
    best = features[shown[scores[shown].argsort(descending=True, stable=True)[:EXEMPLARS]]]
    patch = sum(float(_wins(features, one, strong, weak).mean()) for one in best) / len(best)
    if patch <= FAIR:
        return not_made(
            f"Real pictures that excite the unit are not told by likeness to each other either ({patch:.0%}, chance "
            "50 %): the features before the output say little about this unit."
        )
    pairs = _wins(features, own, strong, weak)
    value = float(pairs.mean())
    generator = current().generator("forced choice", "interval")
    rows, columns = (resamples(DRAWS, n, generator) for n in pairs.shape)
    draws = torch.stack([pairs[r][:, c].mean() for r, c in zip(rows, columns, strict=True)])
    low, high = interval(draws)
    found = verdict(low > 0.5, high < 0.5)
    pair = f"In {value:.0%} of {pairs.numel()} pairs of natural pictures, the more alike one excites the unit more"
    beside = f"; the best natural pictures get {patch:.0%}, chance 50 %."
    said = " It tells what the unit likes." if low > 0.5 else " It misleads about natural pictures."
    said = said if low > 0.5 or high < 0.5 else " That may be chance: look at real patches."
    references = (("chance", 0.5), ("best natural pictures", patch))
    facts = {"strong": len(strong), "weak": len(weak)}
    return Check("forced_choice", value, found, pair + beside + said, low, high, references, facts=facts)


def _wins(features: Tensor, exemplar: Tensor, strong: Tensor, weak: Tensor) -> Float[Tensor, "strong weak"]:
    """1 for each pair whose stronger picture is the more alike, half for ties."""
    alike = torch.cosine_similarity(features, exemplar[None], dim=1)
    more = alike[strong][:, None] - alike[weak][None]
    return 0.5 * (1 + more.sign())
