"""A picture as a small network from positions to colors (compositional pattern producing network; Stanley 2007).

It draws smooth shapes and no noise at all, at any size (Mordvintsev et al. 2018).  Few of them look like photographs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.parametrizations.parametrization import Parametrization, noise
from pellucid.dream.recipe import Recipe

WIDTH, DEPTH = 24, 8


def cppn(
    canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator], seed: Tensor | None = None
) -> Parametrization:
    """A network for each picture: eight layers of 24 units, which see positions and the distance to the center.

    Units put out `atan(x)` and its square, scaled to unit variance, as in the published form.  Raises `BadOption` for a
    picture to start from, which such a network cannot be made of, and for inputs without spatial axes.
    """
    if seed is not None:
        raise BadOption("A pattern producing network cannot begin at a picture.", 'Use parametrization="fourier".')
    if not canvas.size:
        raise BadOption("This input has no space, so it has no positions.", 'Use parametrization="pixels".')
    axes = [torch.linspace(-1, 1, n) * math.sqrt(3) for n in canvas.size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    seen = torch.cat([grid, grid.square().sum(0, keepdim=True).sqrt()])
    seen = seen.to(dtype=canvas.dtype, device=canvas.device)
    widths = [len(seen), *[2 * WIDTH] * (DEPTH - 1)]
    start = {
        f"weights {i}": noise(canvas, (WIDTH, n), recipe.spread / math.sqrt(n), generators)
        for i, n in enumerate(widths)
    }
    count = len(generators)
    start["colors"] = torch.zeros(count, canvas.channels, 2 * WIDTH, dtype=canvas.dtype, device=canvas.device)

    def paint(leaves: Tensors) -> Tensor:
        v = seen.expand(count, *seen.shape)
        for i in range(DEPTH):
            v = (leaves[f"weights {i}"] @ v).atan()
            v = torch.cat([v / 0.67, v.square() / 0.6], 1)
        colors = leaves["colors"] @ v * recipe.contrast
        return colors.view(count, canvas.channels, *canvas.size)

    return Parametrization(start, paint)
