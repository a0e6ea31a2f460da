"""Steps between the optimizer's own that keep pixels quiet (Yosinski et al. 2015; Tyka 2016): for pixels alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.dream.recipe import Recipe
from pellucid.dream.transforms import blurred

SIGMA = 1.0  # pixels
REACH, LIKE = 2, 0.5  # the bilateral filter's neighborhood, in pixels, and what it takes for an edge


def smoothed(recipe: Recipe, u: Tensor, grad: Tensor, step: int) -> Tensor:
    """The unbounded pixels `[n, channels, *size]` after the steps that are due."""
    if recipe.blur_each and step % recipe.blur_each == 0:
        u = blurred(u, SIGMA)
    if recipe.bilateral_each and step % recipe.bilateral_each == 0:
        u = bilateral(u)
    if recipe.small_norm:
        u = u * _above(u.norm(dim=1, keepdim=True), recipe.small_norm)
    if recipe.small_share:
        u = u * _above((u * grad).sum(1, keepdim=True).abs(), recipe.small_share)
    return u


def _above(size: Tensor, percent: float) -> Tensor:
    """1 where a value is above that percentile of its picture's."""
    bound = torch.quantile(size.flatten(1), percent / 100, dim=1)
    return (size > bound.view(-1, *[1] * (size.ndim - 1))).to(size.dtype)


def bilateral(u: Tensor) -> Tensor:
    """Each pixel as the mean of its neighbors, weighed by how near and how alike they are (Tomasi, Manduchi 1998)."""
    if u.ndim != 4:
        return blurred(u, SIGMA)
    n, channels, height, width = u.shape
    side = 2 * REACH + 1
    around = F.unfold(F.pad(u, [REACH] * 4, mode="reflect"), side).view(n, channels, side**2, height, width)
    t = torch.arange(-REACH, REACH + 1, dtype=u.dtype, device=u.device)
    near = (-(t[:, None] ** 2 + t**2) / (2 * SIGMA**2)).exp().view(1, side**2, 1, 1)
    alike = (-(around - u[:, :, None]).square().sum(1) / (2 * LIKE**2)).exp()
    weights = near * alike
    return (around * weights[:, None]).sum(2) / weights.sum(1, keepdim=True)
