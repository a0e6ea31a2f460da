"""Methods whose changes are followed through a network, and the same by whole passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from tests.networks import randomized, seeded

METHODS = all_methods()


class Shallow(nn.Module):
    """Enough convolution for a picture of 48 x 48 to be followed with a gain."""

    def __init__(self, seed: int = 0, between: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.two, self.head, self.between = nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 4), between
        randomized(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.between(self.two(torch.relu(self.norm(self.one(x))))).mean((2, 3)))
        return y


def pictures(samples: int = 1, side: int = 48) -> Tensor:
    return torch.randn(samples, 3, side, side, generator=seeded(7))


OPTIONS: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 7, "stride": 8},
    "feature_ablation": {"cells": 8, "baseline": 0.3},
}


def both(name: str, model: Any, x: Any, target: Any = 1, **options: Any) -> tuple[Any, Any]:
    """Explained as usual, and by whole passes (one sample a pass leaves nothing else)."""
    found = METHODS[name](model, x, target, **OPTIONS[name] | options)
    with running(Run(max_batch=1)):
        whole = METHODS[name](model, x, target, **OPTIONS[name] | options)
    assert whole.facts["computed"].startswith("whole passes: ")
    return found, whole


def same(found: Any, whole: Any, within: float = 1e-5) -> None:
    for a, b in zip(found.maps.values(), whole.maps.values(), strict=True):
        assert float((a - b).abs().max()) <= within * float(b.max() - b.min())


def followed_by(found: Any) -> bool:
    return str(found.facts["computed"]).startswith("only what each change can change")
