"""A picture as a Laplacian pyramid: a sum of pictures of half the size each, enlarged (Burt, Adelson 1983).

Coarse levels move large shapes at once, so that an optimizer draws them first, as with Fourier coefficients, but in
one place at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.parametrizations.color import unbounded
from pellucid.dream.painting.parametrizations.parametrization import Parametrization, noise
from pellucid.dream.recipe import Recipe

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def laplacian(
    canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator], seed: Tensor | None = None
) -> Parametrization:
    """Levels down to two pixels, at random, or those of a picture `seed`; a level's spread falls with its frequency.

    Raises `BadOption` for inputs without spatial axes.
    """
    if not 1 <= len(canvas.size) <= 3:
        raise BadOption("This input has no space to build a pyramid over.", 'Use parametrization="pixels".')
    sizes = _sizes(canvas.size)
    gains = [2.0 ** (recipe.decay * level) / 2.0 ** (recipe.decay * (len(sizes) - 1)) for level in range(len(sizes))]
    if seed is None:
        start = [noise(canvas, (canvas.channels, *s), recipe.spread / 10, generators) for s in sizes]
    else:
        rest, start = unbounded(seed, canvas, recipe.decorrelated), []
        for size, gain in reversed(list(zip(sizes, gains, strict=True))):
            part = F.interpolate(rest, size, mode="area")
            start.insert(0, part / gain)
            rest = rest - _enlarged(part, canvas.size)

    def paint(leaves: Tensors) -> Tensor:
        parts = (_enlarged(leaves[f"level {i}"], canvas.size) * g for i, g in enumerate(gains))
        return torch.stack(list(parts)).sum(0)

    return Parametrization({f"level {i}": v for i, v in enumerate(start)}, paint)


def _sizes(size: tuple[int, ...]) -> list[tuple[int, ...]]:
    sizes = [size]
    while min(sizes[-1]) >= 4:
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    return sizes


def _enlarged(v: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(v.shape[2:]) == size:
        return v
    return F.interpolate(v, size, mode=_MODES[len(size)], align_corners=False)
