"""Keras networks keep channels last, torch's first: what each place looks at is the same, where it was planted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.core.recording.receptive_field import ReceptiveField, receptive_field
from pellucid.core.recording.resume import Cut
from pellucid.core.score import Score
from pellucid.core.site import Site
from tests.keras_networks import cnn, keras, layers, picture, twin

KINDS = ("channels last", "channels first", "torch")


def network(kind: str) -> Network:
    model = cnn(end="")
    if kind == "torch":
        return pl.open(twin(model))
    if kind == "channels first":
        first = cnn(last=False, end="")
        first.set_weights(model.get_weights())
        model = first
    return pl.open(model)


def seeing_colors(kind: str) -> Network:
    """One convolution of 3 x 3: channel k adds up color k there, the middle nine times; five pixels see past it."""
    last = kind == "channels last"
    weight = torch.zeros(5, 3, 3, 3)
    for color in range(3):
        weight[color, color] = 1
        weight[color, color, 1, 1] = 9
    if kind == "torch":
        plain = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.AdaptiveMaxPool2d(1), nn.Flatten())
        plain.load_state_dict({"0.weight": weight})
        return pl.open(plain)
    order = {"data_format": "channels_last" if last else "channels_first"}
    model = keras.Sequential(
        [
            keras.Input((12, 14, 3) if last else (3, 12, 14), name="picture"),
            layers.Conv2D(5, 3, use_bias=False, name="0", **order),
            layers.GlobalMaxPooling2D(**order),
        ]
    )
    model.layers[0].kernel.assign(weight.permute(2, 3, 1, 0))
    return pl.open(model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_is_where_a_color_was_planted(kind: str) -> None:
    spots = {0: (3, 8), 1: (10, 1), 2: (6, 11)}  # color -> where, in the sample of that number
    x = torch.zeros(3, 3, 12, 14)
    for color, (row, column) in spots.items():
        x[color, color, row, column] = 1
    found = pl.dream.patches(seeing_colors(kind), x, "0", [0, 1, 2], count=1)
    for color, (row, column) in spots.items():
        patch = found.top[found.row(color)][0]
        assert (patch.sample, patch.value, patch.position) == (color, 9.0, (row - 1, column - 1))
        assert patch.field == patch.part == ((row - 1, row + 2), (column - 1, column + 2))
        assert patch.crop.shape == (3, 3, 3) and patch.crop[color, 1, 1] == 1 and patch.crop.sum() == 1


# size, stride and first offset along both axes, by hand: 3; 3 + 1 at twice the distance; 4 + 2 * 2
BY_HAND = {"first": (3, 1, 0), "norm": (3, 1, 0), "pool": (4, 2, 0), "last": (8, 2, 0)}


@pytest.mark.parametrize("kind", KINDS)
def test_receptive_fields_by_hand(kind: str) -> None:
    net = network(kind)
    tape = pl.record(net, picture())
    for path, (size, stride, offset) in BY_HAND.items():
        found = receptive_field(tape, Site(path))
        assert found == ReceptiveField((size, size), (stride, stride), (offset, offset))
        assert found.axes == (2, 3)
        assert tape.shape(Site(path)) == network("torch_twin" if kind == "none" else "torch") and None
