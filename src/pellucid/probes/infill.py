"""What to put where something was removed.  Kept values stay exactly as they were; masks are True where removed.

An infill should leave a picture that the network could have met.  Measured on planted truth, smooth infills made
from the surroundings (pull-push, blur) rank heat maps better than the mean, and the mean better than a constant.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from pellucid.core.errors import BadInput
from pellucid.probes.blur import blurred, mean_side

BLUR = 1 / 16  # Standard deviation of the blur, as a share of the mean side.


def pull_push(
    x: Float[Tensor, "batch channels height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch channels height width"]:
    """Removed parts painted with the colors around them, smoothly (normalized convolution on a pyramid).

    Pull: values and their weights (1 = kept) are averaged together in 2 x 2 blocks until one value is left.
    Push: back from the coarsest level, each place takes its own average as far as its weight goes, and the
    enlarged coarser level for the rest.  Cost: a few passes over the picture; no equations to solve.

    Raises `BadInput` when a mask leaves nothing.  After Gortler et al. 1996 ("The Lumigraph", pull-push) and
    Knutsson and Westin 1993 (normalized convolution).

    >>> x = torch.full((1, 3, 9, 7), 0.5)
    >>> hole = torch.zeros(1, 9, 7, dtype=torch.bool); hole[:, 2:6, 2:6] = True
    >>> torch.allclose(pull_push(x, hole), x)
    True
    """
    _some_left(mask)
    weight = (~mask).to(x.dtype).unsqueeze(1)
    value, levels = x * weight, []
    while max(weight.shape[-2:]) > 1:
        levels.append((value, weight))
        value, weight = (functional.avg_pool2d(v, 2, ceil_mode=True) for v in (value, weight))
    filled = value / weight
    for value, weight in reversed(levels):
        filled = value + (1 - weight) * _enlarged(filled, *weight.shape[-2:])
    return torch.where(mask.unsqueeze(1), filled, x)


def _enlarged(
    coarse: Float[Tensor, "batch channels rows columns"], height: int, width: int
) -> Float[Tensor, "batch channels height width"]:
    """Twice the size, then cut: with odd sides, resizing to the size itself would shift every block a little."""
    scale = (2 if height > 1 else 1, 2 if width > 1 else 1)
    size = [side * times for side, times in zip(coarse.shape[-2:], scale, strict=True)]
    return functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)[..., :height, :width]


def blur(
    x: Float[Tensor, "batch channels height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch channels height width"]:
    """Removed parts replaced by the picture out of focus: a Gaussian blur, one sixteenth of the side wide.

    >>> x = torch.full((1, 3, 16, 16), 0.5)
    >>> torch.allclose(blur(x, torch.ones(1, 16, 16, dtype=torch.bool)), x)
    True
    """
    blurry = blurred(x, (-2, -1), BLUR * mean_side(x, (-2, -1)))
    return torch.where(mask.unsqueeze(1), blurry, x)


def mean(x: Float[Tensor, "batch *axes"], mask: Bool[Tensor, "batch *spread"]) -> Float[Tensor, "batch *axes"]:
    """Removed parts replaced by the average of what is kept, a sample and a channel at a time.

    `mask` has as many axes as `x`, with 1 where it does not vary: [batch, 1, height, width] for a picture,
    [batch, 1, time] or [batch, time, 1] for a series.  Raises `BadInput` when a mask leaves nothing.

    >>> x = torch.tensor([[[1.0, 3.0, 9.0]]])
    >>> mean(x, torch.tensor([[[False, False, True]]])).tolist()
    [[[1.0, 3.0, 2.0]]]
    """
    _fits(x, mask)
    _some_left(mask)
    axes = [axis for axis in range(1, x.ndim) if mask.shape[axis] > 1]
    kept = (~mask).to(x.dtype)
    average = (x * kept).sum(axes, keepdim=True) / kept.sum(axes, keepdim=True)
    return torch.where(mask, average, x)


def constant(
    x: Float[Tensor, "batch *axes"], mask: Bool[Tensor, "batch *spread"], value: float = 0.0
) -> Float[Tensor, "batch *axes"]:
    """Removed parts set to one value.  `mask` as in `mean`.  The crudest infill: the network never met such inputs.

    >>> constant(torch.ones(1, 3), torch.tensor([[True, False, False]])).tolist()
    [[0.0, 1.0, 1.0]]
    """
    _fits(x, mask)
    if not math.isfinite(value):
        raise BadInput(f"The infill value is {value}; expected a finite number.")
    return x.masked_fill(mask, value)


def _fits(x: Tensor, mask: Tensor) -> None:
    if mask.ndim != x.ndim or any(m not in (1, n) for m, n in zip(mask.shape, x.shape, strict=True)):
        raise BadInput(
            f"A mask shaped {tuple(mask.shape)} does not fit an input shaped {tuple(x.shape)}.",
            "Give it as many axes, of size 1 where it does not vary: mask[:, None] for pictures.",
        )


def _some_left(mask: Tensor) -> None:
    if bool(mask.flatten(1).all(1).any()):
        raise BadInput("A mask removes the whole input, so nothing is left to fill it from.", "Keep at least one part.")
