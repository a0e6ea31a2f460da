"""What is dreamed on: the size and range of one input of a network, and how drawn values become what it sees."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.tensors import Inputs, Tensors, as_tensors


@dataclass(frozen=True, slots=True)
class Canvas:
    """One input that is dreamed, `[channels, *size]` with values in 0..1; `others` are held as they were given.

    `native`: the size that the network takes.  `low` and `high` are what 0 and 1 stand for where no preparation says
    more.  `source` says where the range is from.
    """

    input: str
    channels: int
    size: tuple[int, ...]
    native: tuple[int, ...]
    preparation: Preparation | None
    low: float
    high: float
    dtype: torch.dtype
    device: torch.device
    others: Tensors
    source: str

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
        return {self.input: x, **{k: v.expand(n, *v.shape[1:]) for k, v in self.others.items()}}

    def drawn(self, x: Tensor) -> Tensor:
        """What the network takes, back to values in 0..1; those beyond are cut."""
        if self.preparation is not None:
            return self.preparation.restore(x)
        return ((x - self.low) / ((self.high - self.low) or 1.0)).clamp(0, 1)


def canvas_of(net: Network, like: Inputs | None = None, size: int | None = None) -> Canvas:
    """The canvas for a network's first floating input.

    `like` is an example, a batch of inputs: it gives the shape and, where no preparation is known, the range (its least
    and largest value).  `size` is the canvas's side, of every spatial axis; by default the network's own.  Raises
    `BadInput` when neither a preparation nor an example says what the network takes.

    >>> canvas_of(Network(torch.nn.Flatten(), preparation=Preparation(size=8)), size=12).size
    (12, 12)
    """
    weight = next((p for p in net.model.parameters() if p.is_floating_point()), torch.empty(0))
    if like is not None:
        found = _like(net, as_tensors(like, net.inputs), weight)
    elif net.preparation is not None:
        p = net.preparation
        source = f"The range of colors is the network's preparation ({p.source})."
        found = Canvas(
            net.inputs[0], p.channels, (p.size, p.size), (p.size, p.size), p, 0.0, 1.0, weight.dtype, weight.device, {},
            source,
        )  # fmt: skip
    else:
        raise BadInput(
            f"{net.name} does not say what its input looks like, so there is nothing to dream on.",
            "Give an example: like=x, a batch of typical inputs.",
        )
    return found if size is None else replace(found, size=(size,) * len(found.size))


def _like(net: Network, x: Tensors, weight: Tensor) -> Canvas:
    name = next((k for k, v in x.items() if v.is_floating_point() and v.ndim > 1), None)
    if name is None:
        raise BadInput(
            "The example has no floating input that could be dreamed.", "Words are dreamed by pl.dream.words."
        )
    v = x[name].detach()
    p = net.preparation if net.preparation is not None and net.preparation.channels == v.shape[1] else None
    low, high = float(v.min()), float(v.max())
    if p is None and not low < high:
        raise BadInput(f"The example {name!r} is {low:g} everywhere, which gives no range.", "Give typical inputs.")
    source = f"The range, {low:.3g} to {high:.3g}, is the example's: no preparation is known."
    if p is not None:
        low, high, source = 0.0, 1.0, f"The range of colors is the network's preparation ({p.source})."
    others = {k: u[:1].detach() for k, u in x.items() if k != name}
    size = tuple(v.shape[2:])
    return Canvas(name, v.shape[1], size, size, p, low, high, v.dtype, weight.device, others, source)
