"""What a network is run on for its map: the input that was given, one of a shape, or one that the network names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput
from pellucid.core.names import arguments_of
from pellucid.core.network import Network
from pellucid.core.structure import leaves, named_tensors, rebuilt
from pellucid.doors.files import printable
from pellucid.doors.onnx.running.values import named_dtype
from pellucid.doors.transformers.example import example

Given: TypeAlias = Any  # whatever `forward` takes: tensors, shapes, lists, mappings, objects, settings
LARGEST = 2 << 30  # bytes of an input that is made of its shape alone


@dataclass(frozen=True, slots=True)
class Call:
    """How the network is called.  `real`: the numbers mean something, so that activations are worth looking at."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    real: bool
    said: str = ""

    @property
    def what(self) -> str:
        """Words for what it is run on: as it was said, or by its shapes."""
        named = dict(named_tensors(dict(enumerate(self.args)) if self.args else dict(self.kwargs)))
        shapes = [(f"{n} " if self.kwargs else "") + _x(tuple(v.shape)) for n, v in named.items()]
        return self.said or f"zeros of {', '.join(shapes)}"


def call_of(x: Any, model: nn.Module) -> Call:
    """The call for an input: what `forward` takes, as it takes it, with shapes in the place of tensors or without.

    A tensor, a tuple of numbers (its shape) or any object with tensors in it is the one argument; a tuple is several;
    a list is several too, unless `forward` says that it takes one; a mapping gives arguments by name, unless none of
    the names is one of `forward`'s.  Of a shape zeros are made, whole numbers where the network begins with an
    embedding.  Settings (texts, numbers, None) are handed on as they are.  Raises `BadInput` for anything else, for a
    shape without numbers, and for one of more than 2 GiB.

    >>> call_of((1, 3, 8, 8), nn.Conv2d(3, 4, 3)).args[0].shape
    torch.Size([1, 3, 8, 8])
    """
    args, kwargs = _arranged(x, model)
    made: list[Tensor] = []
    args = tuple(_argument(v, model, made) for v in args)
    kwargs = {name: _argument(v, model, made) for name, v in kwargs.items()}
    tensors = leaves((args, kwargs), deep=True)
    if not tensors:
        raise _no_input(x)
    return Call(args, kwargs, real=not made and not any(v.is_meta for v in tensors))


def _arranged(x: Any, model: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What is given by place, and what by name."""
    takes = arguments_of(model)
    if isinstance(x, Mapping):
        named = {str(name): v for name, v in x.items()}
        alone = takes.by_place and not takes.any_name and named.keys().isdisjoint((*takes.by_place, *takes.by_name))
        return ((x,), {}) if alone else ((), named)
    if not isinstance(x, tuple | list) or hasattr(x, "_fields") or all(type(v) is int for v in x):
        return (x,), {}
    too_many = not takes.any_place and len(x) > len(takes.by_place)
    if isinstance(x, list) and (takes.lists or too_many):
        return (x,), {}
    if too_many:
        what = f"{len(x)} inputs were given; the network takes {len(takes.by_place)}."
        raise BadInput(what, f"It takes: {', '.join((*takes.by_place, *takes.by_name)) or 'nothing'}.")
    return tuple(x), {}


def _no_input(x: Any) -> BadInput:
    """What was given, by its kind where showing it would show all of its numbers."""
    if hasattr(x, "__array__"):
        shape = f" of shape {tuple(x.shape)}" if hasattr(x, "shape") else ""
        what = f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}{shape}"
        return BadInput(f"A {what} is no input for a map.", "Give a tensor: torch.from_numpy(x).")
    shown = f"{type(x).__name__} {x!r}" if len(repr(x)) <= 80 else type(x).__name__
    return BadInput(
        f"{shown} is no input for a map.", "Give a tensor, several by name, or a shape such as (1, 3, 224, 224)."
    )


def _argument(v: Any, model: nn.Module, made: list[Tensor]) -> Any:
    """One argument as the network takes it; the zeros that are made for shapes in it are put on a list."""
    if hasattr(v, "__array__") and not isinstance(v, Tensor):
        raise _no_input(v)
    if _is_shape(v):
        shape, dtype, device = tuple(int(n) for n in v), _dtype(model), _device(model)
        _refuse_unusable(shape, dtype, device)
        made.append(torch.zeros(shape, dtype=dtype, device=device))
        return made[-1]
    if type(v) in (list, tuple) and not leaves(v):
        if v and all(isinstance(n, int) for n in v):
            raise BadInput(
                f"{printable(repr(v), 80)} is no shape.", "Write whole numbers, batch first: (1, 3, 224, 224)."
            )
        return type(v)(_argument(part, model, made) for part in v)
    if type(v) is dict and not leaves(v):
        return {key: _argument(part, model, made) for key, part in v.items()}
    weight = next((p for p in model.parameters() if p.is_floating_point() and not p.is_meta), None)
    return v if weight is None else rebuilt(v, partial(_like, weight), deep=True)


def _like(weight: Tensor, v: Tensor) -> Tensor:
    """The tensor on the device, and a floating one in the type, of the weights."""
    dtype = weight.dtype if v.is_floating_point() else v.dtype
    fits = v.is_meta or (v.device == weight.device and v.dtype == dtype)
    return v if fits else v.detach().to(weight.device, dtype)


def _is_shape(v: Any) -> bool:
    return isinstance(v, tuple | list) and bool(v) and all(type(n) is int and n >= 0 for n in v)


def _refuse_unusable(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    if 0 in shape:
        raise BadInput(f"An input of {_x(shape)} holds no numbers.", "Write sizes of 1 or more, batch first.")
    size = prod(shape) * dtype.itemsize
    if size > LARGEST and device.type != "meta":
        raise BadInput(
            f"An input of {_x(shape)} would take {size / 2**30:,.1f} GiB; at most {LARGEST / 2**30:.0f} GiB are made.",
            "Give a smaller shape.",
        )


def _dtype(model: nn.Module) -> torch.dtype:
    """Whole numbers for a network whose first weight is an embedding's, else the type of its weights."""
    first = next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), None)
    if isinstance(first, nn.Embedding | nn.EmbeddingBag):
        return torch.long
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def guessed(model: nn.Module, net: Network | None) -> Call | None:
    """An input that the network itself says fits it: by its preparation, or by a Hugging Face configuration.

    None where it says nothing: a wrong guess would draw a wrong map.
    """
    dummies = _dummies(model)
    if net is not None and net.preparation is not None and len(dummies) < 2:
        p = net.preparation
        shape = (1, p.channels, p.size, p.size)
        return Call((_zeros(shape, model),), {}, real=False, said=f"zeros of {_x(shape)}, as its preparation says")
    if size := _usual(model):
        count = 2 if "optical_flow" in type(model).__module__ else 1
        shown = " and ".join([_x(size)] * count)
        given = tuple(_zeros(size, model) for _ in range(count))
        return Call(given, {}, real=False, said=f"zeros of {shown}, as its package's networks mostly take them")
    for dummy, who in ((dummies, "configuration"), (_stated(model), "file")):
        if dummy:
            return Call((), dummy, real=False, said=said_of(dummy, who))
    return None


