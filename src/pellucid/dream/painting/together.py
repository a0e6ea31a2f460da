"""What pictures of a batch owe each other: to be unlike, or to change smoothly from one to the next (Olah et al. 2017).

Each picture's charge holds the others still, as they are now, which gives the gradient of the sum over all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.readings import gram_of
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import Target, Term, each
from pellucid.core.tensors import Tensors
from pellucid.dream.recipe import Recipe

REACH = 4  # pictures to either side that one is aligned with, each half as much as the one before


def charged_together(score: Score, targets: Sequence[Target], x: Tensors, recipe: Recipe) -> Target:
    """The targets, one a picture, with the recipe's charges for likeness and for leaps at the targets' first site.

    `diversity`: the cosine of the products of channels, averaged over the other pictures.  `alignment`: the mean
    squared difference to the pictures before and behind, `1 / 2**distance` as much.  Costs one more forward pass.
    """
    site = site_of(targets)
    values = score.values(x, site)[site]
    kinds = [(weight, charge) for weight, charge in ((recipe.diversity, _alike), (recipe.alignment, _away)) if weight]
    charged = list(targets)
    for weight, charge in kinds:
        charged = [target + weight * charge(site, values, i) for i, target in enumerate(charged)]
    return each(charged)


def _alike(site: Site, values: Tensor, i: int) -> Target:
    grams = gram_of(values)
    return Target((Term(-1.0, "alike", (site, torch.cat([grams[:i], grams[i + 1 :]]))),))


def _away(site: Site, values: Tensor, i: int) -> Target:
    near = [j for j in range(max(0, i - REACH), min(len(values), i + REACH + 1)) if j != i]
    weights = torch.tensor([0.5 ** abs(i - j) for j in near], dtype=values.dtype, device=values.device)
    return Target((Term(-1.0, "away", (site, values[near], weights)),))


def site_of(targets: Sequence[Target]) -> Site:
    """Where pictures are compared; raises `BadOption` for one picture, and for targets that read the output alone."""
    site = next(iter(targets[0].sites), None)
    if site is None or len(targets) < 2:
        raise BadOption(
            "Diversity and alignment need two or more pictures of a target that reads an inner site.",
            "Give the same target twice, or more: [pl.channel(SITE, 3)] * 4.",
        )
    return site
