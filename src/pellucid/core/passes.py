"""A computation of many passes: the first is measured, the others are sized by it; progress, stop and precision."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from pellucid.core.batching import Pass, Result, in_passes
from pellucid.core.errors import Stopped
from pellucid.core.folding import Folding
from pellucid.core.memory import measuring
from pellucid.core.run import Run, current
from pellucid.core.tensors import Tensors

T = TypeVar("T")


def measured(
    model: nn.Module,
    variations: Iterable[Tensors],
    one: Pass[Result],
    what: str,
    folding: Folding,
    ahead: int | None,
    *,
    backward: bool,
) -> Iterator[Result]:
    """Each variation's result in order, as many to a pass as fit in memory; `ahead`: how many samples there will be."""
    run, since = current(), time.monotonic()

    def first(x: Tensors, rows: Tensor) -> tuple[Result, int]:
        if ahead == 1:  # nothing follows that its size could be chosen for
            return one(x, rows), 1
        try:
            with measuring(model, backward=backward) as footprint:
                result = folding.first(partial(one, x, rows))
        except RuntimeError as error:
            if "saved tensor hooks" not in str(error):
                raise
            return one(x, rows), 1  # with torch.func.grad inside of the network, what is kept cannot be measured
        return result, footprint.samples(run.memory, next(iter(x.values())).device)

    def later(x: Tensors, rows: Tensor) -> Result:
        return folding.later(partial(one, x, rows))

    total = len(variations) if isinstance(variations, Sized) else None
    return counted(in_passes(variations, first, later, run), run, what, total, since)


def counted(results: Iterator[T], run: Run, what: str, total: int | None, since: float) -> Iterator[T]:
    """Report progress; when stopped after something is known, end early and say so."""
    done = 0
    try:
        for result in results:
            done += 1
            run.report(what, done, total, since)
            yield result
    except Stopped:
        if not done:
            raise
        run.meter.stopped = f"after {done} of {total or '?'} {what}"


def precision(kind: str, device: torch.device, backward: bool) -> AbstractContextManager[object]:
    """Low precision serves scoring alone: it was measured to change gradient maps by half."""
    if kind == "bfloat16" and not backward:
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
