"""Steps between the optimizer's own that keep pixels quiet (Yosinski et al. 2015; Tyka 2016): for pixels alone."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.dream.painting.transforms import blurred
from pellucid.dream.recipe import Recipe

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
    axes, size = u.ndim - 2, u.shape[2:]
    reach = [min(REACH, n - 1) for n in size]
    around = F.pad(u, [r for r in reversed(reach) for _ in range(2)], mode="reflect")
    total, weights = torch.zeros_like(u), torch.zeros_like(u[:, :1])
    for place in product(*(range(2 * r + 1) for r in reach)):
        other = around
        for axis, (first, n) in enumerate(zip(place, size, strict=True), 2):
            other = other.narrow(axis, first, n)
        far = sum((place[i] - reach[i]) ** 2 for i in range(axes))
        unlike = (other - u).square().sum(1, keepdim=True)
        weight = (-far / (2 * SIGMA**2) - unlike / (2 * LIKE**2)).exp()
        total, weights = total + weight * other, weights + weight
    return total / weights
