"""Networks whose natural pictures have known statistics, and dreams of them to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.dream.dream import Dream

SIDE = 16


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Linear(nn.Module):
    """Four classes, each the sum of the picture under a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, SIDE, SIDE, generator=seeded(1)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", x, self.weight)


def prepared(model: nn.Module, labels: Sequence[str] = (), **about: str) -> Network:
    return Network(model.eval(), preparation=Preparation(size=SIDE), labels=labels, **about)


def natural(count: int = 40, spread: float = 0.1, seed: int = 3) -> Tensor:
    """Pictures around mid-grey."""
    return (0.5 + spread * torch.randn(count, 3, SIDE, SIDE, generator=seeded(seed))).clamp(0, 1)


def dreamed(net: Network, targets: pl.Target | Sequence[pl.Target], steps: int = 16, **knobs: object) -> Dream:
    return pl.dream.maximize(net, targets, steps=steps, **knobs)


def shown(dream: Dream, pictures: Tensor) -> Dream:
    """The same dream, had it come to these pictures."""
    scores = []
    with torch.no_grad():
        for i, target in enumerate(dream.targets):
            x = dream.canvas.fed(pictures[i : i + 1])
            scores.append(float(dream.net.model(*x.values())[0, target.classes[0]]))
    return replace(dream, pictures=pictures, scores=tuple(scores))


def photographs_of_few_colors(count: int = 120) -> Tensor:
    """Faint pictures, each with an own tint and own stripes, so that units differ from one to another."""
    g = seeded(4)
    tint = 0.5 + 0.15 * torch.randn(count, 3, 1, 1, generator=g)
    grain = torch.nn.functional.interpolate(torch.randn(count, 3, 8, 8, generator=g), size=SIDE, mode="bilinear")
    return (tint + 0.04 * grain).clamp(0, 1)


class Mean(nn.Module):
    """Unit `k` of the inner layer is the mean of color `k`; the answer's features are all of them and products."""

    def __init__(self) -> None:
        super().__init__()
        self.units, self.features, self.answer = nn.Conv2d(3, 4, 1, bias=False), nn.Identity(), nn.Linear(4, 2)
        with torch.no_grad():
            self.units.weight.copy_(torch.eye(4)[:, :3].view(4, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.features(self.units(x).mean((2, 3))))
