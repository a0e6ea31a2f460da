"""Masks that cannot be ragged: made of round patches by a smooth maximum, and held to an area by ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pellucid.probes.cells import Grid

_TEMPERATURE = 1 / 20  # of the smooth maximum
_SOFTNESS = 1 / 20  # of the ranks: places this close in value share their ranks


@dataclass(frozen=True, slots=True)
class Patches:
    """Each parameter is the height of a round patch around its cell; a mask is the smooth maximum of all patches.

    `kernel[u, v]` is the height at cell u of a patch of height 1 around v: flat on top, then a Gaussian fall.
    """

    grid: Grid
    size: tuple[int, int]
    kernel: Float[Tensor, "cells cells"]

    def masks(self, heights: Float[Tensor, "batch cells"]) -> Float[Tensor, "batch 1 height width"]:
        """The masks of these heights, enlarged bilinearly from their cells to the picture."""
        patches = self.kernel * heights[:, None, :]
        smooth = (patches * torch.softmax(patches / _TEMPERATURE, -1)).sum(-1)
        return functional.interpolate(smooth.view(-1, 1, *self.grid), self.size, mode="bilinear", align_corners=False)


def patches(like: Float[Tensor, "batch channels height width"], grid: Grid, radius: float) -> Patches:
    """Patches that are flat for half of `radius` (a share of the mean side) and at half height a little past it."""
    size = (like.shape[2], like.shape[3])
    down, right = (
        (torch.arange(cells, dtype=like.dtype, device=like.device) + 0.5) * side / cells
        for cells, side in zip(grid, size, strict=True)
    )
    place = torch.cartesian_prod(down, right)
    apart = (place[:, None] - place).square().sum(-1).sqrt() / (radius * sum(size) / 2)
    return Patches(grid, size, torch.exp(-2 * (apart - 0.5).clamp(min=0) ** 2))


def by_rank(values: Float[Tensor, "batch places"], area: float) -> Float[Tensor, "batch places"]:
    """1 for the highest share `area` of the places, 0 for the others; the sum is exact, equal values share.

    A hard sort would give equal places (all of a network's blind spots, say) to one side or the other by rounding.

    >>> by_rank(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), 0.25).round().tolist()
    [[0.0, 1.0, 0.0, 0.0]]
    >>> by_rank(torch.zeros(1, 4), 0.25).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    low, high = (edge.unsqueeze(1).double() for edge in values.aminmax(dim=1))
    wide = values.double()
    low, high = low - 1, high + 1  # far enough, at this softness, that the sums are 1 and 0
    for _ in range(60):
        middle = (low + high) / 2
        above = torch.sigmoid((wide - middle) / _SOFTNESS).mean(1, keepdim=True) > area
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.sigmoid((wide - (low + high) / 2) / _SOFTNESS).to(values)
