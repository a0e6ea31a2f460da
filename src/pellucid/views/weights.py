"""The report on a network's weights: norms, spectra, sparsity and histograms, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pellucid.architecture.weight_facts import WeightFacts
from pellucid.architecture.weights import Weights
from pellucid.views.architecture import metadata_fold
from pellucid.views.number import count, percent
from pellucid.views.view import Cell, Curve, Heading, Series, Stack, Table, Text, View

BLOCKS = "▁▂▃▄▅▆▇█"
EMPTY = "\N{NO-BREAK SPACE}"
MOST_CURVES, MOST_ROWS, STILL_ROWS = 6, 4000, 40


def weights_view(found: Weights, *, still: bool = False) -> View:
    """The report; `still` is what fits on one picture."""
    seen = [t for t in found.tensors if t.zeros == t.zeros]
    types = _types(found.tensors)
    of_type = f" of type {types.pop()}" if len(types) == 1 else ""
    lead = f"{count(len(found.tensors), 'tensor')} with {count(found.count, 'number')}{of_type}"
    if seen:
        zeros = sum(t.zeros * t.count for t in seen) / max(sum(t.count for t in seen), 1)
        lead += f"; {percent(zeros)} are zero"
    said: list[View] = [Text(note, "quiet") for note in found.notes]
    if bad := sum(t.bad for t in found.tensors):
        said.append(Text(f"{count(bad, 'number')} are NaN or infinite; all facts are of the others.", "warning"))
    if found.skipped:
        some = "one large weight" if len(found.skipped) == 1 else f"{len(found.skipped)} large weights"
        said.append(Text(f"No spectrum was found of {some}: pl.weights(net, spectra=True) finds all.", "quiet"))
    if found.filters:
        said.append(Text(f"The filters of {found.filters} as pictures: pl.dream.filters(net).", "quiet"))
    curves = (_spectra(found.tensors),) if any(len(t.spectrum) > 2 for t in found.tensors) else ()
    head = (Heading(f"The weights of {found.network}", 1), Text(f"{lead}.", "lead"), *said)
    more = () if still else metadata_fold(found.metadata)
    return Stack((*head, *curves, _table(found.tensors, still), *more, Text(_WORDS, "quiet")))


_WORDS = (
    "Norm: the root of the sum of squares. Largest singular value and stable rank are those of the weight as a matrix, "
    "its first axis by all others: the stable rank is the squared norm over the squared largest singular value, 1 "
    "where one direction holds everything. The histogram goes from the smallest to the largest value, its heights by "
    "the square root of counts."
)


def _table(tensors: Sequence[WeightFacts], still: bool) -> Table:
    types = _types(tensors)
    columns: tuple[str, ...] = ("weight", "shape", *(("type",) if len(types) > 1 else ()), "norm", "mean", "deviation",
                                "zeros")  # fmt: skip
    bad = any(t.bad for t in tensors)
    columns = (*columns, *(("NaN, ∞",) if bad else ()), "largest singular", "stable rank")
    shown = tensors[: STILL_ROWS if still else MOST_ROWS]
    rows: list[tuple[Cell, ...]] = []
    for t in shown:
        shape = "×".join(map(str, t.shape)) or "scalar"
        kind = (t.dtype,) if len(types) > 1 else ()
        cells: tuple[Cell, ...] = (t.name, shape, *kind, t.norm, t.mean, t.spread, percent(t.zeros))
        cells = (*cells, *((t.bad,) if bad else ()), t.largest_singular, t.stable_rank)
        rows.append(cells if still else (*cells, sparkline(t.histogram)))
    left_out = len(tensors) - len(shown)
    caption = f"The first {len(shown)} of {count(len(tensors), 'tensor')}" if left_out else ""
    return Table(columns if still else (*columns, "histogram"), tuple(rows), caption)


def sparkline(counts: Sequence[int], width: int = 16) -> str:
    r"""Counts as a row of blocks, their heights by the square root; a bin that holds anything is seen.

    >>> sparkline([0, 1, 4, 1, 0], 5)
    '\xa0▅█▅\xa0'
    """
    if not len(counts):
        return ""
    groups = np.array_split(np.asarray(counts), min(width, len(counts)))
    sums = [int(g.sum()) for g in groups]
    most = max(sums, default=0) or 1
    return "".join(EMPTY if n == 0 else BLOCKS[min(7, int(8 * (n / most) ** 0.5))] for n in sums)


def _types(tensors: Sequence[WeightFacts]) -> set[str]:
    """The types of numbers; counters, which are one number each, aside."""
    return {t.dtype for t in tensors if t.count > 1}


def _short(names: Sequence[str]) -> list[str]:
    """Names without what all of them begin and end with."""
    if len(names) < 2:
        return list(names)
    parts = [name.split(".") for name in names]
    least = min(map(len, parts)) - 1
    start = next((k for k in range(least) if len({p[k] for p in parts}) > 1), least)
    end = next((k for k in range(least - start) if len({p[-1 - k] for p in parts}) > 1), least - start)
    return [".".join(p[start : len(p) - end]) for p in parts]


def _spectra(tensors: Sequence[WeightFacts]) -> Curve:
    largest = sorted((t for t in tensors if len(t.spectrum) > 2), key=lambda t: -t.count)[:MOST_CURVES]
    series = tuple(
        Series(name, np.linspace(0, 1, len(t.spectrum)), np.array(t.spectrum) / (t.spectrum[0] or 1.0))
        for t, name in zip(largest, _short([t.name for t in largest]), strict=True)
    )
    caption = "Singular values of the largest weights, each over its own largest one."
    return Curve(series, "share of singular values", "relative size", caption, alt=caption)
