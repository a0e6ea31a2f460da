"""How a value at a site is laid out: where its channels are, and which part of the input each place stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel, BadOption
from pellucid.core.last_map import Grid, places
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.recording.receptive_field import ReceptiveField, receptive_field
from pellucid.core.recording.record import record_module
from pellucid.core.recording.tape import Tape
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import logit
from pellucid.core.tensors import Tensors

Part: TypeAlias = tuple[tuple[int, int], ...]  # (first, one past the last) along each axis of the input's places


@dataclass(frozen=True, slots=True)
class Layout:
    """The value at a site for inputs of one shape.

    `input` is the input that is looked at, its places lie along `axes` and have the sizes `extent`.  The value has its
    channels along `channel` and places of the sizes `sizes`; `follows` says for each of the input's axes which of the
    value's place axes goes along with it.  `grid`: the places are tokens, the last of which are a picture's patches.
    """

    input: str
    axes: tuple[int, ...]
    extent: tuple[int, ...]
    channel: int
    channels: int
    sizes: tuple[int, ...]
    follows: tuple[int | None, ...]
    field: ReceptiveField | None
    grid: Grid | None

    def flat(self, value: Tensor) -> Tensor:
        """A value at the site as `[batch, channels, places]`."""
        return value.movedim(self.channel, 1).flatten(2) if value.ndim > 2 else value.reshape(*value.shape[:2], 1)

    def position(self, place: int) -> tuple[int, ...]:
        """The place of a flat number along each of the value's place axes."""
        found: list[int] = []
        for n in reversed(self.sizes):
            place, at = divmod(place, n)
            found.append(at)
        return tuple(reversed(found))

    def unit(self, channel: int, position: tuple[int, ...]) -> int:
        """The number of one activation in the flattened value of a sample."""
        at, sizes = list(position), list(self.sizes)
        at.insert(self.channel - 1, channel)
        sizes.insert(self.channel - 1, self.channels)
        number = 0
        for i, n in zip(at, sizes, strict=True):
            number = number * n + i
        return number

    def seen(self, position: tuple[int, ...]) -> Part:
        """The receptive field of a place: the part of the input that its activation can depend on."""
        if self.field is None:
            return tuple((0, n) for n in self.extent)
        along = [0 if at is None else position[at] for at in self.follows]
        return tuple((s.start, s.stop) for s in self.field.pixels(along, self.extent))

    def cell(self, position: tuple[int, ...]) -> Part | None:
        """Where in the input a place lies, as wide as its distance from its neighbors; None where it lies nowhere."""
        if self.grid is not None:
            patch = position[0] - (self.sizes[0] - math.prod(self.grid))
            position = divmod(patch, self.grid[1])
            sizes: tuple[int, ...] = self.grid
            if patch < 0:
                return None
        elif self.field is not None and None not in self.follows:
            return tuple(self._stride(i, position) for i in range(len(self.extent)))
        else:
            sizes = self.sizes
        if len(sizes) != len(self.extent) or math.prod(sizes) == 1:
            return None
        return tuple(_share(at, n, whole) for at, n, whole in zip(position, sizes, self.extent, strict=True))

    def _stride(self, axis: int, position: tuple[int, ...]) -> tuple[int, int]:
        size, stride, offset = (v[axis] for v in (self.field.size, self.field.stride, self.field.offset))  # type: ignore[union-attr]
        at, n = self.follows[axis], self.extent[axis]
        if size is None or stride is None or offset is None or at is None:
            return (0, n)
        middle = offset + stride * position[at] + (size - stride) / 2
        start = min(max(round(middle), 0), n - 1)
        return start, max(start + 1, min(round(middle + stride), n))


