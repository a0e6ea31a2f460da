"""Dreams of a vision transformer: tokens in the place of maps, one size of input, no rectifier."""

import pytest
import torch

import pellucid as pl
from pellucid.core.score import Score


def test_a_vision_transformer_is_dreamed_of_as_any_network() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    net, x = pl.Network(transformers.ViTModel(config).eval()), torch.rand(64, 3, 32, 32)
    unit = pl.channel("layers.0", 3, axis=-1)
    dream = pl.dream.maximize(net, unit, like=x, steps=40)
    assert dream.scores[0] > float(Score(net, unit)({net.inputs[0]: x}).max())
    assert any("one size" in note for note in dream.notes)
