"""What a step costs: Pellucid, Lucent, Horama and bare passes, in turns, in one process and one thread.

The time of a step is the median of the CPU times between calls of its objective (or reports of progress), without the
first, which sets things up.  Nobody's tricks but the ones of a step count: Pellucid runs at one size, without its
smaller first part.  Bare passes: parameters frozen, stopped at the site, channels last, the batch given.
"""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

import pellucid as pl
from benchmarks.dreams import peers
from benchmarks.dreams.subjects import lite
from benchmarks.harness import interleaved
from pellucid.core.run import Progress, current, running

SITES = {"stem": 5, "blocks.2.1": 5, "blocks.4.2": 5, "head": 5, "classifier": 340}
CASES = {f"{batch} at {side} px": (side, batch) for side in (224, 128) for batch in (8, 1)}
STEPS = {1: 6, 8: 3}


@dataclass(slots=True)
class Clock:
    """CPU times at every tick."""

    at: list[float]

    def tick(self) -> None:
        self.at.append(time.process_time())

    def step(self) -> float:
        """The median time from tick to tick, without the first."""
        return statistics.median(b - a for a, b in zip(self.at[1:], self.at[2:], strict=False))


def of(side: int, batch: int, rounds: int = 2) -> dict[str, Any]:
    """Milliseconds of a step of one picture, by site, and the ratios within rounds."""
    rows = {}
    for site, number in SITES.items():
        spent = interleaved(contestants(site, number, side, batch), rounds)
        rows[site] = summary(spent, batch)
    return {"rows": rows, "rounds": rounds}


def contestants(site: str, number: int, side: int, batch: int) -> dict[str, Callable[[], float]]:
    """Everyone who can take a step of this kind."""
    steps = STEPS[batch]
    calls = {
        "pellucid": lambda: ours(site, number, side, batch, steps),
        "floor": lambda: bare(site, number, side, batch, steps),
    }
    if peers.installed():
        calls["lucent"] = lambda: lucent(site, number, side, batch, steps)
        if batch == 1:  # it draws one picture at a time
            calls["horama"] = lambda: horama(site, number, side, steps)
    return calls


def summary(spent: dict[str, list[float]], batch: int) -> dict[str, dict[str, float]]:
    """Milliseconds a picture, and Pellucid's time over this one's."""
    mine = spent["pellucid"]
    return {
        name: {
            "ms": 1e3 * statistics.median(found) / batch,
            "ours to this": statistics.median(a / b for a, b in zip(mine, found, strict=True)),
        }
        for name, found in spent.items()
    }


def ours(site: str, number: int, side: int, batch: int, steps: int) -> float:
    """The default recipe at one size."""
    clock = Clock([])
    target = pl.logit(number) if site == "classifier" else pl.channel(site, number)

    def told(progress: Progress) -> None:
        clock.tick()

    with running(replace(current(), progress=told)):
        early = {"early": 1.0} if side == 224 else {"early": side / 224, "part": 1.0}
        pl.dream.maximize(lite(), [target] * batch, size=side, steps=steps + 1, **early)
    return clock.step()


def lucent(site: str, number: int, side: int, batch: int, steps: int) -> float:
    """As it comes; smaller pictures are enlarged to 224 pixels for the network, which is its default."""
    clock = Clock([])
    prepare = lite().preparation
    if prepare is None:
        raise RuntimeError("The zoo states every network's preparation.")
    layer = site.replace(".", "_")
    peers.lucent(lite().model, layer, [number] * batch, side, [steps + 1], clock.tick, prepare.normalize)
    return clock.step()


def horama(site: str, number: int, side: int, steps: int) -> float:
    """Six crops of a picture of this side, each at the network's size; stopped at the site by nobody."""
    clock = Clock([])
    model = copy.deepcopy(lite().model)
    kept: list[Tensor] = []
    model.get_submodule(site).register_forward_hook(lambda module, given, out: kept.append(out))

    def score(x: Tensor) -> Tensor:
        kept.clear()
        model(x)
        return kept[0][:, number]

    peers.horama(score, [steps + 1], clock.tick, side=side)
    return clock.step()


class _Reached(Exception):
    """The pass has come to its site."""


def bare(site: str, number: int, side: int, batch: int, steps: int) -> float:
    """Forward to the site and back, and nothing else."""
    model, kept = _bare_model(site)
    x = torch.rand(batch, 3, side, side).to(memory_format=torch.channels_last).requires_grad_()
    times = []
    for _ in range(steps):
        since = time.process_time()
        with contextlib.suppress(_Reached):
            model(x)
        torch.autograd.grad(kept.pop()[:, number].sum(), [x])
        times.append(time.process_time() - since)
    return statistics.median(times[1:])


def _bare_model(site: str) -> tuple[nn.Module, list[Tensor]]:
    model = copy.deepcopy(lite().model).requires_grad_(False).to(memory_format=torch.channels_last)
    kept: list[Tensor] = []

    def stop(module: nn.Module, given: Sequence[Tensor], out: Tensor) -> None:
        kept.append(out)
        raise _Reached

    model.get_submodule(site).register_forward_hook(stop)
    return model, kept
