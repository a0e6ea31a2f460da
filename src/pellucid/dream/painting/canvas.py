"""What is dreamed on: the size and range of one input of a network, and how drawn values become what it sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption
from pellucid.core.network import Network
from pellucid.core.option import Range, options_of
from pellucid.core.preparation import Preparation
from pellucid.core.tensors import Inputs, Tensors, as_tensors

FEW = (1, 3, 4)  # channels of a picture: an axis of so many at the end, and of more in front, is the channels' axis


@dataclass(frozen=True, slots=True)
class Canvas:
    """One input that is dreamed, `[channels, *size]` with values in 0..1; `others` are held as they were given.

    `native`: the size that the network takes, and `takes` the type of its numbers.  `low` and `high` are what 0 and 1
    stand for where no preparation says more.  `source` says where the range is from.  `last`: the network takes the
    channels as its last axis, as Keras does.
    """

    input: str
    channels: int
    size: tuple[int, ...]
    native: tuple[int, ...]
    preparation: Preparation | None
    low: float
    high: float
    takes: torch.dtype
    device: torch.device
    others: Tensors
    source: str
    last: bool = False

    def to(self, device: torch.device) -> Canvas:
        """The same canvas on another device."""
        return replace(self, device=device, others={k: v.to(device) for k, v in self.others.items()})

    @property
    def dtype(self) -> torch.dtype:
        """What is painted in: as precise as what the network takes, and at least single."""
        return torch.promote_types(self.takes, torch.float32)

    @property
    def colors(self) -> bool:
        """Is it a color picture, as far as anybody knows?"""
        return self.channels == 3 and len(self.size) == 2

    def fed(self, drawn: Tensor) -> Tensors:
        """Drawn values `[n, channels, *size]` in 0..1 as the network takes them, beside the other inputs."""
        if self.preparation is not None:
            x = self.preparation.normalize(drawn)
        else:
            x = self.low + (self.high - self.low) * drawn
        n = len(drawn)
        others = {k: v[torch.arange(n, device=v.device) % len(v)] for k, v in self.others.items()}  # each its own
        x = x.movedim(1, -1) if self.last else x
        return {self.input: x.to(self.takes), **others}

    def drawn(self, x: Tensor) -> Tensor:
        """What the network takes, back to values in 0..1; those beyond are cut."""
        x = x.detach().to(self.dtype)
        x = x.movedim(-1, 1) if self.last else x
        if self.preparation is not None:
            return self.preparation.restore(x)
        return ((x - self.low) / ((self.high - self.low) or 1.0)).clamp(0, 1)


def canvas_of(net: Network, like: Inputs | None = None, size: int | None = None) -> Canvas:
    """The canvas for a network's first floating input.

    `like` is an example, a batch of inputs: it gives the shape and, where no preparation is known, the range (its least
    and largest value).  `size` is the canvas's shorter side in pixels; by default it is as the network takes it.
    Raises `BadInput` when neither a preparation nor an example says what the network takes, and `BadOption` for a
    `size` that is none.

    >>> canvas_of(Network(torch.nn.Flatten(), preparation=Preparation(size=8)), size=12).size
    (12, 12)
    """
    if like is not None:
        found = _like(net, as_tensors(like, net.inputs))
    elif net.preparation is not None:
        p, device = net.preparation, device_of(net)
        weight = next((w for w in net.model.parameters() if w.is_floating_point()), torch.empty(0))
        source = f"The range of colors is the network's preparation ({p.source})."
        native = (p.size, p.size)
        found = Canvas(net.inputs[0], p.channels, native, native, p, 0.0, 1.0, weight.dtype, device, {}, source)
    else:
        raise BadInput(
            f"{net.name} does not say what its input looks like, so there is nothing to dream on.",
            "Give an example: like=x, a batch of typical inputs.",
        )
    return found if size is None else _sized(found, size=size)


def _sized(canvas: Canvas, *, size: Annotated[int, Range(2, 16_384), "pixels on the shorter side"]) -> Canvas:
    if not canvas.size:
        raise BadOption(f"size={size}: {canvas.input!r} has no space.", "Leave it out.")
    (declared,) = options_of(_sized)
    size = declared.check(size)
    shorter = min(canvas.size)
    return replace(canvas, size=tuple(max(1, round(n * size / shorter)) for n in canvas.size))


def canvas_under(net: Network, given: Tensors) -> Canvas:
    """The canvas of real inputs, one picture a sample: each keeps its own other inputs."""
    found = canvas_of(net, given)
    return replace(found, others={k: v.detach().to(found.device) for k, v in given.items() if k != found.input})


def device_of(net: Network) -> torch.device:
    """Where the network's weights are."""
    return next((p.device for p in net.model.parameters()), torch.device("cpu"))


def _like(net: Network, x: Tensors) -> Canvas:
    name = next((k for k, v in x.items() if v.is_floating_point() and v.ndim > 1), None)
    if name is None:
        raise BadInput(
            "The example has no floating input that could be dreamed.", "Words are dreamed by pl.dream.words."
        )
    v, device = x[name].detach(), device_of(net)
    last = v.ndim >= 4 and v.shape[-1] in FEW and v.shape[1] not in FEW
    v = v.movedim(-1, 1) if last else v
    size = tuple(v.shape[2:])
    if len(size) > 3:
        raise BadInput(f"Input {name!r} is {tuple(v.shape)}; at most three axes of space can be dreamed.")
    p = net.preparation
    if p is not None and (v.ndim != 4 or p.channels != v.shape[1]):
        p = None  # it speaks of pictures of other channels
    low, high = float(v.min()), float(v.max())
    if p is None and not low < high:
        raise BadInput(f"The example {name!r} is {low:g} everywhere, which gives no range.", "Give typical inputs.")
    source = f"The range, {low:.3g} to {high:.3g}, is the example's: no preparation is known."
    if p is not None:
        low, high, source = 0.0, 1.0, f"The range of colors is the network's preparation ({p.source})."
    others = {k: u[:1].detach().to(device) for k, u in x.items() if k != name}
    return Canvas(name, v.shape[1], size, size, p, low, high, v.dtype, device, others, source, last)
