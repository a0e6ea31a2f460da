"""How far weights are from others of their shape: tensors at once, or entries of files, a piece at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.doors.weight_files.entries import Entry
from pellucid.doors.weight_files.listing import pieces

PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class WeightChange:
    """A weight of both networks with the same shape: ‖b − a‖ / ‖a‖, the cosine between them, the largest difference.

    `relative` is None when a is zero and b is not, `cosine` when either is zero.  Numbers that are NaN or infinite in
    either are left out; `bad` counts those of them that are not the same on both sides.
    """

    name: str
    other: str
    relative: float | None
    cosine: float | None
    largest: float
    bad: int = 0


def weight_change(name: str, other: str, v: Tensor, w: Tensor) -> WeightChange:
    """How far a weight is from another of its shape.

    >>> weight_change("w", "w", torch.tensor([3.0, 4.0]), torch.tensor([3.0, 9.0])).relative
    1.0
    """
    return summed(name, other, [(v.detach().cpu().flatten(), w.detach().cpu().flatten())])


def stored_change(a: Entry, b: Entry) -> WeightChange | None:
    """How far a tensor in a file is from another of its shape; None for what is not unpacked here."""
    left, right = _flat(a), _flat(b)
    return None if left is None or right is None else summed(a.name, b.name, zip(left, right, strict=True))


def _flat(entry: Entry) -> Iterator[Tensor] | None:
    """Its numbers row by row, in pieces of one size whatever the file."""
    if entry.stride is None:
        return pieces(entry)
    flat = entry.tensor().flatten()
    return (flat[start : start + PIECE] for start in range(0, len(flat), PIECE))


def summed(name: str, other: str, pairs: Iterable[tuple[Tensor, Tensor]]) -> WeightChange:
    """How far pieces are from others, taken together."""
    old, new, both, apart, largest, bad = 0.0, 0.0, 0.0, 0.0, 0.0, 0
    for v, w in pairs:
        a, b = v.double(), w.double()
        before, now = float(a @ a), float(b @ b)
        if not math.isfinite(before + now):
            fine = torch.isfinite(a) & torch.isfinite(b)
            bad += int((~fine & (a != b) & ~(a.isnan() & b.isnan())).sum())
            a, b = a[fine], b[fine]
            before, now = float(a @ a), float(b @ b)
        old, new, both = old + before, new + now, both + float(a @ b)
        if not torch.equal(a, b):
            step = b - a
            apart, largest = apart + float(step @ step), max(largest, float(step.abs().max()))
    relative = math.sqrt(apart / old) if old else (0.0 if not new else None)
    cosine = min(max(both / math.sqrt(old) / math.sqrt(new), -1.0), 1.0) if old and new else None
    return WeightChange(name, other, relative, cosine, largest, bad)
