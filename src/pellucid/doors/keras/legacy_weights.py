"""Weights that Keras 1, or Keras 2 on Theano, kept in another order than Keras 3 reads them in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable

Array = NDArray[Any]
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D")
# where in Keras 1's list the gates are that Keras 2 keeps side by side: input, forget, cell, output; update, reset, new
_GATES = {("LSTM", 12): (0, 6, 3, 9), ("GRU", 9): (0, 3, 6)}


def rewrite(file: Any, config: Any, version: int, shown: str) -> None:
    """Put the weights of an HDF5 file, which may be written to, in the order in which Keras 3 reads them.

    Convolutions turn their kernels over on Theano, which Keras 2 undid when it read a file of it; Keras 3 does not.
    Keras 1 kept kernels of networks with channels first as [out, in, height, width], and each gate by itself.
    """
    theano = _text(file.attrs.get("backend", b"")) == "theano"
    if not theano and version > 1:
        return
    for layer in _layers(config, shown):
        kind, name = layer["class_name"], layer["config"].get("name")
        group = file["model_weights"].get(name) if isinstance(name, str) and "model_weights" in file else None
        if group is None or kind not in (*_CONVOLUTIONS, "LSTM", "GRU"):
            continue
        names = [_text(n) for n in group.attrs.get("weight_names", ())]
        old = [group[n][()] for n in names]
        new = list(old)
        if version == 1:
            new = _of_keras_1(kind, layer["config"], new)
        if theano and kind in _CONVOLUTIONS:
            count = 2 if kind == "ConvLSTM2D" else 1
            new[:count] = [np.flip(v, tuple(range(v.ndim - 2))) for v in new[:count]]
        _store(group, names, new, shown)


def _layers(config: Any, shown: str) -> Iterator[dict[str, Any]]:
    """The layers of a model; raises `BadModel` for models inside of it, whose weights lie in an order of their own."""
    for layer in config["config"].get("layers", ()) if isinstance(config["config"], dict) else ():
        if not (isinstance(layer, dict) and isinstance(layer.get("config"), dict) and "class_name" in layer):
            continue
        if "layers" in layer["config"]:
            raise BadModel(
                f"{shown} was written by Keras 1, or by Keras 2 on Theano, and has models inside of the model.",
                "Open it with Keras 2 on TensorFlow (pip install 'keras<3' 'tensorflow<2.16'), and save it again.",
            )
        yield layer


def _of_keras_1(kind: str, config: dict[str, Any], held: list[Array]) -> list[Array]:
    gates = _GATES.get((kind, len(held)))
    if gates is not None:
        return [np.concatenate([held[g + part] for g in gates], -1) for part in range(3)]
    if kind in ("Conv2D", "Conv3D") and config.get("data_format") == "channels_first":
        return [np.moveaxis(held[0], (0, 1), (-1, -2)), *held[1:]]
    if kind == "Conv1D" and held[0].ndim == 4:  # [length, 1, in, out]
        return [held[0][:, 0], *held[1:]]
    return held


def _store(group: Any, names: Sequence[str], values: Sequence[Array], shown: str) -> None:
    for name in names:
        del group[name]
    for name, value in zip(names, values, strict=False):
        group.create_dataset(name, data=np.ascontiguousarray(value))
    kept = [name.encode() for name in names[: len(values)]]
    if len(values) > len(names):
        raise BadModel(f"{shown}: {printable(group.name)} holds too few weights.", "It is damaged: copy it again.")
    group.attrs["weight_names"] = kept


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
