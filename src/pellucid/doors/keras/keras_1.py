"""What Keras 1 called its layers and their settings, and what Keras 2 called them.

From Keras 2's own table of what it had renamed (keras/legacy/interfaces.py of release 2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CLASSES = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "SeparableConvolution2D": "SeparableConv2D",
}
_SETTINGS = {
    "nb_filter": "filters",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "stride": "strides",
    "filter_length": "kernel_size",
    "pool_length": "pool_size",
    "atrous_rate": "dilation_rate",
    "length": "size",
    "inner_activation": "recurrent_activation",
    "bias": "use_bias",
    "p": "rate",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "dim_ordering": "data_format",
}
_SIDES = ("kernel_dim1", "kernel_dim2", "kernel_dim3", "nb_row", "nb_col")
_UNITS = ("Dense", "LSTM", "GRU", "SimpleRNN")  # Embedding has an output_dim of its own in Keras 3, too
_ORDERS: Mapping[Any, str] = {"th": "channels_first", "tf": "channels_last"}
_TRAINING = ("regularizer", "constraint", "init")  # how a name ends that says nothing of what is computed
_IDLE = ("input_dtype", "consume_less")


def as_keras_2(kind: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A layer's class and settings by the names that Keras 2 gave them.

    >>> as_keras_2("Convolution2D", {"nb_filter": 4, "nb_row": 3, "nb_col": 5, "init": "uniform", "dim_ordering": "th"})
    ('Conv2D', {'filters': 4, 'data_format': 'channels_first', 'kernel_size': [3, 5]})
    """
    kind = _CLASSES.get(kind, kind)
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key in _IDLE or key.endswith(_TRAINING) or (key == "mode" and value == 0):
            continue
        if key == "dropout" and kind == "Embedding" and not value:
            continue
        if key == "input_dim" and kind != "Embedding":
            continue
        name = "units" if key == "output_dim" and kind in _UNITS else _SETTINGS.get(key, key)
        found[name] = _ORDERS.get(value, value) if name == "data_format" else value
    sides = [
        found.pop(key) for key in ("kernel_dim1", "kernel_dim2", "kernel_dim3", "nb_row", "nb_col") if key in found
    ]
    return kind, {**found, "kernel_size": sides} if sides else found
