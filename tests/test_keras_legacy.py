"""Files as Keras 1 and 2 wrote them, made by hand: what they compute is written out here in torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.keras.model import open_file
from tests.keras_networks import keras

h5py: Any = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # keras reading its own
Weights = Mapping[str, Mapping[str, Tensor]]


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def sequence(*layers: dict[str, Any]) -> dict[str, Any]:
    """As Keras before 2.2.3 wrote it: a list."""
    return {"class_name": "Sequential", "config": list(layers)}


def written(path: Path, config: Any, weights: Weights, version: str = "2.2.4", backend: str = "tensorflow") -> Path:
    with h5py.File(path, "w") as file:
        stored = file.create_group("model_weights")
        for group in (file, stored):
            group.attrs["backend"] = backend.encode()
            if version:
                group.attrs["keras_version"] = version.encode()
        file.attrs["model_config"] = json.dumps(config).encode()
        stored.attrs["layer_names"] = [name.encode() for name in weights]
        for name, held in weights.items():
            group = stored.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in held]
            for key, value in held.items():
                group.create_dataset(f"{name}/{key}:0", data=value.numpy())
    return path


def said(path: Path, x: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = open_file(path).model(x)
        return out


def hard(x: Tensor) -> Tensor:
    """Keras 2's hard sigmoid."""
    return (0.2 * x + 0.5).clamp(0, 1)


def lstm(x: Tensor, k: Tensor, r: Tensor, b: Tensor, gate: Callable[[Tensor], Tensor]) -> Tensor:
    """Gates in the order input, forget, cell, output (Keras 2's)."""
    h = c = torch.zeros(len(x), r.shape[0])
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ k + h @ r + b).chunk(4, 1)
        c = gate(f) * c + gate(i) * g.tanh()
        h = gate(o) * c.tanh()
    return h


def gru(x: Tensor, k: Tensor, r: Tensor, b: Tensor) -> Tensor:
    """Gates in the order update, reset, new; the reset before the product, as Keras did first."""
    h = torch.zeros(len(x), r.shape[0])
    (kz, kr, kn), (rz, rr, rn), (bz, br, bn) = k.chunk(3, 1), r.chunk(3, 1), b.chunk(3)
    for t in range(x.shape[1]):
        z, reset = hard(x[:, t] @ kz + h @ rz + bz), hard(x[:, t] @ kr + h @ rr + br)
        h = z * h + (1 - z) * (x[:, t] @ kn + (reset * h) @ rn + bn).tanh()
    return h


