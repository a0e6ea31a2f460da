"""Small networks to dream of, and quick recipes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pellucid.dream.recipe import Recipe
from tests.networks import randomized, seeded

# The network looks at the picture as it is, and the optimizer moves plain numbers.
PLAIN = Recipe(
    jitter=0, shrink=1, zoom=1, rotate=0, noise=0, early=1, parametrization="pixels", decorrelated=False, steps=4
)
QUICK = Recipe(steps=4, early=1)


def convolutions(channels: int = 3, seed: int = 0, classes: int = 4) -> nn.Module:
    """Two layers and a head, for pictures of any size of 8 pixels and more."""
    layers = (nn.Conv2d(channels, 5, 3), nn.ReLU(), nn.Conv2d(5, 6, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return randomized(nn.Sequential(*layers, nn.Flatten(), nn.Linear(6, classes)), seed)


def like(channels: int = 3, *size: int, batch: int = 2, seed: int = 0) -> Tensor:
    """An example that goes from 0 to 1 exactly, so that drawn colors are what the network sees."""
    x = torch.rand(batch, channels, *(size or (12, 12)), generator=seeded(seed))
    x.view(-1)[0], x.view(-1)[1] = 0, 1
    return x


class Linear(nn.Module):
    """The sum of a picture's values, each with a weight of its own; one row of `weights` a score."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weights.flatten(1).T
