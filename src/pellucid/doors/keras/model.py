"""Keras 3 models, on its torch backend: `.keras` archives, whole models in HDF5 (Keras 2's too), and model objects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from pellucid.core.errors import BadModel, PellucidError
from pellucid.core.head import Head, Unit
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors.files import printable
from pellucid.doors.keras.layout import KerasPictures, keeps_channels_last
from pellucid.doors.keras.package import keras
from pellucid.doors.pictures.reading import read

_HEADS = ("softmax", "sigmoid")


def open_file(
    path: Path | str,
    *,
    preparation: Preparation | None = None,
    trusted: bool = False,
    architecture: object = None,
    custom: Mapping[str, Any] | None = None,
) -> Network:
    """A Keras model from a `.keras` archive or an HDF5 file that holds a whole model.

    No code in the file is ever run, `trusted` or not: `Lambda` layers and classes that are not Keras's own are named
    and refused before anything is built; `custom` gives classes of your own by name.  A softmax at the end (or one
    sigmoid unit) is taken off, so that scores are what is explained; `notes` says so.  Raises `BadModel` for what
    cannot be opened, and `Missing` without Keras.
    """
    path, package, own = Path(path), keras(), dict(custom or {})
    from pellucid.doors.keras.file import checked_copy
    from pellucid.doors.keras.restored import restore

    shown = printable(path.name)
    with checked_copy(path, own) as copy:
        try:
            model = package.saving.load_model(copy, custom_objects=own, compile=False, safe_mode=True)
        except PellucidError:
            raise
        except Exception as error:  # the layers of every kind of model raise whatever they raise
            reason = printable((str(error).strip().splitlines() or [""])[-1], 240)
            hint = "Build the model in Python, fill it with model.load_weights(path), then pl.open(model)."
            raise BadModel(f"Keras cannot build {shown}: {type(error).__name__}: {reason}", hint) from error
        if not isinstance(model, nn.Module):
            raise BadModel(f"{shown} holds a {type(model).__name__}, not a model.", "Save a keras.Model.")
        restore(package, model, copy, shown)
    said = _said(_head(package, model))
    notes = _scores_bared(package, model)
    return _network(model, preparation, path.stem, notes, "logit" if said == "sigmoid" and notes else "score")


def open_model(model: Any, *, preparation: Preparation | None = None, name: str = "") -> Network:
    """A Keras model object: functional, sequential or subclassed.  It is not altered, its weights are shared.

    Pictures are given with their channels first, whatever the model's own order.  Raises `BadModel` when it runs on
    another backend than torch, or has no weights yet.

    >>> from pellucid.doors.keras.package import keras
    >>> layers, Sequential = keras().layers, keras().Sequential
    >>> net = open_model(Sequential([keras().Input((8, 9, 3)), layers.Conv2D(4, 3), layers.GlobalMaxPool2D()]))
    >>> net.model(__import__("torch").zeros(1, 3, 8, 9)).shape
    torch.Size([1, 4])
    """
    package = keras()
    if not isinstance(model, nn.Module):
        raise BadModel(
            f"This {type(model).__name__} is a Keras model that does not run on torch.",
            "Save it with model.save('model.keras'), and open the file where KERAS_BACKEND=torch.",
        )
    if not model.built:
        raise BadModel(f"{type(model).__name__} has no weights yet: it was never built.", "Run it once on real input.")
    notes = []
    if (head := _head(package, model)) is not None:
        notes.append(
            f"The model puts out {_said(head)}; what it says before that is explained better: leave out the last "
            "activation, or open its .keras file, where Pellucid takes it off."
        )
    unit: Unit = "probability" if _said(head) == "sigmoid" else "score"
    return _network(model, preparation, name or str(getattr(model, "name", "")), notes, unit)


def _network(model: Any, preparation: Preparation | None, name: str, notes: list[str], unit: Unit) -> Network:
    last = keeps_channels_last(model, keras().config.image_data_format())
    module = KerasPictures(model, last)
    if any(g.turned for g in module.inputs.given):
        notes.append("Keras keeps channels last; here pictures and maps have them first: [batch, channels, ...].")
    if preparation is None:
        preparation, why = stated_inside(model, module)
        notes += [why] if why else []
    return Network(
        module, inputs=module.argument_names, preparation=preparation, name=name, reader=read, notes=notes,
        head=_scores(model, last, unit),
    )  # fmt: skip


def _scores(model: Any, last: bool, unit: Unit) -> Head | None:
    """What the only output of a model says by its shape; None where that is not one of scores or of maps of them."""
    shapes = _output_shapes(model)
    if len(shapes) != 1 or len(shapes[0]) not in (2, 4):
        return None
    scores = shapes[0][-1 if last else 1]
    return Head(int(scores), unit) if scores else None


def _output_shapes(model: Any) -> list[tuple[int | None, ...]]:
    try:
        return [tuple(output.shape) for output in model.outputs or ()]
    except (AttributeError, ValueError):  # a subclassed model's layers have no known order
        return []


def _head(package: Any, model: Any) -> Any:
    """The last layer, when it is the only output and ends in a softmax or in one sigmoid unit."""
    layers = list(getattr(model, "layers", ()))
    outputs: Any
    try:
        outputs = model.outputs or ()
    except (AttributeError, ValueError):  # a subclassed model's layers have no known order
        return None
    if len(outputs) != 1 or not layers:
        return None
    layer = getattr(getattr(outputs[0], "_keras_history", None), "operation", None) or layers[-1]
    if isinstance(layer, package.Model):
        return _head(package, layer)
    said, units = _said(layer), outputs[0].shape[-1]
    return layer if said == "softmax" or (said == "sigmoid" and units == 1) else None


def _said(layer: Any) -> str:
    function = type(layer).__name__ if type(layer).__name__ == "Softmax" else getattr(layer, "activation", None)
    name = str(getattr(function, "__name__", function)).lower()
    return name if name in _HEADS else ""


def _scores_bared(package: Any, model: Any) -> list[str]:
    """Take the last activation off a model that is nobody else's, and say so."""
    head = _head(package, model)
    if head is None or not hasattr(head, "activation"):
        return []
    said, head.activation = _said(head), package.activations.linear
    return [f"The {said} at the end of the model was taken off: its scores before it are explained."]