def _share(at: int, n: int, whole: int) -> tuple[int, int]:
    start = at * whole // n
    return start, max(start + 1, (at + 1) * whole // n)


def layout_at(net: Network, model: nn.Module, x: Tensors, site: Site, axis: int | None = None) -> Layout:
    """The layout at a site, from one sample; raises `BadInput` for sites that there are not, or that hold no channels.

    `axis` says which axis holds the channels where this cannot be told.
    """
    net.call(model, {k: v.clone() for k, v in x.items()})  # once whole: later passes, cut short, need no watch
    f = Score(net, logit(0), model=model)
    value = f.values(x, site)[site]
    if value.ndim < 2 or len(value) != 1 or not value.is_floating_point():
        raise BadInput(
            f"Site {str(site)!r} holds {tuple(value.shape)} of {value.dtype} for one sample.",
            "Choose one that holds floating values of [batch, channels, ...].",
        )
    tape = _tape(net, model, x)
    name = next((k for k, v in x.items() if v.ndim > 2), next(iter(x)))
    axes = _axes(x[name], tape)
    field = _field(tape, name, axes, site)
    known = [] if field is None else [a for a in field.axes if a is not None]
    channel = _channel(value, known, _along_time(tape)) if axis is None else _checked(axis, value, site)
    own = [a for a in range(1, value.ndim) if a != channel]
    follows = tuple(None if a not in own else own.index(a) for a in (field.axes if field is not None else ()))
    return Layout(
        name, axes, tuple(x[name].shape[a] for a in axes), channel, value.shape[channel],
        tuple(value.shape[a] for a in own), follows, field, _grid(f, x, site, value, name),
    )  # fmt: skip


def _tape(net: Network, model: nn.Module, x: Tensors) -> Tape | None:
    """The tape of one pass; None for a network that cannot be recorded, whose receptive fields then are not known."""
    try:
        in_order = net.in_order(x)
        args, named = (tuple(x.values()), {}) if in_order else ((), x)
        return record_module(model, args, named, keep_values=False, paths=module_paths(model))
    except (BadInput, BadModel, RuntimeError, TypeError):
        return None


def _field(tape: Tape | None, name: str, axes: tuple[int, ...], site: Site) -> ReceptiveField | None:
    """The receptive field, where anything at the site keeps to a part of the input."""
    if tape is None or not axes:
        return None
    try:
        found = receptive_field(tape, site, name, axes)
    except BadInput:  # an input or a value that the tape does not know by this name
        return None
    return found if any(a is not None for a in found.axes) else None


def _along_time(tape: Tape | None) -> bool:
    """Does the network convolve along one axis, so that three axes are [batch, channels, time]?"""
    names = {op.name for op in tape.operations} if tape is not None else set[str]()
    return not names.isdisjoint(("conv1d", "max_pool1d", "avg_pool1d"))


def _axes(x: Tensor, tape: Tape | None) -> tuple[int, ...]:
    """The axes of an input that are places: of pictures, series, texts; none for a row of a table."""
    if x.ndim > 3:
        return tuple(range(2, x.ndim))
    if x.ndim == 3:
        return (2,) if _along_time(tape) else (1,)
    return () if x.is_floating_point() else (1,)


def _channel(value: Tensor, known: list[int], time: bool) -> int:
    """Which axis holds the channels: the one that follows no axis of the input, else the one where they usually are."""
    left = [a for a in range(1, value.ndim) if a not in known]
    if len(left) == 1:
        return left[0]
    return 2 if value.ndim == 3 and not time else 1


def _checked(axis: int, value: Tensor, site: Site) -> int:
    if not 1 <= axis < value.ndim:
        raise BadOption(f"axis={axis}: {site} holds {tuple(value.shape)}.", f"Give one from 1 to {value.ndim - 1}.")
    return axis


def _grid(f: Score, x: Tensors, site: Site, value: Tensor, name: str) -> Grid | None:
    """The picture's patches that a site's tokens stand for, where it holds such tokens."""
    if value.ndim != 3 or x[name].ndim != 4:
        return None
    try:
        found = places(f, x)
    except BadModel:
        return None
    return found.grid if site in found.tokens else None
