"""Masks made of a grid of cells over a picture: what is seen through them, and from a number a cell to a map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pellucid.core.run import current

Grid = tuple[int, int]


def grid_of(v: Float[Tensor, "batch channels height width"], cells: int) -> Grid:
    """`cells` along each side, and no more than there are places."""
    return min(cells, v.shape[2]), min(cells, v.shape[3])


def seen(
    v: Float[Tensor, "batch channels height width"],
    mask: Float[Tensor, "_ 1 height width"],
    fill: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """The picture where the mask is 1, the fill where it is 0, a mixture between."""
    return fill + mask * (v - fill)


def spread(
    values: Float[Tensor, "batch rows columns"], like: Float[Tensor, "_ channels height width"]
) -> Float[Tensor, "batch 1 height width"]:
    """A number a cell, at every place of the cell.

    >>> spread(torch.tensor([[[1.0, 2.0]]]), torch.zeros(1, 3, 1, 4)).tolist()
    [[[[1.0, 1.0, 2.0, 2.0]]]]
    """
    return functional.interpolate(values[:, None], like.shape[-2:], mode="nearest-exact")


@dataclass(frozen=True, slots=True)
class Soft:
    """RISE's masks, by number: cells that are seen with probability `keep`, enlarged bilinearly, shifted at random.

    The weights of the enlargement sum to 1, so that every place is seen with probability `keep`, exactly.
    """

    grid: Grid
    keep: float
    like: Float[Tensor, "batch channels height width"]

    def mask(self, number: int) -> Float[Tensor, "1 1 height width"]:
        """The mask of that number: the same whenever it is asked for, and for every sample."""
        (height, width), (rows, columns) = self.like.shape[-2:], self.grid
        tall, wide = math.ceil(height / rows), math.ceil(width / columns)
        generator = current().generator("cells seen", number)
        cells = (torch.rand(1, 1, rows, columns, generator=generator) < self.keep).to(self.like)
        down, right = (int(torch.rand((), generator=generator) * side) for side in (tall, wide))
        return self.enlarged(cells)[..., down : down + height, right : right + width]

    def enlarged(self, cells: Float[Tensor, "masks 1 rows columns"]) -> Float[Tensor, "masks 1 taller wider"]:
        """Cells at a size that leaves room to shift by one of them."""
        (height, width), (rows, columns) = self.like.shape[-2:], self.grid
        size = ((rows + 1) * math.ceil(height / rows), (columns + 1) * math.ceil(width / columns))
        return functional.interpolate(cells, size, mode="bilinear", align_corners=False)
