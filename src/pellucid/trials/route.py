"""The way of a picture through a network to a dream's target: which sites lie on it, from one recorded pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.errors import Missing
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.recording.record import record_module
from pellucid.core.recording.step import Ref
from pellucid.core.recording.tape import ModuleCall, Tape
from pellucid.core.run import current
from pellucid.core.site import Site
from pellucid.core.structure import rebuilt
from pellucid.core.target import Target
from pellucid.dream.dream import Dream
from pellucid.dream.painting.canvas import Canvas

SITES = 6
LEAST = 4  # channels: of fewer, no order can be compared


@dataclass(frozen=True, slots=True)
class Stop:
    """A site that holds one value a sample and channel: `end` is the operation after it, `value` its number."""

    site: Site
    end: int
    value: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """All stops of one pass, in order of running; `ends`: where each module call begins and ends; `output`: its shape.

    `operations`: where each operation stands, by its site.
    """

    stops: tuple[Stop, ...]
    ends: dict[Site, tuple[int, int, int]]
    operations: dict[Site, int]
    output: tuple[int, ...]

    @property
    def last(self) -> Site | None:
        """The last site before the output: the features of which the answer is made; None where nothing is inside."""
        before = [s for s in self.stops if s.shape != self.output]
        return before[-1].site if before else None

    def to(self, target: Target, count: int = SITES) -> tuple[Site, ...]:
        """Up to `count` sites evenly along the way to the target, the last one right before it; perhaps none."""
        before = self.before(target)
        at = torch.linspace(0, len(before) - 1, min(count, len(before))).round().long().tolist() if before else []
        return tuple(before[i].site for i in at)

    def before(self, target: Target) -> list[Stop]:
        """The stops whose value is there before the target's own."""
        if target.whole or not target.sites:
            return [s for s in self.stops if s.shape != self.output]
        end, own = max(self._end(s) for s in target.sites)
        return [s for s in self.stops if s.end <= end and s.value != own]

    def _end(self, site: Site) -> tuple[int, int]:
        """After which operation the value at a site is there, and its number."""
        if site.operation is not None:
            return self.operations.get(site, 0), -1
        start, end, value = self.ends.get(Site(site.path, site.call), (0, 0, -1))
        return (start, -1) if site.at == "input" else (end, value)


def network_of(dream: Dream) -> Network:
    """The dream's network; raises `Missing` when it came from a file, without it."""
    if dream.net is None:
        raise Missing(
            "The dream came from a file, without its network.", "Give it: dataclasses.replace(dream, net=pl.open(...))."
        )
    return dream.net


def route_of(net: Network, canvas: Canvas) -> Route:
    """The route of a grey picture; a network is asked once."""
    key = ("route", canvas.input, canvas.channels, canvas.native)
    found = net.remembered.get(key)
    if not isinstance(found, Route):
        found = net.remembered[key] = _recorded(net, canvas)
    return found


def _recorded(net: Network, canvas: Canvas) -> Route:
    grey = torch.full((1, canvas.channels, *canvas.native), 0.5, dtype=canvas.dtype, device=canvas.device)
    x = canvas.fed(grey)
    in_order = net.in_order(x)
    args, named = (tuple(x.values()), {}) if in_order else ((), x)
    current().meter.forwards += 1
    with net.lease() as model, torch.no_grad():
        tape = record_module(model, args, named, keep_values=False, paths=module_paths(model))
    shapes = {v.id: v.shape for v in tape.values}
    empty = rebuilt(tape.result, lambda ref: torch.empty(shapes[ref.id], device="meta"), Ref, deep=True)
    return _route(tape, tuple(net.pick(empty).shape))


def _route(tape: Tape, output: tuple[int, ...]) -> Route:
    outermost: dict[int, ModuleCall] = {}
    for call in sorted(tape.calls, key=lambda c: (c.last, c.path.count("."))):
        if call.path and len(call.outputs) == 1:
            outermost.setdefault(call.outputs[0], call)
    values = {v.id: v for v in tape.values}
    shapes = {value: tape.shape(Site(c.path, c.call)) for value, c in outermost.items()}
    stops = [
        Stop(Site(c.path, c.call), c.last, value, shapes[value])
        for value, c in outermost.items()
        if "float" in values[value].dtype and _channels(shapes[value]) >= LEAST
    ]
    ends = {Site(c.path, c.call): (c.first, c.last, c.outputs[0] if c.outputs else -1) for c in tape.calls}
    operations = {o.site: o.index for o in tape.operations}
    return Route(tuple(sorted(stops, key=lambda s: s.end)), ends, operations, output)


def _channels(shape: Sequence[int]) -> int:
    if len(shape) < 2 or shape[0] != 1:
        return 0
    return max(shape[1], shape[2]) if len(shape) == 3 else shape[1]


def channel_means(value: Tensor, net: Network) -> Float[Tensor, "batch channels"]:
    """Each channel's mean over positions: of `[batch, tokens, width]` the width holds the channels."""
    if value.ndim == 3 and not any(isinstance(m, nn.Conv1d) for m in net.model.modules()):
        return value.mean(1)
    return value.flatten(2).mean(2) if value.ndim > 2 else value
