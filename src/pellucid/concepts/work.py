"""Work on concepts: a network leased with its target, and where what is found comes from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from pellucid.core.ending import named
from pellucid.core.network import Network
from pellucid.core.origin import Origin, origin_of
from pellucid.core.run import Meter, current, running
from pellucid.core.score import Score
from pellucid.core.target import Target, logit


@dataclass(frozen=True, slots=True)
class Work:
    """A score bound to one leased module, and when the work on it began."""

    f: Score
    since: float

    def origin(self, at: str, options: Mapping[str, Any], notes: tuple[str, ...] = ()) -> Origin:
        """Where a result of this work comes from, with what was spent so far."""
        net = self.f.net
        return origin_of(net, at, self.since, notes, target=self.f.target.describe(net), options=options)


@contextmanager
def work_on(net: Network | nn.Module, target: Target | int | str) -> Iterator[Work]:
    """A leased network with its target for the block; what is spent there is counted apart, and then to the whole."""
    network = net if isinstance(net, Network) else Network(net)
    of = named(target if isinstance(target, Target) else logit(target), network)
    outer = current().meter
    with ExitStack() as stack:
        model = stack.enter_context(network.lease())
        run = stack.enter_context(running(replace(current(), meter=Meter())))
        stack.callback(outer.add, run.meter)
        stack.enter_context(torch.no_grad())
        yield Work(Score(network, of, model=model), time.monotonic())
