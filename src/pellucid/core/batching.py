"""How many samples go through the network at once, and how results find their way back.

The first pass runs a single sample and measures what it needs; from then on as many samples run together as fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from pellucid.core.run import Run
from pellucid.core.tensors import Tensors, batch_size, joined, rows

_MOST = 256  # samples in a pass; beyond that nothing is gained, and a stop would have to wait

Result = TypeVar("Result", Tensor, Tensors)
# One pass over some samples; the tensor says which sample of the batch each row stems from.
Pass: TypeAlias = Callable[[Tensors, Tensor], Result]


def in_passes(
    variations: Iterable[Tensors], first: Callable[[Tensors, Tensor], tuple[Result, int]], one: Pass[Result], run: Run
) -> Iterator[Result]:
    """Each variation's result, in order.  `first` runs a single sample and says how many may run together."""
    limit, waiting = 0, list[Tensors]()
    for variation in variations:
        samples = batch_size(variation)
        if not limit:
            result, fit = first(rows(variation, 0, 1), torch.zeros(1, dtype=torch.long))
            limit = max(1, min(fit, run.max_batch or _MOST))
            pieces = list(_pieces(variation, 1, limit, one))
            pieces.insert(0, result)
            yield _cat(pieces)
        elif samples >= limit:
            if waiting:
                yield from _together(waiting, one)
                waiting = []
            yield _cat(list(_pieces(variation, 0, limit, one)))
        else:
            if waiting and batch_size(waiting[0]) != samples:
                yield from _together(waiting, one)
                waiting = []
            waiting.append(variation)
            if (len(waiting) + 1) * samples > limit:
                yield from _together(waiting, one)
                waiting = []
    if waiting:
        yield from _together(waiting, one)


def _pieces(x: Tensors, start: int, size: int, one: Pass[Result]) -> Iterator[Result]:
    samples = batch_size(x)
    for i in range(start, samples, size):
        stop = min(i + size, samples)
        yield one(rows(x, i, stop), torch.arange(i, stop))


def _together(variations: list[Tensors], one: Pass[Result]) -> Iterator[Result]:
    samples = batch_size(variations[0])
    result = one(joined(variations), torch.arange(samples).repeat(len(variations)))
    for i in range(len(variations)):
        yield _slice(result, i * samples, (i + 1) * samples)


def _slice(result: Any, start: int, stop: int) -> Any:
    return rows(result, start, stop) if isinstance(result, dict) else result[start:stop]


def _cat(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return joined(parts) if isinstance(parts[0], dict) else torch.cat(parts)
