"""Where a result comes from: which network and site, how it was run, what it read, what it cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pellucid.core.explanation import Cost
from pellucid.core.method import versions_used
from pellucid.core.network import Network
from pellucid.core.run import current


@dataclass(frozen=True, slots=True)
class Origin:
    """What is needed to check a result and to make it again.

    `at` names the site, or several with commas between them; `target` is in words.  `samples`: how many were read,
    `unread` how many could not be, and `skipped` says of the first of these why.  `stopped`: how far it came if it was
    stopped.
    """

    network: str
    source: str
    fingerprint: str
    at: str
    seed: int
    cost: Cost
    versions: Mapping[str, str] = field(repr=False)
    target: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 0
    unread: int = 0
    skipped: tuple[str, ...] = ()
    stopped: str = ""
    without_rule: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def as_facts(self) -> dict[str, Any]:
        """Plain values, for a file or a script."""
        return {**asdict(self), "options": dict(self.options), "versions": dict(self.versions)}

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Origin:
        """What `as_facts` wrote."""
        lists = {k: tuple(facts[k]) for k in ("skipped", "without_rule", "notes")}
        return Origin(**{**facts, **lists, "cost": Cost(**facts["cost"])})


def origin_of(net: Network, at: str, since: float, notes: tuple[str, ...] = (), **more: Any) -> Origin:
    """The origin of what the run in force has found since `since` (`time.monotonic()`), with what it spent."""
    run = current()
    cost = Cost(run.meter.forwards, run.meter.backwards, time.monotonic() - since)
    return Origin(
        net.name, net.source, net.fingerprint, at, run.seed, cost, versions_used(),
        without_rule=tuple(sorted(run.meter.without_rule)), notes=(*net.notes, *notes),
        stopped=more.pop("stopped", "") or run.meter.stopped, **more,
    )  # fmt: skip
