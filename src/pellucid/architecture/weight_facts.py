"""The facts of one weight: of a tensor at once, or of an entry of a file, piece by piece when it is large.

Numbers that are NaN or infinite are counted, and left out of everything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pellucid.doors.weight_files.entries import Entry
from pellucid.doors.weight_files.listing import pieces, statistics

BINS = 32
AT_ONCE = 1 << 22  # numbers of a tensor in a file that is read at once
NONE = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class WeightFacts:
    """One tensor.  `norm` is the root of the sum of squares, `zeros` the share that is exactly zero.

    `bad` counts numbers that are NaN or infinite; all other facts are of those that are finite, and NaN where there are
    none, or none that are unpacked here.  `histogram` counts values in 32 equal bins from `low` to `high`.  `spectrum`
    are the singular values of the unfolded matrix, largest first; empty for vectors, for matrices that were too large,
    and for those with bad numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    count: int
    norm: float
    mean: float
    spread: float
    low: float
    high: float
    zeros: float
    histogram: tuple[int, ...] = field(repr=False)
    spectrum: tuple[float, ...] = field(repr=False)
    bad: int = 0

    @property
    def largest_singular(self) -> float | None:
        """How much the matrix can stretch a vector; None where the spectrum was not found."""
        return self.spectrum[0] if self.spectrum else None

    @property
    def stable_rank(self) -> float | None:
        """In how many directions the matrix is spread; None where it is zero or its spectrum was not found."""
        if not self.spectrum or not self.spectrum[0]:
            return None
        return sum(s * s for s in self.spectrum) / self.spectrum[0] ** 2


def facts_of(name: str, tensor: Tensor, *, spectrum: bool = True) -> WeightFacts:
    """The facts of one tensor, computed in double precision.

    >>> facts = facts_of("eye", torch.eye(3))
    >>> facts.norm ** 2, facts.stable_rank, round(facts.zeros, 2)
    (2.9999999999999996, 3.0, 0.67)
    """
    v = (tensor.dequantize() if tensor.is_quantized else tensor).double().cpu()
    v = v.to_dense() if v.layout != torch.strided else v
    dtype, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    fine = v[torch.isfinite(v)]
    bad = v.numel() - len(fine)
    if not len(fine):
        return _unknown(name, shape, dtype, v.numel(), bad)
    low, high = float(fine.min()), float(fine.max())
    singular = torch.linalg.svdvals(v.flatten(1)).tolist() if spectrum and v.ndim > 1 and not bad else []
    return WeightFacts(
        name, shape, dtype, v.numel(), float(fine.norm()), float(fine.mean()), float(fine.std(correction=0)), low, high,
        float((v == 0).double().mean()), _histogram([fine], low, high), tuple(singular), bad,
    )  # fmt: skip


def facts_of_entry(entry: Entry, spectrum: bool = True) -> WeightFacts:
    """The facts of a tensor in a file; read twice in pieces where it is large, and no spectrum is wanted of it.

    >>> facts_of_entry(Entry("a", "q4_k", (256,), blocked=(256, 144))).norm
    nan
    """
    found = pieces(entry) if entry.count else None
    if found is None:
        return _unknown(entry.name, entry.shape, entry.dtype, entry.count, 0)
    matrix = len(entry.shape) > 1 and entry.dtype not in _WHOLE
    if entry.count <= AT_ONCE or (spectrum and matrix):
        parts = [piece.double() for piece in found] if entry.stride is None else [entry.tensor().double().flatten()]
        facts = facts_of(entry.name, torch.cat(parts).reshape(entry.shape), spectrum=spectrum and matrix)
        return replace(facts, dtype=entry.dtype)  # the one that the numbers were unpacked from
    s = statistics(entry)
    if s is None or s.lowest != s.lowest:
        return _unknown(entry.name, entry.shape, entry.dtype, entry.count, s.bad if s else 0)
    norm = math.sqrt((entry.count - s.bad) * (s.mean**2 + s.std**2))
    counted = _histogram((p.double() for p in pieces(entry) or ()), s.lowest, s.highest)
    return WeightFacts(
        entry.name, entry.shape, entry.dtype, entry.count, norm, s.mean, s.std, s.lowest, s.highest, s.zeros, counted,
        (), s.bad,
    )  # fmt: skip


_WHOLE = ("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def _unknown(name: str, shape: tuple[int, ...], dtype: str, count: int, bad: int) -> WeightFacts:
    return WeightFacts(name, shape, dtype, count, NONE, NONE, NONE, NONE, NONE, NONE, (), (), bad)


def _histogram(parts: Iterable[Tensor], low: float, high: float) -> tuple[int, ...]:
    """Counts in equal bins of numbers that come in parts; those that are not finite are left out."""
    counted = torch.zeros(BINS, dtype=torch.double)
    for part in parts:
        fine = part[torch.isfinite(part)]
        if low < high:
            counted += torch.histc(fine, BINS, low, high)
        else:
            counted[BINS // 2] += len(fine)
    return tuple(int(n) for n in counted.tolist())
