"""What every result about concepts says of itself: which network, target and site, how it was run, what it cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from pellucid.core.explanation import Cost
from pellucid.core.method import versions_used
from pellucid.core.network import Network
from pellucid.core.run import Meter, current, running
from pellucid.core.score import Score
from pellucid.core.target import Target, logit


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a result came from.  `target` is in words; `at` names the site, or several with commas between them."""

    network: str
    fingerprint: str
    target: str
    at: str
    seed: int
    options: Mapping[str, Any]
    versions: Mapping[str, str] = field(repr=False)
    cost: Cost
    stopped: str = ""
    without_rule: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def as_facts(self) -> dict[str, Any]:
        """Plain values, for a file or a script."""
        return {**asdict(self), "options": dict(self.options), "versions": dict(self.versions)}

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Origin:
        """What `as_facts` wrote."""
        lists = {k: tuple(facts[k]) for k in ("without_rule", "notes")}
        return Origin(**{**facts, **lists, "cost": Cost(**facts["cost"])})


@dataclass(frozen=True, slots=True)
class Work:
    """A score bound to one leased module, and when the work on it began."""

    f: Score
    since: float

    def origin(self, at: str, options: Mapping[str, Any], notes: tuple[str, ...] = ()) -> Origin:
        """Where a result of this work comes from, with what was spent so far."""
        run, net = current(), self.f.net
        return Origin(
            network=net.name,
            fingerprint=net.fingerprint,
            target=self.f.target.describe(net),
            at=at,
            seed=run.seed,
            options=options,
            versions=versions_used(),
            cost=Cost(run.meter.forwards, run.meter.backwards, time.monotonic() - self.since),
            stopped=run.meter.stopped,
            without_rule=tuple(sorted(run.meter.without_rule)),
            notes=(*net.notes, *notes),
        )


@contextmanager
def work_on(net: Network | nn.Module, target: Target | int | str) -> Iterator[Work]:
    """A leased network with its target for the block; what is spent there is counted apart, and then to the whole."""
    network = net if isinstance(net, Network) else Network(net)
    of = (target if isinstance(target, Target) else logit(target)).named(network)
    outer = current().meter
    with ExitStack() as stack:
        model = stack.enter_context(network.lease())
        run = stack.enter_context(running(replace(current(), meter=Meter())))
        stack.callback(outer.add, run.meter)
        stack.enter_context(torch.no_grad())
        yield Work(Score(network, of, model=model), time.monotonic())