def stated_inside(model: Any, module: KerasPictures) -> tuple[Preparation | None, str]:
    """How pictures become the input, as far as the model's first layers tell, or a sentence that says what is unknown.

    A Rescaling layer of 1/255 takes what image files hold, 0 to 255.  Size is the input's; the whole picture is put
    into it with the filter that Keras's own image loading uses.
    """
    shape = module.inputs.given[0].wanted if len(module.inputs.given) == 1 else None
    if shape is None or len(shape) != 3:
        return None, ""
    channels, height, width = shape
    if channels is None or channels not in (1, 3):
        return None, ""
    top = _first_range(model)
    if top is None:
        return None, "The model does not say how pictures are prepared for it: give preparation=pl.Preparation(...)."
    if height is None or height != width:
        size = "pictures of any size" if height is None else f"{height} x {width} pictures"
        return None, f"It takes {size} with values 0 to {top:g}; give tensors, or say preparation=pl.Preparation(...)."
    source = f"a layer inside the model, which takes values 0 to {top:g} (size and filter as Keras loads pictures)"
    mean, std = (0.0,) * channels, (1 / top,) * channels
    return Preparation(height, 1.0, mean, std, "bilinear", squeezed=True, source=source), ""


def _first_range(model: Any) -> float | None:
    """The largest value, 1 or 255, of the pictures that the model's first layers bring to its own range."""
    for layer in _first_layers(model):
        kind = type(layer).__name__
        if kind == "Rescaling":
            scale, offset = layer.scale, layer.offset
            if not all(isinstance(v, int | float) for v in (scale, offset)):
                return None
            ends = sorted((float(offset), float(offset) + 255 * float(scale)))
            if max(map(abs, ends)) <= 2.01:  # 0..255 comes out as 0..1 or -1..1
                return 255.0
            ends = sorted((float(offset), float(offset) + float(scale)))
            return 1.0 if max(map(abs, ends)) <= 2.01 else None
        if kind == "Normalization" and getattr(layer, "mean", None) is not None:
            mean, deviation = (float(v.max()) for v in (layer.mean, layer.variance))
            mean, deviation = mean, math.sqrt(max(deviation, 0))
            if 0 < mean < 1 and 0 < deviation < 1:
                return 1.0
            return 255.0 if 20 < mean < 255 and 5 < deviation < 255 else None
    return None


def _first_layers(model: Any) -> Iterator[Any]:
    """The layers from the input on, into nested models, up to the first one that has weights to learn."""
    for layer in getattr(model, "layers", ()):
        if hasattr(layer, "layers"):
            yield from _first_layers(layer)
            return
        yield layer
        if layer.trainable_weights:
            return
