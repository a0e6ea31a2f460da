"""A network that looks at one corner of a picture, so that the truth is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl

SIDE, CORNER = 16, 6


class Corner(nn.Module):
    """Two classes, told apart by how bright the top left corner is; nothing else is ever read, and no map is kept."""

    def forward(self, x: Tensor) -> Tensor:
        inside = corner_mask().flatten().to(x.dtype)
        light = (x.flatten(2) @ inside).mean(1) / CORNER**2
        return torch.stack([4 * light, -4 * light], 1)


def corner_mask() -> Tensor:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[:CORNER, :CORNER] = True
    return mask


@pytest.fixture
def corner() -> tuple[pl.Network, Tensor]:
    """The network, and a picture that is bright in the corner and has other bright spots that are never read."""
    x = torch.rand(1, 3, SIDE, SIDE) * 0.3
    x[:, :, :CORNER, :CORNER] += 0.7
    x[:, :, 10:13, 10:13] = 1.0
    return pl.open(Corner(), labels=("bright", "dark"), preparation=pl.Preparation(SIDE), name="Corner"), x


def check_of(e: pl.Explanation, name: str) -> pl.Check:
    return next(check for check in e.checks if check.name == name)


def unopened(monkeypatch) -> None:
    monkeypatch.setattr("pellucid.surfaces.explain.open_network", lambda _: pytest.fail("it was opened"))
