"""A Keras network with its twin in plain torch, for the tests of Keras models."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

os.environ.setdefault("KERAS_BACKEND", "torch")
keras: Any = pytest.importorskip("keras")
layers = keras.layers
SHAPE = (12, 14, 3)


def cnn(last: bool = True, end: str = "softmax") -> Any:
    """Rescaling, convolution, batch norm with statistics, pooling, convolution, mean, four classes."""
    keras.utils.set_random_seed(0)
    order = {"data_format": "channels_last" if last else "channels_first"}
    model = keras.Sequential(
        [
            keras.Input(SHAPE if last else (3, 12, 14), name="picture"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(5, 3, activation="relu", name="first", bias_initializer="normal", **order),
            layers.BatchNormalization(axis=-1 if last else 1, name="norm"),
            layers.MaxPooling2D(name="pool", **order),
            layers.Conv2D(6, 3, activation="relu", name="last", **order),
            layers.GlobalAveragePooling2D(**order),
            layers.Dense(4, activation=end or None, name="scores", kernel_initializer="normal"),
        ]
    )
    rng = np.random.default_rng(0)
    norm = model.get_layer("norm")
    norm.set_weights([rng.uniform(0.5, 2, 5), rng.normal(0, 1, 5), rng.normal(0, 0.1, 5), rng.uniform(0.5, 2, 5)])
    return model


class Divided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 255


def twin(model: Any) -> nn.Module:
    """The same network in plain torch, from the numbers of the one with channels last."""
    (k1, b1), (k2, b2), (kd, bd) = (
        [torch.tensor(w) for w in model.get_layer(n).get_weights()] for n in ("first", "last", "scores")
    )
    first, last, head, norm = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3), nn.Linear(6, 4), nn.BatchNorm2d(5, eps=1e-3)
    for module, kernel, bias in (
        (first, k1.permute(3, 2, 0, 1), b1),
        (last, k2.permute(3, 2, 0, 1), b2),
        (head, kd.T, bd),
    ):
        module.load_state_dict({"weight": kernel, "bias": bias})
    names = ("weight", "bias", "running_mean", "running_var")
    norm.load_state_dict(
        dict(zip(names, map(torch.tensor, model.get_layer("norm").get_weights()), strict=True)), strict=False
    )
    parts = {"a": Divided(), "b": first, "first": nn.ReLU(), "norm": norm, "pool": nn.MaxPool2d(2), "c": last,
             "last": nn.ReLU(), "d": nn.AdaptiveAvgPool2d(1), "e": nn.Flatten(), "scores": head}  # fmt: skip
    return nn.Sequential(OrderedDict(parts)).eval()


def picture(n: int = 1) -> Tensor:
    return 255 * torch.rand(n, 3, 12, 14, generator=torch.Generator().manual_seed(3))
