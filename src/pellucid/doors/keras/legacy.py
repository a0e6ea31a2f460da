"""Configurations of Keras 1 and 2 as Keras 3 reads them: data is rewritten, nothing is built.

Keras 3 opens most of what Keras 2 wrote, and misreads some of it: the shape that the first layer carries, with its
batch, is taken for one without; layers inside of layers are not found; entries that say nothing are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeGuard

from pellucid.doors.keras.keras_1 import as_keras_2

Config: TypeAlias = dict[str, Any]
_DEPTH = 100  # layers within layers; what lies deeper is refused later on
_IDLE = frozenset(("batch_input_shape", "implementation", "input_length"))  # change nothing in what a layer computes
_GROUPLESS = ("Depthwise", "Separable")  # layers that have no groups, but whose class in Keras 2 had a parent with them
_FACTORED = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")  # their parent's one kernel
_RENAMED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "LeakyReLU": ("LeakyReLU", {"alpha": "negative_slope"}),
    "ThresholdedReLU": ("ReLU", {"theta": "threshold"}),
}
_INNER = ("layer", "backward_layer", "cell", "cells")


def modern(described: Any, version: int, depth: int = 0) -> Any:
    """The description of a model or layer as Keras 3 reads it; what is not one is given back as it is.

    `version`: of the Keras that wrote it, 1 or 2.

    >>> layer = {"class_name": "Dense", "config": {"name": "d", "units": 2, "batch_input_shape": [None, 3]}}
    >>> [part["class_name"] for part in modern({"class_name": "Sequential", "config": [layer]}, 2)["config"]["layers"]]
    ['InputLayer', 'Dense']
    """
    if not _is_description(described) or depth > _DEPTH:
        return described
    kind, config = described["class_name"], described["config"]
    if isinstance(config, list) and kind == "Sequential":  # until Keras 2.2 it was nothing but its layers
        config = {"name": "sequential", "layers": config}
    if not isinstance(config, dict):
        return described
    if isinstance(layers := config.get("layers"), list):
        parts = [modern(part, version, depth + 1) for part in layers]
        start = list(_start(layers)) if kind == "Sequential" else []
        return {**described, "config": {**config, "layers": [*start, *parts]}}
    kind, config = as_keras_2(kind, config) if version == 1 else (kind, config)
    kind, names = _RENAMED.get(kind, (kind, {}))
    config = {names.get(key, key): value for key, value in config.items()}
    return {**described, "class_name": kind, "config": _layer(kind, config, version, depth)}


def _is_description(value: Any) -> TypeGuard[Config]:
    return isinstance(value, dict) and isinstance(value.get("class_name"), str) and "config" in value


def _start(layers: list[Any]) -> Iterator[Config]:
    """The input that a sequence begins with, where its first layer carries the shape."""
    first = layers[0] if layers else None
    if not _is_description(first) or first["class_name"] == "InputLayer" or not isinstance(first["config"], dict):
        return
    config = first["config"]
    shape = config.get("batch_input_shape")
    if isinstance(shape, list):
        kind = "int32" if first["class_name"] == "Embedding" else "float32"
        given = {"name": f"{config.get('name', 'layer')}_input", "batch_shape": shape, "dtype": kind}
        yield {"class_name": "InputLayer", "config": given}


def _layer(kind: str, config: Config, version: int, depth: int) -> Config:
    """The entries of one layer."""
    if kind == "InputLayer":
        shape = config.get("batch_shape", config.get("batch_input_shape"))
        dtype = _value("dtype", config.get("dtype") or "float32", version, depth)
        return {"name": config.get("name"), "batch_shape": shape, "dtype": dtype}
    kept = {k: v for k, v in config.items() if not _says_nothing(kind, k, v)}
    found = {key: _value(key, value, version, depth) for key, value in kept.items()}
    if kind in ("GRU", "GRUCell"):  # Keras 2 before it knew of another way
        found.setdefault("reset_after", False)
    return found


def _says_nothing(kind: str, key: str, value: Any) -> bool:
    """Is it an entry that Keras 3 does not know, of the one value that Keras 2 computed with?"""
    factored = kind.startswith(_GROUPLESS)
    if key == "groups":
        return value == 1 and (factored or "Transpose" in kind)
    return key in _IDLE or (key == "time_major" and value is False) or (factored and key in _FACTORED)


def _value(key: str, value: Any, version: int, depth: int) -> Any:
    """One entry's value: policies by their name, initializers without a type, layers within layers findable."""
    if key in _INNER:
        return [_inner(v, version, depth) for v in value] if isinstance(value, list) else _inner(value, version, depth)
    if key == "axis" and isinstance(value, list) and len(value) == 1:
        return value[0]
    if isinstance(value, str) and key.endswith("activation"):
        return value.removesuffix("_v2")  # what TensorFlow called its second softmax
    if isinstance(value, dict) and value.get("type") == "ndarray":
        return value.get("value")
    if not _is_description(value) or not isinstance(value["config"], dict):
        return value
    if key == "dtype":
        return value["config"].get("name", "float32")
    if key.endswith("initializer"):
        return {**value, "config": {k: v for k, v in value["config"].items() if k != "dtype"}}
    return value


def _inner(value: Any, version: int, depth: int) -> Any:
    """A layer inside of a layer, with the place where Keras 3 looks for its class."""
    found = modern(value, version, depth + 1)
    if not _is_description(found) or "module" in found:
        return found
    whole = found["class_name"] in ("Sequential", "Functional", "Model")
    return {**found, "module": "keras" if whole else "keras.layers", "registered_name": None}
