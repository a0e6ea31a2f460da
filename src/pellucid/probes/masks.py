"""Which part of an input to remove: random masks, True = removed, that all remove exactly the same share.

The share has to be fixed.  When it varies from mask to mask, any constant offset in a map turns into noise, and a
correlation over masks no longer ignores it.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption

SMOOTHNESS = 1 / 16  # Standard deviation of the smoothing, as a share of the mean side.


def blobs(
    count: int, height: int, width: int, area: float, generator: torch.Generator
) -> Bool[Tensor, "count height width"]:
    """Round-edged patches that cover the share `area` of a picture: the highest part of a smooth random landscape.

    The landscape is Gaussian noise smoothed on a torus, so no place is more likely to be removed than another.
    Raises `BadOption` when `area` is not between 0 and 1.

    >>> masks = blobs(4, 32, 32, 0.25, torch.Generator().manual_seed(0))
    >>> masks.flatten(1).sum(1).tolist()
    [256, 256, 256, 256]
    """
    return highest(landscapes(count, (height, width), generator), area)


def spans(count: int, length: int, area: float, generator: torch.Generator) -> Bool[Tensor, "count length"]:
    """Stretches that cover the share `area` of a sequence: `blobs` along one axis.

    >>> spans(3, 20, 0.3, torch.Generator().manual_seed(0)).sum(1).tolist()
    [6, 6, 6]
    """
    return highest(landscapes(count, (length,), generator), area)


def subsets(count: int, size: int, area: float, generator: torch.Generator) -> Bool[Tensor, "count size"]:
    """Random subsets of equal size, for inputs without neighbors (the columns of a table).

    >>> subsets(3, 10, 0.3, torch.Generator().manual_seed(0)).sum(1).tolist()
    [3, 3, 3]
    """
    return highest(torch.rand(count, size, generator=generator), area)


def landscapes(count: int, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "count *shape"]:
    """Gaussian random fields that are smooth and periodic along each axis of `shape`."""
    if count < 1 or not shape or min(shape) < 1:
        raise BadInput(f"{count} masks of shape {shape}: every number must be at least 1.")
    sigma = SMOOTHNESS * sum(shape) / len(shape)
    frequencies = [torch.fft.fftfreq(n) for n in shape[:-1]] + [torch.fft.rfftfreq(shape[-1])]
    squared = torch.stack(torch.meshgrid(*frequencies, indexing="ij")).square().sum(0)
    smoothing = torch.exp(-2 * (math.pi * sigma) ** 2 * squared)
    axes = tuple(range(1, len(shape) + 1))
    noise = torch.randn(count, *shape, generator=generator)
    smooth: Tensor = torch.fft.irfftn(torch.fft.rfftn(noise, dim=axes) * smoothing, s=shape, dim=axes)
    return smooth


def highest(heights: Float[Tensor, "count *shape"], area: float) -> Bool[Tensor, "count *shape"]:
    """The highest share `area` of each landscape: at least one place, and never all of them."""
    size = heights[0].numel()
    if not 0 < area < 1:
        raise BadOption(f"area={area}: expected a share between 0 and 1.", "0.3 removes 30 % of the input.")
    if size < 2:
        raise BadInput("An input with one single part cannot be masked in part.", "Masks need at least two parts.")
    number = min(max(round(area * size), 1), size - 1)
    flat = heights.flatten(1)
    masks = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, flat.topk(number, dim=1).indices, True)
    return masks.view_as(heights)
