"""A network that looks at one corner, a picture that is lit there, and maps that know it or do not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pellucid.core.method import method
from pellucid.core.run import current
from pellucid.probes.masks import landscapes

SIDE = 32
CORNER = (slice(4, 14), slice(18, 28))  # where the planted evidence lies


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@method(title="Gradient x input", family="gradient", paper="")
def gradient_x_input(f, x):
    return {k: g * x[k] for k, g in f.grad(x).items()}


@method(title="Noise", family="none", paper="")
def noise(f, x):
    return {k: current().normal(v)(0) for k, v in x.items()}


class Corner(nn.Module):
    """Two classes; class 1 is the brightness of one corner region, class 0 nothing."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.zeros(2, 3, SIDE, SIDE)
        weight[1, :, CORNER[0], CORNER[1]] = 0.02
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return torch.einsum("bchw,kchw->bk", x, self.weight)


def lit_corner(seed: int = 5) -> Tensor:
    """A smooth background with a bright square in the corner that `Corner` looks at."""
    x = landscapes(3, (SIDE, SIDE), seeded(seed))[None]
    x = 0.3 * x / x.std()
    x[:, :, 5:13, 19:27] += 1
    return x


class Columns(nn.Module):
    """A linear score of a table's columns."""

    def __init__(self, columns: int = 12) -> None:
        super().__init__()
        self.line = nn.Linear(columns, 1)
        self.line.weight.data = torch.randn(1, columns, generator=seeded(1))

    def forward(self, x):
        return self.line(x)
