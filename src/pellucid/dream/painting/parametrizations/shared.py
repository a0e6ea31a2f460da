"""Pictures that have a part in common: what differs between them is then what their targets ask for.

Used for interpolations between two units, whose pictures else begin, and end, anywhere (Olah et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.parametrizations.parametrization import Parametrization, noise
from pellucid.dream.recipe import Recipe

COARSE = 8  # The common part is this many times smaller than the picture.
_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def shared(
    own: Parametrization, canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator], *, flat: bool = False
) -> Parametrization:
    """Each picture as its own part and a coarse one that all share, weighed by `recipe.shared`.

    The common part is at random, or `flat` where pictures begin at given ones.
    """
    coarse = tuple(max(2, n // COARSE) for n in canvas.size)
    start = noise(canvas, (canvas.channels, *coarse), 0.0 if flat else recipe.spread, generators[:1])

    def paint(leaves: Tensors) -> torch.Tensor:
        mine = own.paint({k: v for k, v in leaves.items() if k != "common"})
        common = F.interpolate(leaves["common"], canvas.size, mode=_MODES[len(canvas.size)], align_corners=False)
        return mine + recipe.shared * common

    return Parametrization({**own.start, "common": start}, paint)