def said_of(inputs: Mapping[str, Tensor], who: str = "configuration") -> str:
    """Words for stand-ins: their names and shapes, and who names them."""
    shown = ", ".join(f"{name} {_x(tuple(v.shape))}" for name, v in inputs.items())
    return f"stand-ins that its {who} names: {shown}"


def _usual(model: nn.Module) -> tuple[int, ...]:
    """What networks of timm and torchvision are made for; nothing for others."""
    stated = getattr(model, "pretrained_cfg", None)
    size = stated.get("input_size") if isinstance(stated, dict) else None
    if isinstance(size, list | tuple) and len(size) == 3 and all(isinstance(n, int) for n in size):
        return (1, *size)
    if type(model).__module__.startswith("torchvision.models."):
        kind = type(model).__name__
        side = getattr(model, "image_size", {"Inception3": 299, "VideoResNet": 112}.get(kind, 224))
        frames = (16,) if ".video." in type(model).__module__ else ()
        return (1, 3, *frames, side, side) if isinstance(side, int) else ()
    return ()


def _zeros(shape: tuple[int, ...], model: nn.Module) -> Tensor:
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return torch.zeros(shape, dtype=dtype, device=_device(model))


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _stated(model: nn.Module) -> dict[str, Tensor]:
    """Zeros for the inputs that a file tells, one sample; none when any other axis than the first is free."""
    takes: Mapping[str, tuple[tuple[int, ...], str]] = getattr(model, "takes", {})
    return {n: torch.zeros(s, dtype=named_dtype(d), device=_device(model)) for n, (s, d) in takes.items()}


def _dummies(model: nn.Module) -> dict[str, Tensor]:
    """What a transformers model is called with, or the one that another holds: as a map of its configuration has it."""
    known = next((m for m in (model, getattr(model, "clip", None)) if _is_transformers(m)), None)
    if known is None:
        return {}
    takes = signature(model.forward).parameters
    weight = next((p.dtype for p in known.parameters() if p.is_floating_point()), torch.float32)
    try:
        made = example(known)
    except (AttributeError, TypeError, ValueError):  # a configuration of another kind: nothing is known
        return {}
    return {
        name: t.to(_device(model), weight if t.is_floating_point() else t.dtype)
        for name, t in made.items()
        if name in takes
    }


def _is_transformers(model: Any) -> bool:
    return isinstance(model, nn.Module) and hasattr(model, "config") and hasattr(model, "main_input_name")
