"""A picture with an opacity: what a unit does not need may be left see-through (Mordvintsev et al. 2018).

The network is shown the picture over a new random background at every step, and opacity has a price, so that what
stays opaque is what the target asks for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.parametrizations.parametrization import Parametrization, noise
from pellucid.dream.recipe import Recipe

COARSE = 4  # Opacity is this many times coarser than the picture, so that its edges are soft.
PRICE = 0.5  # share of the score that a wholly opaque picture gives up


def with_opacity(
    own: Parametrization, canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator]
) -> Parametrization:
    """The parametrization with one more channel, the last, that holds opacity in 0..1, half at the start."""
    coarse = tuple(max(2, n // COARSE) for n in canvas.size)
    start = noise(canvas, (1, *coarse), 0.01 * recipe.spread, generators)

    def paint(leaves: Tensors) -> Tensor:
        picture = own.paint({k: v for k, v in leaves.items() if k != "opacity"})
        alpha = F.interpolate(leaves["opacity"], canvas.size, mode="bilinear", align_corners=False).sigmoid()
        return torch.cat([picture, alpha], 1)

    return Parametrization({**own.start, "opacity": start}, paint)


def over(
    painted: Float[Tensor, "n more height width"], background: Float[Tensor, "n channels height width"]
) -> Float[Tensor, "n channels height width"]:
    """The picture laid over a background."""
    alpha = painted[:, -1:]
    return painted[:, :-1] * alpha + background * (1 - alpha)
