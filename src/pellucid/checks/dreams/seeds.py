"""Does another random start show the same?  If not, the picture is one of several that the target likes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pellucid.checks.dreams.measured import dream_measure, not_made, verdict
from pellucid.core.check import Check
from pellucid.core.run import current, running
from pellucid.core.site import Site
from pellucid.dream.dream import Dream
from pellucid.dream.painting.dreaming import Wish, dreamed
from pellucid.dream.painting.natural import random_phases
from pellucid.trials.fresh import NULLS
from pellucid.trials.naturals import dreamed_at, wanted
from pellucid.trials.route import network_of, route_of


@dream_measure(
    title="Agreement of two seeds",
    paper="Nguyen, Yosinski, Clune 2016, arXiv:1602.03616",
    cost="one more dream of the batch, and a pass for each picture and eight without content",
    place=6,
    again=True,
)
def seeds(dream: Dream) -> tuple[Check, ...]:
    """How alike the network finds two dreams of one target from different random starts: cosine, in -1..1.

    Compared is the value right before the target, less its mean over pictures without content.  HOLDS when the two are
    more alike than any dream of another target of the batch is to this one (than any picture without content, where
    there is none); FAILS when they are no more alike than those are on average.  Dreams the batch once more.
    """
    net, route = network_of(dream), route_of(network_of(dream), dream.canvas)
    asked = Wish(
        dream.what, net, dream.targets, dream.canvas, dream.recipe, dream.begun_at, dream.seen_with, dream.facts
    )  # fmt: skip
    with running(replace(current(), seed=dream.seed + 1)):
        again = dreamed(asked)
    sites = wanted(dream)
    nulls = dreamed_at(dream, random_phases(dream.canvas, NULLS), sites)
    pairs = [dreamed_at(dream, pictures, sites) for pictures in (dream.pictures, again.pictures)]
    ways = [route.to(target) for target in dream.targets]
    return tuple(_one(i, ways, pairs[0], pairs[1], nulls) for i in range(len(ways)))


def _one(
    i: int,
    ways: list[tuple[Site, ...]],
    first: dict[Site, Tensor],
    second: dict[Site, Tensor],
    nulls: dict[Site, Tensor],
) -> Check:
    if not ways[i]:
        return not_made("There is no site with enough channels before the target.")
    site = ways[i][-1]
    zero = nulls[site].double().mean(0)
    a, b, none = first[site].double() - zero, second[site].double() - zero, nulls[site].double() - zero
    others = [k for k, way in enumerate(ways) if k != i and way and way[-1] == site]
    strangers = b[others] if others else none
    what = "dreams of other targets" if others else "pictures without content"
    own = float(torch.cosine_similarity(a[i], b[i], dim=0))
    away = torch.cosine_similarity(a[i][None], strangers, dim=1)
    nearest, mean = float(away.max()), float(away.mean())
    found = verdict(own > nearest, own <= mean)
    if own > nearest:
        why = (
            f"From another random start the network sees much the same ({own:.2f}); {what} are less alike ({mean:.2f})."
        )
    elif own <= mean:
        why = f"From another random start it becomes something else ({own:.2f}); {what} are as much alike ({mean:.2f})."
    else:
        why = f"From another random start it becomes only somewhat the same ({own:.2f}; {what} up to {nearest:.2f})."
    references = ((what, mean), ("nearest of them", nearest))
    return Check("seeds", own, found, why, references=references, facts={"site": str(site), "other seed": "seed + 1"})
