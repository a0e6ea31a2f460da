"""Looks at a dream that it was not made for: small moves that its recipe never drew, and pictures that mean nothing."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.score import Score
from pellucid.core.target import each
from pellucid.dream.dream import Dream
from pellucid.dream.painting.dreaming import resized
from pellucid.dream.painting.natural import random_phases
from pellucid.dream.painting.transforms import seen, view_of
from pellucid.dream.recipe import Recipe
from pellucid.trials.route import network_of

# Moves so small that a person hardly notices them, whatever moves the recipe trained with.
MODEST = Recipe(steps=1, jitter=0.08, shrink=0.8, zoom=1.2, rotate=12.0, noise=0.0)
NULLS = 8  # pictures without any content, each target's mean of which stands for nothing


def under_views(dream: Dream, count: int) -> Float[Tensor, "count n"]:
    """Each picture's target under `count` modest moves, drawn afresh for each of them."""
    canvas, net = dream.canvas, network_of(dream)
    keys = [f"fresh {key}" for key in dream.keys]
    shape = (canvas.channels, *canvas.native)
    views = (view_of(MODEST, keys, len(canvas.native), 0, number, shape) for number in range(count))
    looks = (canvas.fed(seen(dream.pictures, view, canvas.native, tile=dream.recipe.tile)) for view in views)
    return torch.stack([v.float().cpu() for v in Score(net, each(dream.targets)).scores(looks)])


def of_nothing(dream: Dream) -> Float[Tensor, "nulls n"]:
    """Each target for pictures of random phases with photographs' amplitudes."""
    nulls = resized(random_phases(dream.canvas, NULLS), dream.canvas.native)
    n = len(dream.targets)
    shown = [dream.canvas.fed(one.expand(n, *one.shape)) for one in nulls]
    return torch.stack([v.float().cpu() for v in Score(network_of(dream), each(dream.targets)).scores(shown)])
