"""Do the dream and what naturally excites the target take the same way through the network?

A network can be built that shows any picture for a unit, without changing what it does with photographs: its dreams
are led along a way of their own (Geirhos et al. 2023).  So the units along the way are compared.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.checks.dreams.measured import dream_measure, not_made, verdict
from pellucid.core.check import Check
from pellucid.core.site import Site
from pellucid.dream.dream import Dream
from pellucid.trials.agreement import pearson, ranks
from pellucid.trials.naturals import GIVE, Natural, Naturals, dreamed_at, naturals, wanted
from pellucid.trials.route import network_of, route_of

TOPS = 8  # natural pictures that excite the target the most
SURE, AWAY = 0.9, 0.25  # of 17 honest dreams of EfficientNet-Lite0 the lowest had .38
ORDINARY = 0.5


@dream_measure(
    title="Same way as natural pictures",
    paper="Geirhos et al. 2023, arXiv:2306.04719",
    cost="one forward pass for each natural picture, for all dreams of a batch together, and one for each dream",
    place=4,
)
def path_agreement(dream: Dream, *, natural: Natural | None = None) -> tuple[Check, ...]:
    """The share of other natural pictures that use the units on the way less as the target's best ones do.

    At up to six sites between input and target, every channel is standardized over the natural pictures; the mean of
    the eight that excite the target most is the profile, and a picture's agreement is its rank correlation with it,
    averaged over the deeper half of the sites.  Where the share at the last site alone is up to .25, that is the
    value: a way that parts right before the target is another way.  .5 is what an ordinary picture has.  HOLDS from
    .9, FAILS up to .25.  `references`: the best natural pictures themselves, each against the profile of the others.
    `curves` hold the correlations site by site.  UNKNOWN without natural pictures.
    """
    if natural is None:
        return tuple(not_made(f"No natural pictures were given to compare it with. {GIVE}") for _ in dream.targets)
    known, route = naturals(dream, natural), route_of(network_of(dream), dream.canvas)
    own = dreamed_at(dream, dream.pictures, wanted(dream))
    return tuple(_one(i, route.to(target), known, own) for i, target in enumerate(dream.targets))


def _one(i: int, sites: tuple[Site, ...], known: Naturals, own: dict[Site, Tensor]) -> Check:
    order = known.scores[:, i].argsort(descending=True, stable=True)
    top, rest = order[:TOPS], order[TOPS:]
    found = [_agreements(known.at[s].double(), own[s][i].double(), top, rest) for s in sites]
    kept = [(s, f) for s, f in zip(sites, found, strict=True) if bool(torch.isfinite(torch.cat(f)).all())]
    if not kept:
        return not_made("There is no site with enough channels between the input and the target.")
    deep = kept[len(kept) // 2 :]
    (value, ceiling), last = _shares([f for _, f in deep]), _shares([kept[-1][1]])
    if last[0] <= AWAY:
        value, ceiling = min((value, ceiling), last)
    judged = verdict(value >= SURE, value <= AWAY)
    n = len(rest)
    if value >= SURE:
        why = (
            f"It uses the same units as the pictures that excite the target most, more than {value:.0%} of {n} others."
        )
    elif value <= AWAY:
        why = (
            f"It excites the target by other units than natural pictures do: {1 - value:.0%} of {n} ordinary pictures "
            "are nearer. The dream does not show what the target does with real pictures."
        )
    else:
        why = (
            "It uses the units of the pictures that excite the target most, but not clearly more than others do: "
            f"more than {value:.0%} of {n}."
        )
    at, means = tuple(float(j) for j in range(len(kept))), [[float(v.mean()) for v in f] for _, f in kept]
    names = ("dream", "best natural pictures", "other natural pictures")
    curves = (("site", at), *((name, tuple(m[k] for m in means)) for k, name in enumerate(names)))
    references = (("ordinary pictures", ORDINARY), ("best natural pictures", ceiling))
    facts = {"sites": [str(s) for s, _ in kept], "judged at": [str(s) for s, _ in deep],
             "best natural pictures": [known.names[int(k)] for k in top]}  # fmt: skip
    return Check("path_agreement", value, judged, why, references=references, curves=curves, facts=facts)


def _agreements(
    natural: Float[Tensor, "n channels"], own: Float[Tensor, " channels"], top: Tensor, rest: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Rank correlation with the best pictures' profile: of the dream, of each of them (without itself), of the rest."""
    spread = natural.std(0)
    least = 1e-3 * float(spread.max())  # a unit that no natural picture moves is far from zero when the dream moves it
    z = (natural - natural.mean(0)) / spread.clamp_min(max(least, 1e-12))
    mine = (own - natural.mean(0)) / spread.clamp_min(max(least, 1e-12))
    best = z[top]
    profile = ranks(best.sum(0))
    each = torch.stack([pearson(ranks(b), ranks(best.sum(0) - b)) for b in best])
    return pearson(ranks(mine), profile)[None], each, pearson(torch.stack([ranks(v) for v in z[rest]]), profile)


def _shares(found: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[float, float]:
    """The share of other pictures that agree less, averaged over sites: than the dream, than the best pictures do."""
    mine, tops, others = (torch.stack([f[k] for f in found]).mean(0) for k in range(3))
    return float((others < mine).double().mean()), float((others < tops[:, None]).double().mean())
