"""A picture as its own values: every pixel by itself.  With penalties and smoothing steps, the way of the first papers.

Without them the optimizer finds noise that pleases the unit and shows nothing (Simonyan et al. 2013; Yosinski et al.
2015); it is here for those penalties, and for inputs without space.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.parametrizations.color import unbounded
from pellucid.dream.painting.parametrizations.parametrization import Parametrization, noise
from pellucid.dream.recipe import Recipe


def pixels(
    canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator], seed: Tensor | None = None
) -> Parametrization:
    """Unbounded values, at random with a hundredth of the spread (nearly the mean color), or those of `seed`."""
    if seed is None:
        start = noise(canvas, (canvas.channels, *canvas.size), recipe.spread / 100, generators)
    else:
        start = unbounded(seed, canvas, recipe.decorrelated)
    return Parametrization({"pixels": start}, _paint)


def _paint(leaves: Tensors) -> Tensor:
    return leaves["pixels"]
