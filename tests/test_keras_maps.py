"""Maps of Keras models: layers as the boxes, models within models folded, every weight counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import pellucid as pl
from pellucid.architecture.sources.from_modules import from_modules
from pellucid.core.errors import BadInput
from pellucid.core.names import named_weights
from pellucid.render.graph.boxes import group_box
from pellucid.render.graph.outline import outline
from pellucid.render.graph.scene import open_first
from tests.keras_networks import keras, layers


def nested() -> Any:
    """Three equal models within a model, whose layers have the same names."""

    def block(name: str) -> Any:
        given = keras.Input((None, None, 4))
        h = layers.ReLU(name="bend")(
            layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, padding="same", name="conv")(given))
        )
        return keras.Model(given, h, name=name)

    keras.utils.set_random_seed(0)
    given = keras.Input((16, 16, 4), name="picture")
    h = layers.Conv2D(4, 3, padding="same", name="stem")(given)
    for i in range(3):
        h = block(f"block_{i}")(h)
    return keras.Model(given, layers.Dense(5, name="scores")(layers.GlobalAveragePooling2D(name="mean")(h)))


def test_weights_of_models_within_models_are_all_there() -> None:
    model = nested()
    net = pl.open(model)
    weights = named_weights(net.model)
    assert sum(v.numel() for v in weights.values()) == model.count_params() == pl.map(model).totals.parameters
    assert torch.equal(weights["block_1/conv/kernel"], model.get_layer("block_1").get_layer("conv").kernel.value)
    assert torch.equal(weights["scores/bias"], model.get_layer("scores").bias.value)
    x = torch.rand(1, 4, 16, 16)
    with torch.no_grad():
        assert torch.equal(pl.record(net, x).replay(net.model, (x,)), net.model(x))


def test_a_layer_is_one_box_of_its_family_in_keras_s_own_order_of_axes() -> None:
    graph = pl.map(nested(), torch.rand(1, 4, 16, 16)).graph
    tree, opened = outline(graph), open_first(graph)
    paths = {graph.groups.path[g]: g for g in range(len(graph.groups))}
    boxes = {path: group_box(tree, paths[path], 1) for path in ("block_0.conv", "block_0.norm", "mean", "scores")}
    assert {path: box.family for path, box in boxes.items()} == {
        "block_0.conv": "convolution", "block_0.norm": "normalization", "mean": "pooling", "scores": "linear",
    }  # fmt: skip
    assert boxes["block_0.conv"].title == "Conv2D" and boxes["block_0.conv"].lines == ("conv", "148 parameters")
    assert {graph.groups.path[g] for g in opened} == {"", "block_0"}  # equal models are opened as one
    made = [graph.nodes.shape[i] for i in tree.inside(paths["block_0.norm"])]
    assert made[-1] == (1, 16, 16, 4)


def test_the_state_of_a_generator_is_no_parameter() -> None:
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5), layers.Dropout(0.5), layers.Dense(2)])
    assert any(v.path.endswith("seed_generator_state") for v in model.variables)
    found = pl.map(model, (1, 6)).totals
    assert (found.parameters, found.unused) == (model.count_params(), 0) == (6 * 5 + 5 + 5 * 2 + 2, 0)
    recurrent = keras.Sequential([keras.Input((None, 3)), layers.GRU(4, dropout=0.5), layers.Dense(2)])
    for known in (model, recurrent):
        net = pl.open(known)
        tree = from_modules(net.model, "a tree, nothing run")
        assert tree.groups.parameters[0] == pl.weights(net).count == known.count_params()
        assert sum(tree.nodes.parameters) == known.count_params()


def test_zeros_that_nobody_reads_are_not_drawn() -> None:
    """As Keras makes for the state of a layer that runs both ways, beside those of its halves."""
    graph = pl.map(keras.Sequential([keras.Input((4, 3)), layers.Bidirectional(layers.LSTM(5))]), (1, 4, 3)).graph
    ends = {*graph.edges.source, *graph.edges.target}
    assert "zeros" in graph.nodes.op and set(range(len(graph.nodes))) == ends


def test_an_input_that_is_missing_is_asked_for_by_name() -> None:
    a, b = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    net = pl.open(keras.Model([a, b], layers.Dense(3)(layers.Add()([a, b]))))
    with pytest.raises(BadInput, match="was given left") as why:
        net.model(torch.rand(1, 6))
    assert 'pl.explain(net, {"left": ..., "right": ...})' in why.value.hint
    assert net.model(**{"left": torch.rand(1, 6), "right": torch.rand(1, 6)}).shape == (1, 3)
