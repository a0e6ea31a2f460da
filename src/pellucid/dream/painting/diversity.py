"""Several pictures of one target that are unlike each other (Olah et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pellucid.core.errors import BadOption
from pellucid.core.readings import gram_of
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import Target, Term, each
from pellucid.core.tensors import Tensors


def apart(score: Score, targets: Sequence[Target], x: Tensors, weight: float) -> Target:
    """The targets, one a picture, with a charge for being like the other pictures of the batch, as they are now.

    Likeness is the cosine of the products of channels at the targets' first site.  Each picture's charge holds the
    others still, which gives the gradient of the sum over all pairs.  Costs one more forward pass.
    """
    site = site_of(targets)
    grams = gram_of(score.values(x, site)[site])
    unlike = [
        target + weight * Target((Term(-1.0, "alike", (site, torch.cat([grams[:i], grams[i + 1 :]]))),))
        for i, target in enumerate(targets)
    ]
    return each(unlike)


def site_of(targets: Sequence[Target]) -> Site:
    """Where likeness is measured; raises `BadOption` for one picture, and for targets that read the output alone."""
    site = next(iter(targets[0].sites), None)
    if site is None or len(targets) < 2:
        raise BadOption(
            "Diversity needs two or more pictures of a target that reads an inner site.",
            "Give the same target twice, or more: [pl.channel(SITE, 3)] * 4.",
        )
    return site
