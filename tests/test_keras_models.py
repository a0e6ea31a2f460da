"""Keras models: what Keras computes is what opens, in Pellucid's order of axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.core.errors import BadInput, BadModel
from pellucid.doors.keras.model import open_file
from tests.keras_networks import SHAPE, cnn, keras, layers, picture, twin

h5py: Any = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # keras reading its own


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_is_the_network_before_its_softmax(suffix: str, tmp_path: Path) -> None:
    model = cnn()
    model.save(tmp_path / f"net{suffix}")
    net = open_file(tmp_path / f"net{suffix}")
    x = picture(2)
    with torch.no_grad():
        assert torch.allclose(net.model(x), twin(model)(x), atol=1e-5)
        assert torch.allclose(net.model(x).softmax(1), model(x.permute(0, 2, 3, 1)), atol=1e-5)
    assert net.name == "net" and net.inputs == ("picture",)
    assert "softmax" in net.notes[0]


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "grad_cam", "occlusion", "lrp", "guided_backprop", "rise", "excitation_backprop"]
)
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
def test_maps_are_those_of_the_same_network_in_torch(method: str, last: bool) -> None:
    model = cnn(end="")
    plain = twin(model)
    if not last:
        first = cnn(last=False, end="")
        first.set_weights(model.get_weights())
        model = first
    net, x = pl.open(model), picture(2)
    named = {"site": "last"} if method == "grad_cam" else {}
    found = getattr(pl.methods, method)(net, x, 1, **named)
    wanted = getattr(pl.methods, method)(plain, x, 1, **named)
    assert found.maps["picture"].shape == wanted.values.shape
    assert torch.allclose(found.maps["picture"], wanted.values, atol=1e-4 * float(wanted.values.abs().max()))
    assert found.resolution == wanted.resolution


def normalized(last: bool) -> Any:
    """Convolution and batch norm with large shifts, a convolution, two dense layers: what LRP treats as layers."""
    keras.utils.set_random_seed(3)
    order = {"data_format": "channels_last" if last else "channels_first", "bias_initializer": "random_normal"}
    dense = {"bias_initializer": "random_normal", "kernel_initializer": "random_normal"}
    return keras.Sequential(
        [
            keras.Input(SHAPE if last else (3, 12, 14), name="picture"),
            layers.Conv2D(5, 3, name="a", **order),
            layers.BatchNormalization(axis=-1 if last else 1, name="norm"),
            layers.ReLU(),
            layers.Conv2D(6, 3, activation="relu", name="b", **order),
            layers.GlobalAveragePooling2D(data_format=order["data_format"]),
            layers.Dense(7, activation="relu", name="c", **dense),
            layers.Dense(4, name="d", **dense),
        ]
    )


def in_torch(model: Any) -> nn.Module:
    first, norm, second = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, eps=1e-3), nn.Conv2d(5, 6, 3)
    hidden, head = nn.Linear(6, 7), nn.Linear(7, 4)
    for module, name in ((first, "a"), (second, "b"), (hidden, "c"), (head, "d")):
        kernel, bias = (torch.tensor(w) for w in model.get_layer(name).get_weights())
        module.load_state_dict({"weight": kernel.permute(*reversed(range(kernel.ndim))).transpose(-1, -2)
                                if kernel.ndim == 4 else kernel.T, "bias": bias})  # fmt: skip
    names = ("weight", "bias", "running_mean", "running_var")
    held = map(torch.tensor, model.get_layer("norm").get_weights())
    norm.load_state_dict(dict(zip(names, held, strict=True)), strict=False)
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(first, norm, nn.ReLU(), second, nn.ReLU(), *pooled, hidden, nn.ReLU(), head).eval()


RELEVANCE: list[tuple[str, dict[str, Any]]] = [
    *[("lrp", {"preset": p}) for p in ("epsilon", "epsilon_plus_flat", "epsilon_gamma_box", "alpha2_beta1", "w2")],
    *[("excitation_backprop", {"contrast": contrast}) for contrast in (False, True)],
    ("deep_lift", {}),
    *[("full_grad", {"kind": kind}) for kind in ("layers", "channels", "signed")],
]


@pytest.mark.parametrize(
    ("method", "options"), RELEVANCE, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values()))
)
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
def test_biases_and_norms_that_keras_adds_by_themselves_belong_to_their_layers(
    method: str, options: dict[str, Any], last: bool
) -> None:
    model, rng = normalized(last=True), np.random.default_rng(0)
    statistics = [rng.uniform(0.5, 2, 5), rng.normal(0, 1, 5), rng.normal(0, 1, 5), rng.uniform(0.5, 2, 5)]
    model.get_layer("norm").set_weights(statistics)
    plain, first = in_torch(model), normalized(last=False)
    first.set_weights(model.get_weights())
    net, x = pl.open(model if last else first), torch.randn(2, 3, 12, 14)
    with torch.no_grad():
        top = plain(x).argmax(1).tolist()
        assert torch.allclose(net.model(x), plain(x), atol=1e-5)
    found, wanted = (getattr(pl.methods, method)(n, x, pl.logit(tuple(top)), **options) for n in (net, plain))
    largest = float(wanted.values.abs().max())
    assert largest > 0 and torch.allclose(found.maps["picture"], wanted.values, atol=1e-4 * largest)
    assert found.without_rule == wanted.without_rule


def test_values_at_a_layer_have_channels_second_and_can_be_explained() -> None:
    model = cnn(end="")
    net, plain, x = pl.open(model), twin(model), picture()
    found = pl.methods.integrated_gradients(net, x, 1, at="first", steps=8)
    wanted = pl.methods.integrated_gradients(plain, x, 1, at="first", steps=8)
    assert found.inner["first"].shape == (1, 5, 10, 12)
    assert torch.allclose(found.maps["first"], wanted.maps["first"], atol=1e-5)
    assert found.facts["grid"] == (10, 12)
    one = pl.methods.input_x_gradient(net, x, pl.channel("last", 2))
    other = pl.methods.input_x_gradient(plain, x, pl.channel("last", 2))
    assert torch.allclose(one.values, other.values, atol=1e-5)


def test_the_last_map_is_found() -> None:
    found = pl.methods.grad_cam(pl.open(cnn(end="")), picture(), 1)
    assert found.facts["site"] == "last" and found.resolution == (3, 4)


def test_explain_dream_and_patches_run_end_to_end(tmp_path: Path) -> None:
    net, plain = pl.open(cnn(end="")), twin(cnn(end=""))
    why = pl.explain(net, picture(), trust="quick")
    assert why.checks and why.save(tmp_path / "why.html").stat().st_size > 1000
    dreams = [pl.dream.maximize(n, pl.channel("last", 2), like=picture(), steps=4).pictures for n in (net, plain)]
    assert torch.allclose(*dreams, atol=1e-4)
    tops = [pl.dream.patches(n, picture(6), "last").top for n in (net, plain)]
    for mine, theirs in zip(*tops, strict=True):
        assert [(p.sample, p.position) for p in mine] == [(p.sample, p.position) for p in theirs]


def test_the_users_model_is_as_it_was() -> None:
    model = cnn()
    x = picture().permute(0, 2, 3, 1)
    before = model(x).detach().clone()
    net = pl.open(model)
    pl.methods.lrp(net, picture(), 1)
    assert torch.equal(model(x), before) and model.get_layer("scores").activation is keras.activations.softmax
    assert any("softmax" in note for note in net.notes)


def test_pictures_in_keras_order_are_refused_with_the_way_out() -> None:
    with pytest.raises(BadInput, match=r"takes \[batch, 3, 12, 14\], channels before height and width") as why:
        pl.methods.occlusion(pl.open(cnn()), picture().permute(0, 2, 3, 1), 1)
    assert "permute(0, 3, 1, 2)" in why.value.hint and "--shape picture=1x3x12x14" in why.value.typed


def test_several_inputs_and_outputs_by_name(tmp_path: Path) -> None:
    a, b = keras.Input((8, 8, 3), name="scan"), keras.Input((5,), name="age")
    h = layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3)(a))
    joined = layers.Concatenate()([h, b])
    area = layers.Conv2D(2, 1, name="area")(a)
    model = keras.Model([a, b], [layers.Dense(3, name="kind")(joined), area])
    model.save(tmp_path / "two.keras")
    x = {"scan": torch.rand(2, 3, 8, 8), "age": torch.rand(2, 5)}
    with torch.no_grad():
        kind, where = model([x["scan"].permute(0, 2, 3, 1), x["age"]])
    for net in (pl.open(model), open_file(tmp_path / "two.keras")):
        assert net.inputs == ("scan", "age")
        with torch.no_grad():
            out = net.model(**x)
        assert torch.allclose(out["kind"], kind) and torch.allclose(out["area"], where.permute(0, 3, 1, 2))
    chosen = pl.open(pl.open(model), output="kind")
    why = pl.methods.integrated_gradients(chosen, x, 1, steps=4)
    assert {k: v.shape for k, v in why.maps.items()} == {k: v.shape for k, v in x.items()}
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, 3] = True
    region = pl.methods.input_x_gradient(pl.open(pl.open(model), output="area"), x, pl.region(1, mask)).maps["scan"]
    assert not region[..., ~mask].any() and region[..., mask].any()


def test_inputs_in_a_dictionary() -> None:
    given = {"b": keras.Input((3,), name="b"), "a": keras.Input((2,), name="a")}
    model = keras.Model(given, layers.Dense(2)(layers.Concatenate()([given["a"], given["b"]])))
    net, x = pl.open(model), {"a": torch.rand(1, 2), "b": torch.rand(1, 3)}
    with torch.no_grad():
        assert torch.allclose(net.model(**x), model(x))


class Own(keras.Model):  # type: ignore[misc]  # keras is not typed
    """A subclassed model."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = layers.Conv2D(4, 3, name="conv")
        self.head = layers.Dense(2, name="head")

    def call(self, pixels: Any) -> Any:
        return self.head(keras.ops.mean(keras.ops.relu(self.conv(pixels)), (1, 2)))


