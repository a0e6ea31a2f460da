"""Expanded weights between two sites (Voss et al. 2021): how each channel there acts on each channel here.

Between neighboring layers the weights are the circuit.  Across several, they are multiplied out: the linear effect of
a channel at the first site on a channel at the second, as a small spatial kernel.  Convolutions, batch normalization,
strides, residual connections and depthwise steps are exact.  Activations between them are either taken as straight
lines (weights alone) or as bent as they are on data (the mean slope over samples); which of the two is always said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.errors import BadInput
from pellucid.core.method import like_the_model
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.operations.uncovered import operations_without_rule
from pellucid.core.option import Range, checked, options_of
from pellucid.core.origin import Origin
from pellucid.core.recording.receptive_field import ReceptiveField, receptive_fields
from pellucid.core.recording.record import record_module
from pellucid.core.recording.tape import Tape
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.target import channel
from pellucid.core.tensors import Inputs, Tensors, as_tensors, batch_size, digest
from pellucid.dream.maps.collected import Data, collected, metered, opened, site_of
from pellucid.rules.straight import STRAIGHT

Through: TypeAlias = Annotated[
    Literal["straight", "data"],
    "what activations between the sites are taken as: straight lines, or their mean slope over samples",
]


Weighed: TypeAlias = tuple[tuple[int, float], ...]  # input channels, each with a sum of weights


@dataclass(frozen=True, slots=True)
class Expansion(Shown):
    """Kernels: the linear effect of every channel at `source` on some channels at `target`.

    `kernel[o, i, r, c]` is how much target channel `channels[o]` at place (y, x) grows for each unit of source channel
    `i` at place (stride y + offset + r, stride x + offset + c), offsets and strides by axis.  `cut`: the kernels reach
    over the edge of the source's map, and are cut there.  `without_rule`: operations in between that are neither
    linear nor taken as straight: there the slope at one input is used.
    """

    kernel: Float[Tensor, "outputs inputs height width"] = field(repr=False)
    channels: tuple[int, ...] = field(repr=False)
    source: str
    target: str
    through: str
    stride: tuple[int, int]
    offset: tuple[int, int]
    cut: bool
    without_rule: tuple[str, ...]
    origin: Origin

    def strongest(self, channel: int, count: int = 6) -> tuple[Weighed, Weighed]:
        """The inputs that raise a channel most and those that lower it most, each with the sum of its weights.

        Positive and negative weights of a kernel are summed by themselves, so that an edge detector, whose weights
        cancel, is found among both.  Raises `BadInput` for a channel that was not expanded.

        >>> model = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False), nn.ReLU())
        >>> with torch.no_grad():
        ...     _ = model[0].weight.copy_(torch.tensor([3.0, -2.0]).view(1, 2, 1, 1))
        >>> expanded_weights(model, "0:input", "0", torch.ones(1, 2, 4, 4)).strongest(0, 1)
        (((0, 3.0),), ((1, -2.0),))
        """
        if channel not in self.channels:
            raise BadInput(f"Channel {channel} was not expanded.", f"There are: {', '.join(map(str, self.channels))}.")
        kernel = self.kernel[self.channels.index(channel)].flatten(1)
        up, down = kernel.clamp(min=0).sum(1), kernel.clamp(max=0).sum(1)
        return _first(up, up.argsort(dim=0, descending=True, stable=True), count), _first(
            down, down.argsort(dim=0, stable=True), count
        )


def expanded_weights(
    net: Network | nn.Module,
    source: Site | str,
    target: Site | str,
    x: Inputs | None = None,
    data: Data | None = None,
    *,
    through: Through = "straight",
    channels: Annotated[Any, "numbers of the target's channels, one or several; none: all"] = None,
    most: Annotated[int | None, Range(1, 10_000), "how many of the samples to take (through='data')"] = 16,
) -> Expansion:
    """How each channel at one site acts on the channels at a later one, as spatial kernels.

    `x` is one input, which says how large the maps are; without it one of the prepared size is taken.  Straight lines
    need no data: the kernels are the composition of all that is linear in between.  With `through="data"` the slopes
    are those on `data` (a folder, a tensor, a list), each sample at one random place, and averaged.  Raises `BadInput`
    for sites that there are not, in the wrong order, or channels that there are not.  Voss et al. (2021).

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Conv2d(2, 3, 3, stride=2, bias=False))
    >>> found = expanded_weights(model, "0:input", "2", torch.zeros(1, 1, 16, 16))
    >>> tuple(found.kernel.shape), found.stride, found.through
    ((3, 1, 5, 5), (2, 2), 'straight')
    """
    checked(options_of(expanded_weights), {"through": through, "most": most}, "expanded_weights")
    if (through == "data") != (data is not None):
        raise BadInput("Slopes over samples need samples, and straight lines take none.", "Give data=... or neither.")
    net = opened(net)
    at = (site_of(net, source), site_of(net, target))
    samples = None if data is None else collected(net, data, most)
    given = _one_input(net, x) if samples is None else samples[0]
    with metered(net, str(at[1]), samples) as origin:
        between = _between(net, given, *at)
        chosen = _chosen(channels, between.outputs)
        total, count = torch.zeros(()), 0
        for one in [given] if samples is None else (samples[i] for i in range(len(samples))):
            current().checkpoint()
            _refuse_another_size(one, given)
            total, count = total + _slopes(net, one, at, between, chosen, straight=samples is None), count + 1
        meter = current().meter
        return Expansion(
            total / count, chosen, str(at[0]), str(at[1]), through, between.stride, between.offset, between.cut,
            tuple(sorted(meter.without_rule)) if samples is None else (), origin(0 if samples is None else count),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Between:
    """How a place at the target looks at the source's map: `size` places from `stride` times its own plus `offset`."""

    outputs: int
    extent: tuple[int, int]
    map: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]
    offset: tuple[int, int]

    @property
    def cut(self) -> bool:
        """Does the window of the middle place reach over the edge?"""
        starts = self.starts(tuple(n // 2 for n in self.extent))
        return any(a < 0 or a + k > n for a, k, n in zip(starts, self.size, self.map, strict=True))

    def starts(self, place: Sequence[int]) -> tuple[int, int]:
        """Where the window of a place begins."""
        first, second = (s * p + o for s, p, o in zip(self.stride, place, self.offset, strict=True))
        return first, second

    def inner(self) -> list[tuple[int, int]]:
        """The places whose windows lie within the map; the middle one where none does."""
        fits = [
            [p for p in range(n) if s * p + o >= 0 and s * p + o + k <= m]
            for n, m, k, s, o in zip(self.extent, self.map, self.size, self.stride, self.offset, strict=True)
        ]
        found = [(y, x) for y in fits[0] for x in fits[1]]
        return found or [(self.extent[0] // 2, self.extent[1] // 2)]


def _one_input(net: Network, x: Inputs | None) -> Tensors:
    if x is not None:
        given = as_tensors(x, net.inputs)
        if batch_size(given) != 1:
            raise BadInput(f"{batch_size(given)} inputs were given for `x`; one is wanted.", "Give x[:1].")
        return given
    p = net.preparation
    if p is None:
        raise BadInput(f"{net.name} does not say how large its pictures are.", "Give one input: x=torch.zeros(...).")
    return {net.inputs[0]: torch.zeros(1, p.channels, p.size, p.size)}


def _between(net: Network, x: Tensors, source: Site, target: Site) -> _Between:
    in_order = net.in_order(x)
    with net.lease() as model, torch.no_grad():
        x = like_the_model(x, model)
        paths = module_paths(model)
        tape = record_module(model, tuple(x.values()) if in_order else (), {} if in_order else x, paths=paths)
    a, b = (tape.shape(s) for s in (source, target))
    if len(a) not in (2, 4) or len(b) not in (2, 4):
        raise BadInput(f"{source} holds {a} and {target} {b}.", "Both must be [batch, channels] or maps of channels.")
    extents, maps = tuple(b[2:]) or (1, 1), tuple(a[2:]) or (1, 1)
    window = _window(tape, tape.output(source), tape.output(target)) if len(a) == len(b) == 4 else None
    size, stride, offset = window or ((maps[0], maps[1]), (0, 0), (0, 0))
    return _Between(b[1], (extents[0], extents[1]), (maps[0], maps[1]), size, stride, offset)


_Pair: TypeAlias = tuple[int, int]


def _window(tape: Tape, source: int, target: int) -> tuple[_Pair, _Pair, _Pair] | None:
    """Size, stride and offset of a target place's window in places of the source; None when it sees everything."""
    fields = receptive_fields(tape)
    axes = [_axis(fields.get(source), fields.get(target), i) for i in range(2)]
    if axes[0] is None or axes[1] is None:
        return None
    (h, sy, oy), (w, sx, ox) = axes[0], axes[1]
    return (h, w), (sy, sx), (oy, ox)


def _axis(a: ReceptiveField | None, b: ReceptiveField | None, i: int) -> tuple[int, int, int] | None:
    if a is None or b is None:
        return None
    values = (a.size[i], a.stride[i], a.offset[i], b.size[i], b.stride[i], b.offset[i])
    if any(v is None for v in values):
        return None
    size, step, start, wide, stride, first = (v for v in values if v is not None)
    span, ratio, offset = (wide - size) / step, stride / step, (first - start) / step
    if ratio != int(ratio):
        return None
    return math.ceil(span) + 1, int(ratio), math.floor(offset)


def _chosen(channels: Any, count: int) -> tuple[int, ...]:
    given = range(count) if channels is None else [channels] if isinstance(channels, int) else channels
    found = tuple(int(c) for c in given)
    wrong = next((c for c in found if not 0 <= c < count), None)
    if wrong is not None or not found:
        raise BadInput(f"Channel {wrong} was asked for; the target has 0 to {count - 1}.", "Choose one of these.")
    return found


def _refuse_another_size(x: Tensors, first: Tensors) -> None:
    if any(v.shape != first[k].shape for k, v in x.items()):
        raise BadInput("The samples have several sizes; a kernel is of one.", "Give samples of one size.")


def _slopes(
    net: Network, x: Tensors, at: tuple[Site, Site], between: _Between, chosen: tuple[int, ...], *, straight: bool
) -> Float[Tensor, "outputs inputs height width"]:
    """The target's slopes with respect to the source around one place: in the middle, or drawn for a sample."""
    place = between.extent[0] // 2, between.extent[1] // 2
    if not straight:
        inner = between.inner()
        generator = current().generator("circuit", digest(next(iter(x.values())).float()))
        place = inner[int(torch.randint(len(inner), (1,), generator=generator))]
    starts, numbers = between.starts(place), torch.tensor(chosen)

    def one(f: Score, part: Tensors, rows: Tensor) -> Tensor:
        answer, _ = f.scored(part, rows, (at[0],), leaves=True)
        value, leaf = answer.at[at[1]], answer.at[at[0]]
        picked = value[torch.arange(len(rows)), numbers[rows.cpu()]]
        score = (picked if picked.ndim == 1 else picked[:, place[0], place[1]]).sum()
        if not score.requires_grad:
            raise BadInput(f"{at[1]} does not depend on {at[0]}.", "Give the earlier site first.")
        if straight:
            current().meter.without_rule |= operations_without_rule(score, f.rules)
        current().meter.backwards += len(rows)
        (slope,) = torch.autograd.grad(score, leaf, allow_unused=True)
        if slope is None:
            raise BadInput(f"{at[1]} does not depend on {at[0]}.", "Give the earlier site first.")
        return _around(slope if slope.ndim == 4 else slope[:, :, None, None], starts, between.size)

    score = Score(net, channel(at[1], 0))
    with (score.under(STRAIGHT) if straight else score).leased() as f:
        assert f.model is not None  # noqa: S101 (leased here)
        many = {k: v.expand(len(chosen), *v.shape[1:]) for k, v in like_the_model(x, f.model).items()}
        return torch.cat(list(f.passes([many], one, "gradient passes", backward=True))).float().cpu()


def _around(slope: Tensor, starts: _Pair, size: _Pair) -> Tensor:
    """The part of a map that begins at `starts`; beyond the edge there are zeros."""
    for axis, start, wide in zip((2, 3), starts, size, strict=True):
        before, after = max(0, -start), max(0, start + wide - slope.shape[axis])
        padding = (before, after) if axis == 3 else (0, 0, before, after)
        slope = torch.nn.functional.pad(slope, padding).narrow(axis, start + before, wide)
    return slope


def _first(sums: Tensor, order: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    return tuple((int(i), float(sums[i])) for i in order[:count] if float(sums[i]) != 0)
