"""Networks that take channels last, as Keras does, dream the same pictures as their twins that take them first."""

from __future__ import annotations

import keras
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl


class Last(nn.Module):
    """A network that takes `[batch, height, width, channels]`."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x.permute(0, 3, 1, 2))


def test_a_twin_with_channels_last_dreams_the_same() -> None:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
    x = torch.rand(2, 3, 16, 20)
    one = pl.dream.maximize(first, pl.logit(1), like=x, steps=6)
    other = pl.dream.maximize(Last(first), pl.logit(1), like=x.permute(0, 2, 3, 1), steps=6)
    assert other.pictures.shape == (1, 3, 16, 20) and other.x["x"].shape == (1, 16, 20, 3)
    assert torch.allclose(one.pictures, other.pictures, atol=1e-5)
    assert other.scores == pytest.approx(one.scores, abs=1e-4)


def test_a_keras_network_dreams_in_its_own_layout() -> None:
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(6, 3, activation="relu6"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    found = pl.dream.maximize(net, [pl.logit(0), -pl.logit(0)], like=torch.rand(2, 16, 16, 3), steps=24, early=1)
    assert found.pictures.shape == (2, 3, 16, 16)
    with torch.no_grad():
        out = net(found.pictures.permute(0, 2, 3, 1) * (found.canvas.high - found.canvas.low) + found.canvas.low)
    assert found.scores == pytest.approx([float(out[0, 0]), -float(out[1, 0])], abs=1e-4)
    assert float(out[0, 0]) > float(out[1, 0])