def test_a_subclassed_model() -> None:
    model = Own()
    with pytest.raises(BadModel, match="was never built"):
        pl.open(model)
    x = torch.rand(1, 3, 9, 9)
    wanted = model(x.permute(0, 2, 3, 1))
    net = pl.open(model)
    assert net.inputs == ("pixels",) and [str(s) for s in net.sites] == ["conv", "head"]
    with torch.no_grad():
        assert torch.allclose(net.model(x), wanted)
    assert pl.methods.grad_cam(net, x, 1, site="conv").resolution == (7, 7)


def test_text_and_series() -> None:
    text = keras.Sequential(
        [keras.Input((6,), dtype="int32"), layers.Embedding(20, 8), layers.LSTM(5), layers.Dense(1)]
    )
    why = pl.methods.integrated_gradients(pl.open(text), torch.tensor([[3, 1, 4, 1, 5, 9]]), 0, steps=8)
    assert why.values.shape == (1, 6, 8) and float(why.values.abs().sum()) > 0
    series = keras.Sequential(
        [keras.Input((30, 2)), layers.Conv1D(4, 5), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    )
    x = torch.rand(1, 30, 2)
    net = pl.open(series)
    with torch.no_grad():
        assert torch.equal(net.model(x), series(x))
    assert pl.methods.input_x_gradient(net, x, 1).values.shape == x.shape


# Preparation


def headed(*first: Any, side: int = 8, channels: int = 3) -> Any:
    return keras.Sequential(
        [keras.Input((side, side, channels)), *first, layers.Conv2D(2, 3), layers.GlobalMaxPooling2D()]
    )


STATED: dict[str, tuple[Callable[[], Any], float | None]] = {
    "255 to 0..1": (lambda: layers.Rescaling(1 / 255), 255),
    "255 to -1..1": (lambda: layers.Rescaling(1 / 127.5, offset=-1), 255),
    "1 to -1..1": (lambda: layers.Rescaling(2, offset=-1), 1),
    "means of 0..255": (lambda: layers.Normalization(mean=[120, 115, 100], variance=[3000, 3000, 3000]), 255),
    "means of 0..1": (lambda: layers.Normalization(mean=[0.48, 0.45, 0.4], variance=[0.05, 0.05, 0.05]), 1),
    "means that say nothing": (lambda: layers.Normalization(mean=[0, 0, 0], variance=[1, 1, 1]), None),
    "a factor that says nothing": (lambda: layers.Rescaling(10.0), None),
    "another layer": (lambda: layers.Activation("tanh"), None),
}


@pytest.mark.parametrize("name", STATED)
def test_preparation_from_the_first_layers(name: str) -> None:
    layer, top = STATED[name]
    net = pl.open(headed(layer()))
    if top is None:
        assert net.preparation is None and any("does not say" in note for note in net.notes)
        with pytest.raises(BadInput, match="does not say how pictures are prepared"):
            net.read(np.zeros((8, 8, 3), np.uint8))
        return
    assert net.preparation is not None and "inside the model" in net.preparation.source
    white = net.read(np.full((20, 30, 3), 255, np.uint8))
    assert white.shape == (1, 3, 8, 8) and torch.allclose(white, torch.full_like(white, top))


def test_grey_pictures_and_what_the_user_says() -> None:
    assert pl.open(headed(layers.Rescaling(1 / 255), channels=1)).read(np.zeros((9, 9, 3), np.uint8)).shape == (
        1,
        1,
        8,
        8,
    )
    mine = pl.Preparation(8, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert pl.open(headed(), preparation=mine).preparation == mine
