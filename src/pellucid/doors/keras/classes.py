"""What a Keras model's configuration would build, looked at before anything is built: Keras's own classes, no code."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.keras.package import keras

_DEPTH = 200  # of lists and mappings within each other
_WEIGHTS_ONLY = "Build the model in Python, fill it with model.load_weights(path), then pl.open(model)."
_PLAIN = frozenset(
    ["__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__"]
)
_CODE = frozenset(("Lambda", "__lambda__", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer"))
_TENSORFLOW = frozenset(
    """TFOpLambda SlicingOpLambda ClassMethod TensorFlowOpLayer StringLookup IntegerLookup TextVectorization Hashing
    HashedCrossing FeatureSpace""".split()  # noqa: SIM905 (read as words)
)
_GONE = frozenset(
    """CuDNNGRU CuDNNLSTM LocallyConnected1D LocallyConnected2D MaxoutDense Highway Merge TimeDistributedDense
    ParametricSoftplus SReLU""".split()  # noqa: SIM905 (read as words)
)
# where a configuration of Keras 2, which names no module, may find its classes
_LEGACY = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies")
_LEGACY_NAMES = frozenset(("Functional", "Policy", "Model"))


def check_classes(config: Any, shown: str, custom: Mapping[str, Any], *, legacy: bool = False) -> None:
    """Raise `BadModel`, naming it, for the first thing in a configuration that is code or not Keras's own.

    `custom` are the user's own classes, by name; `legacy`: a configuration as HDF5 files hold it.
    """
    for described, layer in _described(config, "", 0, shown):
        name = described["class_name"]
        if not isinstance(name, str):
            raise BadModel(f"{shown} names a class by {type(name).__name__}.", "It is damaged: copy it again.")
        where = f"layer {printable(layer)!r}" if layer else "part"
        registered = str(described.get("registered_name") or name)
        if name in custom or registered in custom:
            continue
        if name in _CODE:
            raise BadModel(
                f"{shown} has a {where} of class {name}: code inside of a model file, which Pellucid never runs.",
                _WEIGHTS_ONLY,
            )
        if name in _TENSORFLOW:
            raise BadModel(
                f"{shown} has a {where} of class {name}, which only TensorFlow runs.",
                "Save the model without it, from its first numeric layer on.",
            )
        if name in _GONE:
            raise BadModel(
                f"{shown} has a {where} of class {name}, which Keras 3 no longer has.",
                f"Write it, and give it: pellucid.doors.keras.model.open_file(path, custom={{{name!r}: ...}}); or "
                "replace it with Keras 2 (pip install 'keras<3' 'tensorflow<2.16'), and save the model again.",
            )
        if name not in _PLAIN and not _is_own(described, name, registered, legacy):
            full = registered if ">" in registered else name
            raise BadModel(
                f"{shown} has a {where} of class {printable(full)}, which is not one of Keras's own.",
                f"Give the class: pellucid.doors.keras.model.open_file(path, custom={{{printable(name)!r}: ...}}).",
            )


def _described(tree: Any, layer: str, depth: int, shown: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Every description of an object, with the name of the layer that it belongs to."""
    if depth > _DEPTH:
        raise BadModel(f"{shown} has a configuration of more than {_DEPTH} levels.", "It is damaged: copy it again.")
    if isinstance(tree, list):
        for value in tree:
            yield from _described(value, layer, depth + 1, shown)
    if not isinstance(tree, dict):
        return
    inner = tree.get("config")
    if "class_name" in tree and "config" in tree:
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            layer = inner["name"]
        yield tree, layer
    for key, value in tree.items():
        if key != "compile_config":  # the optimizer and the loss are not built
            yield from _described(value, layer, depth + 1, shown)


def _is_own(described: Mapping[str, Any], name: str, registered: str, legacy: bool) -> bool:
    package, mark, _ = registered.rpartition(">")
    if mark and package.lower() != "keras":
        return False
    module = described.get("module")
    if module is None:
        return legacy and (name in _LEGACY_NAMES or any(_is_part(f"keras.{m}", name) for m in _LEGACY))
    if not isinstance(module, str):
        return False
    if name == "function":  # a named activation
        function = described["config"]
        return isinstance(function, str) and callable(getattr(keras().activations, function, None))
    return _is_part(module, name)


def _is_part(module: str, name: str) -> bool:
    """Is it a class of Keras that models are made of?  Nothing is imported for the answer."""
    if module.partition(".")[0] != "keras" or name.startswith("_"):
        return False
    package = keras()
    kinds: tuple[type, ...] = (
        package.Operation,
        package.Initializer,
        package.regularizers.Regularizer,
        package.constraints.Constraint,
        package.dtype_policies.DTypePolicy,
        package.quantizers.Quantizer,
        package.random.SeedGenerator,
    )
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, kinds) and found.__module__.partition(".")[0] == "keras"
