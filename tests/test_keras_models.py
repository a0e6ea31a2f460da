"""Keras models: what Keras computes is what opens, in Pellucid's order of axes, and no code in a file is run."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadInput, BadModel
from pellucid.doors.keras_model import open_file, open_model

os.environ.setdefault("KERAS_BACKEND", "torch")
keras: Any = pytest.importorskip("keras")
h5py: Any = pytest.importorskip("h5py")
layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # keras reading its own
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


@pytest.mark.parametrize("method", ["integrated_gradients", "grad_cam", "occlusion", "lrp", "guided_backprop", "rise"])
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
    assert "permute(0, 3, 1, 2)" in why.value.hint


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


# What is refused, before anything is built


def archive(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A saved model with its configuration changed."""
    cnn().save(path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return path


def replaced(**values: Any) -> Callable[[dict[str, Any]], None]:
    """Its layer `first` described otherwise."""
    return lambda config: config["config"]["layers"][2].update(values)


CODE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "lambda": (replaced(class_name="Lambda", registered_name=None), "layer 'first' of class Lambda: code inside"),
    "torch": (replaced(class_name="TorchModuleWrapper", registered_name=None), "class TorchModuleWrapper: code"),
    "a saved TensorFlow": (replaced(class_name="TFSMLayer", registered_name=None), "class TFSMLayer: code"),
    "own class": (replaced(class_name="Mine", module="mine", registered_name="pack>Mine"), "of class pack>Mine"),
    "own name": (replaced(registered_name="pack>Conv2D"), "class pack>Conv2D"),
    "another package": (replaced(class_name="Popen", module="subprocess", registered_name=None), "class Popen"),
    "a function of keras": (
        replaced(class_name="function", module="keras.utils", config="get_file", registered_name="get_file"),
        "class get_file|class function",
    ),
    "a class of keras that is no layer": (
        replaced(class_name="CustomObjectScope", module="keras.utils", registered_name=None), "class CustomObjectScope",
    ),
    "a table that is read from a file": (
        replaced(class_name="StringLookup", registered_name=None), "StringLookup, which only TensorFlow runs",
    ),
    "code in an activation": (
        lambda c: c["config"]["layers"][2]["config"].update(
            activation={"class_name": "__lambda__", "config": {"value": "x"}}
        ),
        "__lambda__: code inside",
    ),
    "no names": (replaced(class_name=3), "names a class by int"),
    "not Keras": (lambda c: c.clear(), "configuration that is not Keras's"),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_code_and_strange_classes_are_named_and_not_built(name: str, tmp_path: Path) -> None:
    change, sentence = CODE[name]
    for trusted in (False, True):
        with pytest.raises(BadModel, match=sentence):
            open_file(archive(tmp_path / "net.keras", change), trusted=trusted)


def test_a_lambda_that_keras_itself_wrote(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def code(x: Any, where: str = str(mark)) -> Any:
        Path(where).touch()
        return x

    model = keras.Sequential([keras.Input((4,)), layers.Lambda(code, output_shape=(4,), name="sly"), layers.Dense(2)])
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"net{suffix}")
        mark.unlink(missing_ok=True)
        with pytest.raises(BadModel, match="layer 'sly' of class Lambda"):
            open_file(tmp_path / f"net{suffix}", trusted=True)
        assert not mark.exists()


@keras.saving.register_keras_serializable("pack")
class Doubled(layers.Layer):  # type: ignore[misc]  # keras is not typed
    """A layer of one's own."""

    def call(self, x: Any) -> Any:
        return 2 * x


def test_own_classes_are_given_by_name(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), Doubled(), layers.Dense(2)])
    model.save(tmp_path / "net.keras")
    with pytest.raises(BadModel, match="pack>Doubled, which is not one of Keras's own") as why:
        open_file(tmp_path / "net.keras")
    assert "custom={'Doubled'" in why.value.hint
    net, x = open_file(tmp_path / "net.keras", custom={"Doubled": Doubled}), torch.rand(1, 4)
    with torch.no_grad():
        assert torch.equal(net.model(x), model(x))


