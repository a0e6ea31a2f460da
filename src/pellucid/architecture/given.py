"""What a network is run on for its map: the input that was given, one of a shape, or one that the network names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.doors.onnx.running.values import named_dtype

Given: TypeAlias = Tensor | Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """How the network is called.  `real`: the numbers mean something, so that activations are worth looking at."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    real: bool
    said: str = ""


def call_of(x: Any, model: nn.Module) -> Call:
    """The call for an input: tensors, or shapes (a tuple of numbers, several of them, or either by name).

    Of a shape zeros are made, whole numbers where the network begins with an embedding.  Raises `BadInput` for anything
    else.

    >>> call_of((1, 3, 8, 8), nn.Conv2d(3, 4, 3)).args[0].shape
    torch.Size([1, 3, 8, 8])
    """
    if isinstance(x, Mapping):
        named = {str(name): _tensor(v, model) for name, v in x.items()}
        return Call((), named, all(isinstance(v, Tensor) for v in x.values()))
    if isinstance(x, Tensor):
        return Call((_tensor(x, model),), {}, real=not x.is_meta)
    if isinstance(x, Sequence) and not isinstance(x, str) and x:
        if all(isinstance(v, int) for v in x):
            return Call((_tensor(x, model),), {}, real=False)
        several = tuple(_tensor(v, model) for v in x)
        return Call(several, {}, all(isinstance(v, Tensor) for v in x))
    raise BadInput(
        f"{x!r} is no input for a map.", "Give a tensor, several by name, or a shape such as (1, 3, 224, 224)."
    )


def _tensor(v: Any, model: nn.Module) -> Tensor:
    if isinstance(v, Tensor):
        weight = next((p for p in model.parameters() if p.is_floating_point() and not p.is_meta), None)
        if weight is None or v.is_meta:
            return v
        return v.detach().to(weight.device, weight.dtype if v.is_floating_point() else v.dtype)
    if not isinstance(v, Sequence) or not all(isinstance(n, int) and n >= 0 for n in v):
        raise BadInput(f"{v!r} is no shape.", "Write whole numbers, batch first: (1, 3, 224, 224).")
    return torch.zeros(tuple(v), dtype=_dtype(model), device=_device(model))


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
    if net is not None and net.preparation is not None:
        p = net.preparation
        shape = (1, p.channels, p.size, p.size)
        return Call((_zeros(shape, model),), {}, real=False, said=f"zeros of {_x(shape)}, as its preparation says")
    if size := _usual(model):
        return Call((_zeros(size, model),), {}, real=False, said=f"zeros of {_x(size)}, as its package does")
    for dummy, who in ((_dummies(model), "configuration"), (_stated(model), "file")):
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
        side = getattr(model, "image_size", 299 if type(model).__name__ == "Inception3" else 224)
        return (1, 3, side, side) if isinstance(side, int) else ()
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
    """What a Hugging Face model is called with: pixels of its own size, or token ids."""
    config, main = getattr(model, "config", None), getattr(model, "main_input_name", "")
    vision = getattr(config, "vision_config", None) or config
    size, channels = getattr(vision, "image_size", None), getattr(vision, "num_channels", None)
    found: dict[str, Tensor] = {}
    if isinstance(size, list | tuple) and len(size) == 2:
        size = tuple(size)
    elif isinstance(size, int):
        size = (size, size)
    if main == "pixel_values" and size and channels:
        found[main] = _zeros((1, channels, *size), model)
    elif main == "input_ids":
        ids = torch.arange(3, 11, device=_device(model))[None]
        found[main] = ids
        text = getattr(config, "text_config", None) or config
        if getattr(text, "is_encoder_decoder", False):
            found["decoder_input_ids"] = ids
        if getattr(config, "vision_config", None) is not None and size and channels:
            found["pixel_values"] = _zeros((1, channels, *size), model)
    return found
