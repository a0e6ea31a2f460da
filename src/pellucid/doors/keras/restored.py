"""A model as its file meant it: functions that have changed since, and every weight in the layer of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pellucid.core.errors import BadModel
from pellucid.core.names import module_paths
from pellucid.doors.files import printable
from pellucid.doors.keras.file import written_by


def restore(package: Any, model: Any, path: Path, shown: str) -> None:
    """Give a model from an HDF5 file the functions of the Keras that wrote it, and look at where its weights went.

    Keras 3 reads weights by the order of layers, whatever their names.  Raises `BadModel` where one landed elsewhere.
    """
    if path.suffix != ".h5":
        return
    import h5py

    with h5py.File(path, "r") as file:
        if written_by(file) < 3:
            _with_old_functions(package, model)
        stored: Any = file["model_weights"]
        for name, group in stored.items():
            layer = next((v for v in model.layers if v.name == name), None)
            arrays: list[Any] = []
            group.visititems(lambda _, v, found=arrays: found.append(v[()]) if isinstance(v, h5py.Dataset) else None)
            held = [] if layer is None else [w.value.detach().cpu().numpy() for w in layer.variables]
            if layer is not None and not all(any(_same(a, v) for v in held) for a in arrays):
                raise BadModel(
                    f"{shown}: Keras {package.version()} reads the weights of {printable(name)!r} into another layer.",
                    "Build the model in Python, fill it with model.load_weights(path), then pl.open(model).",
                )


def _same(stored: Any, held: Any) -> bool:
    """Are these the numbers of a file, in the layer's own type?"""
    return np.array_equal(stored.astype(held.dtype), held, equal_nan=held.dtype.kind == "f")


def _with_old_functions(package: Any, model: Any) -> None:
    """Keras 2 had a steeper hard sigmoid: a fifth of x, and a half; since Keras 3 it is a sixth."""

    def hard_sigmoid(x: Any) -> Any:
        return package.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

    for layer in module_paths(model).values():
        holder = getattr(layer, "cell", layer)
        for name in ("activation", "recurrent_activation"):
            if getattr(holder, name, None) is package.activations.hard_sigmoid:
                setattr(holder, name, hard_sigmoid)
