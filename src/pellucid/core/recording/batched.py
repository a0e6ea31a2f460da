"""How a recorded pass grows with the number of samples: the tape of one, beside the tape of two."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.double import double, why_not_doubled
from pellucid.core.errors import BadModel
from pellucid.core.recording.record import record_module
from pellucid.core.recording.tape import Tape


@dataclass(frozen=True, slots=True)
class Batched:
    """How shapes grow with the number of samples, from a tape at one sample and a tape at two."""

    one: Tape
    two: Tape

    def shape(self, id: int, samples: int) -> tuple[int, ...]:
        """A value's shape when `samples` samples run."""
        pairs = zip(self.one.values[id].shape, self.two.values[id].shape, strict=True)
        return tuple(a + (b - a) * (samples - 1) for a, b in pairs)

    def axis(self, id: int) -> int | None:
        """The one axis that counts samples; None when there is none or it counts something else too."""
        one, two = self.one.values[id].shape, self.two.values[id].shape
        grown = [i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
        return grown[0] if len(grown) == 1 and (one[grown[0]], two[grown[0]]) == (1, 2) else None

    def expanded(self, id: int, value: Tensor, samples: int, dense: bool) -> Tensor:
        """A value of one sample for many."""
        new = value if self.axis(id) is None else value.expand(self.shape(id, samples))
        return new.contiguous() if dense and new is not value else new.clone() if dense else new.view_as(new)

    def blank(self, id: int, samples: int) -> Tensor:
        """A tensor of the right shape that takes no memory and cannot be used unnoticed: NaN where the kind has it."""
        value = self.one.values[id]
        dtype = getattr(torch, value.dtype)
        number = float("nan") if dtype.is_floating_point or dtype.is_complex else 0
        return torch.full((), number, dtype=dtype, device=value.device).expand(self.shape(id, samples))


def different(one: Tape, two: Tape) -> str:
    """Why two recordings are not of the same run of operations, or ''."""
    runs = [[(op.name, op.inputs, op.outputs) for op in tape.operations] for tape in (one, two)]
    if (
        runs[0] != runs[1]
        or len(one.values) != len(two.values)
        or any(len(a.shape) != len(b.shape) for a, b in zip(one.values, two.values, strict=True))
    ):
        return "the network runs other operations on another number of samples"
    return ""


def tape_of_two(model: nn.Module, one: Tape, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tape:
    """The tape of two samples, for its shapes: without numbers where that gives the same run, which is cheaper."""
    if not why_not_doubled(model):
        with suppress(BadModel, RuntimeError, TypeError, NotImplementedError):
            # on a double, because a model may keep what it meets, and this is made of shapes alone
            two = record_module(double(model), args, kwargs, fake=True)
            if not different(one, two):
                return two
    return record_module(model, args, kwargs, keep_values=False)