def link(path: Path, where: str, value: Any) -> Path:
    cnn().save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"][where] = value
    return path


def test_links_in_hdf5_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as file:
        file["secret"] = np.arange(3)
    path = tmp_path / "net.h5"
    for value, sentence in (
        (h5py.ExternalLink(str(outside), "/secret"), "another file"),
        (h5py.SoftLink("/"), "another place"),
    ):
        with pytest.raises(BadModel, match=f"/model_weights/more is a link to {sentence}"):
            open_file(link(path, "more", value))
    cnn().save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset("more", (3,), "f8", external=[(str(outside), 0, 24)])
    with pytest.raises(BadModel, match="numbers of /model_weights/more lie in another file"):
        open_file(path)
    cnn().save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset(
            "more", (1 << 20, 1 << 10), "f4", chunks=(64, 64)
        )  # nothing of it is stored
    with pytest.raises(BadModel, match="claims far more numbers"):
        open_file(path)
    cnn().save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"]["round"] = file["model_weights"]
    with pytest.raises(BadModel, match="/model_weights/round is there twice"):
        open_file(path)


def test_links_in_an_archives_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    cnn().save(path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    held = io.BytesIO(members["model.weights.h5"])
    with h5py.File(held, "r+") as file:
        file["more"] = h5py.ExternalLink("/etc/hostname", "/")
    members["model.weights.h5"] = held.getvalue()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    with pytest.raises(BadModel, match="/more is a link to another file"):
        open_file(path)


def test_a_member_that_points_outside_and_a_bomb(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.keras", lambda _: None)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../../home", b"x")
    with pytest.raises(BadModel, match="points outside of it"):
        open_file(path)
    path = archive(tmp_path / "net.keras", lambda _: None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("assets/zeros", bytes(50 << 20))
    with pytest.raises(BadModel, match="which no model does"):
        open_file(path)


def test_weights_without_an_architecture(tmp_path: Path) -> None:
    cnn().save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(BadModel, match=r"weights of a Keras model \(10 arrays\) and no architecture"):
        open_file(tmp_path / "net.weights.h5")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["table"] = np.arange(3)
    with pytest.raises(BadModel, match="Keras did not write"):
        open_file(tmp_path / "data.h5")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    cnn().save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BadModel, match="damaged or incomplete"):
        open_file(path)


def test_depthwise_convolutions_of_keras_2(tmp_path: Path) -> None:
    """Keras 2 wrote an entry `groups` there that Keras 3 refuses."""
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.DepthwiseConv2D(3, name="deep"), layers.GlobalMaxPooling2D()]
    )
    path = tmp_path / "old.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        next(c for c in config["config"]["layers"] if c["class_name"] == "DepthwiseConv2D")["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    content, x = path.read_bytes(), torch.rand(1, 3, 8, 8)
    with pytest.raises(TypeError, match="groups"):
        keras.saving.load_model(path, compile=False)
    with torch.no_grad():
        assert torch.equal(open_file(path).model(x), model(x.permute(0, 2, 3, 1)))
    assert path.read_bytes() == content


def test_another_backend_is_named_before_keras_is_imported(tmp_path: Path) -> None:
    code = "import pellucid as pl; from pellucid.doors.keras_model import open_file; open_file('net.keras')"
    env = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "KERAS_BACKEND is tensorflow; Pellucid needs Keras to run on torch" in done.stderr
    assert "Set KERAS_BACKEND=torch" in done.stderr


def test_a_model_object_of_another_backend() -> None:
    class Elsewhere:
        def _flatten_layers(self) -> list[Any]:
            return []

    with pytest.raises(BadModel, match="does not run on torch"):
        open_model(Elsewhere())