RNN = {"kernel": numbers(3, 8), "recurrent_kernel": numbers(2, 8), "bias": numbers(8)}
BACK = {"back_kernel": numbers(3, 8) / 2, "back_recurrent_kernel": numbers(2, 8) / 2, "back_bias": numbers(8) / 2}
GRU = {"kernel": numbers(3, 6), "recurrent_kernel": numbers(2, 6), "bias": numbers(6)}
DENSE = {"kernel": numbers(3, 2), "bias": numbers(2)}
SERIES, ROW, PICTURE = numbers(2, 4, 3), numbers(2, 3), numbers(2, 3, 6, 7)
KERNEL, UP = numbers(3, 3, 3, 5), numbers(3, 3, 5, 3)
START: dict[str, Any] = {"batch_input_shape": [None, 3], "dtype": "float32"}
IN_TIME: dict[str, Any] = {"batch_input_shape": [None, 4, 3], "implementation": 1}
IN_PLACE: dict[str, Any] = {"batch_input_shape": [None, 6, 7, 3], "kernel_size": [3, 3], "use_bias": False}
INITIAL = {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}
POLICY = {"class_name": "PolicyV1", "config": {"name": "float32", "loss_scale": None}}
LEGACY: dict[str, tuple[dict[str, Any], Weights, Tensor, Tensor]] = {
    "a list of layers": (
        sequence(layer("Dense", "d", units=2, **START)), {"d": DENSE}, ROW, ROW @ DENSE["kernel"] + DENSE["bias"],
    ),
    "types of initializers, policies, a second softmax": (
        sequence(layer("Dense", "d", units=2, kernel_initializer=INITIAL, activation="softmax_v2",
                       batch_input_shape=[None, 3], dtype=POLICY)),
        {"d": DENSE}, ROW, ROW @ DENSE["kernel"] + DENSE["bias"],
    ),
    "thresholds, slopes as arrays": (
        sequence(layer("ThresholdedReLU", "t", theta=0.3, **START),
                 layer("LeakyReLU", "l", alpha={"type": "ndarray", "value": 0.25}), layer("Dense", "d", units=2)),
        {"d": DENSE}, ROW, torch.where(ROW > 0.3, ROW, 0.0) @ DENSE["kernel"] + DENSE["bias"],
    ),
    "groups of a transposed convolution": (
        sequence(layer("Conv2DTranspose", "t", filters=5, strides=[2, 2], padding="valid", groups=1, **IN_PLACE)),
        {"t": {"kernel": UP}}, PICTURE, F.conv_transpose2d(PICTURE, UP.permute(3, 2, 0, 1), stride=2),
    ),
    "groups of a depthwise convolution": (
        sequence(layer("DepthwiseConv2D", "t", groups=1, depth_multiplier=1, **IN_PLACE)),
        {"t": {"kernel": KERNEL[..., :1]}}, PICTURE,
        F.conv2d(PICTURE, KERNEL[..., :1].permute(2, 3, 0, 1), groups=3),
    ),
    "an LSTM with the old hard sigmoid": (
        sequence(layer("LSTM", "l", units=2, recurrent_activation="hard_sigmoid", time_major=False, **IN_TIME)),
        {"l": RNN}, SERIES, lstm(SERIES, *RNN.values(), hard),
    ),
    "a GRU that says nothing of its reset": (
        sequence(layer("GRU", "l", units=2, recurrent_activation="hard_sigmoid", **IN_TIME)),
        {"l": GRU}, SERIES, gru(SERIES, *GRU.values()),
    ),
    "a layer in a layer": (
        sequence(layer("Bidirectional", "b", merge_mode="concat", batch_input_shape=[None, 4, 3],
                       layer=layer("LSTM", "l", units=2, recurrent_activation="sigmoid", time_major=False))),
        {"b": {**RNN, **BACK}}, SERIES,
        torch.cat([lstm(SERIES, *RNN.values(), torch.sigmoid),
                   lstm(SERIES.flip(1), *BACK.values(), torch.sigmoid)], 1),
    ),
    "a layer for every step": (
        sequence(layer("TimeDistributed", "t", layer=layer("Dense", "d", units=2), batch_input_shape=[None, 4, 3])),
        {"t": DENSE}, SERIES, SERIES @ DENSE["kernel"] + DENSE["bias"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEGACY)
def test_what_keras_2_wrote_is_what_opens(name: str, tmp_path: Path) -> None:
    config, weights, x, wanted = LEGACY[name]
    torch.testing.assert_close(said(written(tmp_path / "old.h5", config, weights), x), wanted, rtol=1e-5, atol=1e-5)


def test_theano_turned_its_kernels_over(tmp_path: Path) -> None:
    config = sequence(layer("Conv2D", "c", filters=5, **IN_PLACE))
    kernel = KERNEL.permute(3, 2, 0, 1)
    for backend, used in (("theano", kernel.flip(2, 3)), ("tensorflow", kernel)):
        path = written(tmp_path / f"{backend}.h5", config, {"c": {"kernel": KERNEL}}, backend=backend)
        torch.testing.assert_close(said(path, PICTURE), F.conv2d(PICTURE, used), rtol=1e-5, atol=1e-5)
    inner = sequence(config | {"name": "inner"})
    inner["config"][0]["config"] = {"name": "inner", "layers": config["config"]}
    path = written(tmp_path / "inner.h5", inner, {"inner": {"kernel": KERNEL}}, backend="theano")
    with pytest.raises(BadModel, match="has models inside of the model"):
        open_file(path)


@pytest.mark.parametrize("version", ["1.2.2", ""])
def test_keras_1(version: str, tmp_path: Path) -> None:
    """Other names of layers and settings; with channels first kernels are [out, in, height, width]."""
    kernel, bias, dense = numbers(4, 3, 3, 2), numbers(4), numbers(4 * 2 * 3, 2)
    unused = dict.fromkeys(("W_regularizer", "b_regularizer", "activity_regularizer", "W_constraint", "b_constraint"))
    common = {"init": "glorot_uniform", "bias": True, **unused}
    config = sequence(
        layer("Convolution2D", "c", nb_filter=4, nb_row=3, nb_col=2, border_mode="valid", subsample=[1, 1],
              dim_ordering="th", activation="relu", batch_input_shape=[None, 3, 6, 7], input_dtype="float32", **common),
        layer("MaxPooling2D", "m", pool_size=[2, 2], strides=[2, 2], border_mode="valid", dim_ordering="th"),
        layer("Dropout", "p", p=0.5),
        layer("Flatten", "f"),
        layer("Dense", "d", output_dim=2, input_dim=None, activation="linear", **common),
    )  # fmt: skip
    weights = {"c": {"W": kernel, "b": bias}, "d": {"W": dense, "b": numbers(2)}}
    path = written(tmp_path / "first.h5", config, weights, version=version)
    wanted = F.max_pool2d(F.conv2d(PICTURE, kernel, bias).relu(), 2).flatten(1) @ dense + numbers(2)
    torch.testing.assert_close(said(path, PICTURE), wanted, rtol=1e-5, atol=1e-5)


def test_keras_1_kept_each_gate_by_itself(tmp_path: Path) -> None:
    config = sequence(
        layer("LSTM", "l", output_dim=2, init="glorot_uniform", inner_init="orthogonal", forget_bias_init="one",
              activation="tanh", inner_activation="hard_sigmoid", dropout_W=0.0, dropout_U=0.0, consume_less="cpu",
              W_regularizer=None, batch_input_shape=[None, 4, 3], input_dim=3, input_dtype="float32")
    )  # fmt: skip
    gates = {key: value.chunk(4, -1) for key, value in zip("WUb", RNN.values(), strict=True)}
    held = {f"{key}_{g}": gates[key]["ifco".index(g)].contiguous() for g in "icfo" for key in "WUb"}
    path = written(tmp_path / "first.h5", config, {"l": held}, version="1.1.0")
    torch.testing.assert_close(said(path, SERIES), lstm(SERIES, *RNN.values(), hard), rtol=1e-5, atol=1e-5)


def test_weights_that_would_land_in_another_layer_are_noticed(tmp_path: Path) -> None:
    """Keras 3 goes by the order in the file; two layers of one shape would be taken for each other."""
    square = {"kernel": numbers(3, 3), "bias": numbers(3)}
    other = {key: -value for key, value in square.items()}
    config = sequence(layer("Dense", "a", units=3, **START), layer("Dense", "b", units=3))
    path = written(tmp_path / "right.h5", config, {"a": square, "b": other})
    wanted = (ROW @ square["kernel"] + square["bias"]) @ other["kernel"] + other["bias"]
    torch.testing.assert_close(said(path, ROW), wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(BadModel, match="reads the weights of 'a' into another layer"):
        open_file(written(tmp_path / "wrong.h5", config, {"b": other, "a": square}))


def test_what_keras_3_writes_is_left_as_it_is(tmp_path: Path) -> None:
    """Its hard sigmoid is its own, whatever Keras 2's was."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Activation("hard_sigmoid")])
    model.save(tmp_path / "new.h5")
    x = torch.tensor([[-1.0, 0.5, 2.0]])
    torch.testing.assert_close(said(tmp_path / "new.h5", x), x / 6 + 0.5)
    old = sequence(layer("Activation", "a", activation="hard_sigmoid", **START))
    torch.testing.assert_close(said(written(tmp_path / "old.h5", old, {}), x), hard(x))


@pytest.mark.parametrize("kind", ["CuDNNLSTM", "Merge", "LocallyConnected2D"])
def test_layers_that_are_gone_are_named_with_two_ways_out(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path / "old.h5", sequence(layer(kind, "l", batch_input_shape=[None, 4, 3])), {})
    with pytest.raises(BadModel, match=f"layer 'l' of class {kind}, which Keras 3 no longer has") as why:
        open_file(path)
    assert "custom=" in why.value.hint and "keras<3" in why.value.hint


def test_a_broken_description_is_refused_not_mended(tmp_path: Path) -> None:
    deep: Any = layer("Dense", "d", units=2)
    for _ in range(300):
        deep = layer("TimeDistributed", "t", layer=deep)
    with pytest.raises(BadModel, match="levels"):
        open_file(written(tmp_path / "deep.h5", sequence(deep), {}))
    with pytest.raises(BadModel):
        open_file(written(tmp_path / "odd.h5", {"class_name": "Sequential", "config": 7}, {}))
    assert torch.isfinite(said(written(tmp_path / "whole.h5", LEGACY["a list of layers"][0], {"d": DENSE}), ROW)).all()
