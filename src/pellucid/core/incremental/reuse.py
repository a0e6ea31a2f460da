"""Scores of a picture under local changes, out of one unchanged pass and what each change makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, log
from typing import Any

import torch
from torch import Tensor

from pellucid.core.answer import Answer
from pellucid.core.incremental.layout import Layout, layout
from pellucid.core.incremental.local_edits import Box, Edits
from pellucid.core.incremental.patches import Pass, Unchanged
from pellucid.core.incremental.places import Places, Span
from pellucid.core.incremental.program import Program, program, weights
from pellucid.core.incremental.scaled import Unfit
from pellucid.core.memory import Footprint
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.structure import leaves
from pellucid.core.tensors import Tensors, batch_size, rows

_RECORDING = 3  # passes that it costs to learn a network's operations, once for each size of input
_WORTH = 0.85  # of the cost of whole passes
_PARTS = 6  # a side, into which a picture is divided at most
_TOGETHER = 16  # changes that a part holds at least
_CHUNK = 64  # changes of one sample before the next sample's turn, where unchanged passes do not fit side by side


@dataclass(frozen=True, slots=True)
class _Job:
    """Changes of one size; `which` are the layout's starts that each begins at, `[samples, changes, 2]`."""

    changes: tuple[int, ...]
    which: Tensor
    layout: Layout


def _regions(group: list[int], boxes: list[list[Box]], extent: tuple[int, ...], parts: int) -> list[list[int]]:
    """Changes sorted by how far from the borders they are: the nearer, the less of every map can change."""
    if parts < 2 or any(box != boxes[i][0] for i in group for box in boxes[i]):
        return [group]
    regions: dict[tuple[int, ...], list[int]] = {}
    far = {i: [min(b.start, n - b.stop) for b, n in zip(boxes[i][0], extent, strict=True)] for i in group}
    ranks = []
    for axis in (0, 1):
        known = sorted({d[axis] for d in far.values()})
        ranks.append({d: place * parts // len(known) for place, d in enumerate(known)})
    for i in group:
        regions.setdefault(tuple(rank[d] for rank, d in zip(ranks, far[i], strict=True)), []).append(i)
    return list(regions.values())


@contextmanager
def _unfit_on_errors(what: str) -> Iterator[None]:
    """What a network does not do on its tape, it may well do whole."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        raise Unfit(f"{what} ({str(error).splitlines()[0] if str(error) else type(error).__name__})") from error


def _evenly(many: list[int], most: int) -> list[list[int]]:
    """Pieces of about one size, none of more than `most`."""
    size = ceil(len(many) / max(1, ceil(len(many) / most)))
    return [many[start : start + size] for start in range(0, len(many), max(1, size))]


def _box(places: Places, row: int, column: int) -> Box:
    (down, height), (right, width) = ((s.starts[i], s.size) for s, i in zip(places, (row, column), strict=True))
    return slice(down, down + height), slice(right, right + width)


class Reuse:
    """The scores of single changes.  `share` is what they cost relative to whole passes, `largest` the network's
    largest output so far.

    Raises `Unfit` when the network cannot be computed from its tape, or when that would not be cheaper.
    """

    def __init__(
        self,
        f: Score,
        x: Tensors,
        edits: Edits,
    ) -> None:
        assert edits.box is not None and edits.content is not None  # noqa: S101 (they are local)
        self.f, self.x, self.name, self.content = f, x, edits.name, edits.content
        name, box, count = edits.name, edits.box, len(edits.wholes)
        self._key = ("changes", name, tuple((k, v.dtype, tuple(v.shape[1:])) for k, v in x.items()))
        self.program = self._learned()
        self.jobs = self._jobs([[box(i, n) for n in range(batch_size(x))] for i in range(count)])
        self.share = sum(j.layout.share * len(j.changes) for j in self.jobs) / count
        if self.share * count + 3 > _WORTH * count:  # one pass unchanged, two to check
            raise Unfit(f"it would cost {self.share:.0%} of whole passes to compute only what changes")
        self._refuse_too_much()
        assert f.model is not None  # noqa: S101 (leased)
        self.weights = weights(self.program, f.model)
        self.largest = 0.0  # of what the network has put out so far
        self._unchanged: dict[int, Unchanged] = {}

    def _learned(self) -> Program:
        """The network's operations on inputs of this size; remembered, also when they will not do."""
        known = self.f.net.remembered.get(self._key)
        if known is None:
            assert self.f.model is not None  # noqa: S101 (leased)
            current().meter.forwards += _RECORDING
            args, kwargs = self._given(0)
            try:
                with _unfit_on_errors("its operations cannot be recorded for one and for two samples"):
                    known = program(self.f.model, args, kwargs, self.name)
            except Unfit as error:
                known = error
            self.f.net.remembered[self._key] = known
        if isinstance(known, Program):
            return known
        raise Unfit(str(known))

    def forget(self) -> None:
        """The network is not what it was when its operations were recorded."""
        self.f.net.remembered.pop(self._key, None)

    def _given(self, sample: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        one = rows(self.x, sample, sample + 1)
        in_order = self.f.net.in_order(one)
        return (tuple(one.values()), {}) if in_order else ((), one)

    def _jobs(self, boxes: list[list[Box]]) -> list[_Job]:
        """Changes sorted by size, so that those of one job can share theirs."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, each in enumerate(boxes):
            size = (max(b[a].stop - b[a].start for b in each) for a in (0, 1))
            groups.setdefault(tuple(ceil(log(n) / log(1.2)) for n in size), []).append(i)
        return [job for group in groups.values() for job in self._divided(group, boxes)]

    def _divided(self, group: list[int], boxes: list[list[Box]]) -> list[_Job]:
        """One job, or one for each part of the picture where what this saves outweighs smaller passes."""
        extent, made = tuple(self.x[self.name].shape[2:]), list[list[_Job]]()
        for parts in {1, max(1, min(_PARTS, int((len(group) / _TOGETHER) ** 0.5)))}:
            regions = _regions(group, boxes, extent, parts)
            made.append([self._job(changes, [boxes[i] for i in changes]) for changes in regions])
        return min(made, key=lambda jobs: sum(j.layout.share * (len(j.changes) + self._passes(j)) for j in jobs))

    def _passes(self, job: _Job) -> int:
        return ceil(len(job.changes) / self._fit(job))

    def _job(self, changes: list[int], boxes: list[list[Box]]) -> _Job:
        which, spans = [], []
        for axis in (0, 1):
            size = max(b[axis].stop - b[axis].start for each in boxes for b in each)
            last = self.x[self.name].shape[2 + axis] - size
            corners = [[min(each[n][axis].start, last) for each in boxes] for n in range(len(boxes[0]))]
            starts = tuple(sorted({start for each in corners for start in each}))
            spans.append(Span(starts, size))
            which.append(torch.tensor([[starts.index(start) for start in each] for each in corners]))
        return _Job(tuple(changes), torch.stack(which, 2), layout(self.program, (spans[0], spans[1])))

    def _refuse_too_much(self) -> None:
        values = self.program.tape.values
        kept = frozenset[int]().union(*(j.layout.kept for j in self.jobs))
        held = sum(values[v].bytes for v in kept if values[v].origin not in ("parameter", "buffer"))
        whole = 3 * max(v.bytes for v in values if v.origin == "operation")  # what one whole pass takes in any case
        most = max(current().memory, 2 * whole)
        if held > most:
            raise Unfit(f"{held / 2**20:.0f} MiB of the unchanged pass would have to be kept, not {most / 2**20:.0f}")
        self._hold_all = held * batch_size(self.x) <= most

    def scores(self, wanted: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Changes with their scores, `[batch]` each."""
        samples, chosen = batch_size(self.x), set(wanted)
        for job in self.jobs:
            mine = [k for k, i in enumerate(job.changes) if i in chosen]
            fit = self._fit(job)
            chunk = fit if samples == 1 else max(fit, _CHUNK)
            for some in _evenly(mine, chunk):
                table = torch.stack([self._row(job, n, some, fit) for n in range(samples)], 1)
                yield from zip((job.changes[k] for k in some), table, strict=True)

    def beside(self, change: int) -> list[int]:
        """A passful of changes of the same size as one, with it."""
        job = next(j for j in self.jobs if change in j.changes)
        first, *_ = _evenly([change, *(i for i in job.changes if i != change)], self._fit(job))
        return first

    def _fit(self, job: _Job) -> int:
        """How many changes of a job run together."""
        run, largest = current(), job.layout.bytes
        fit = Footprint(3 * largest, largest).samples(run.memory, self.x[self.name].device)
        return min(fit, run.max_batch or 64)

    def _row(self, job: _Job, sample: int, some: list[int], fit: int) -> Tensor:
        """The scores of one sample."""
        unchanged = self._pass_unchanged(sample)
        return torch.cat([self._scored(job, sample, piece, unchanged) for piece in _evenly(some, fit)])

    def _scored(self, job: _Job, sample: int, some: list[int], unchanged: Unchanged) -> Tensor:
        f, run = self.f, current()
        run.checkpoint()
        run.meter.forwards += len(some)
        which = job.which[sample, some]
        boxes = [_box(job.layout.first, *at) for at in which.tolist()]
        patches = torch.stack([self.content(job.changes[k], sample, box) for k, box in zip(some, boxes, strict=True)])
        assert f.model is not None  # noqa: S101 (leased)
        with _unfit_on_errors("its operations do not run on parts"), torch.no_grad():
            chosen = which[:, 0], which[:, 1]
            out = Pass(self.program, job.layout, f.model, self.weights, unchanged, chosen).run(patches)
            sizes = [v.abs().max() for v in leaves(out, deep=True) if v.is_floating_point() and v.numel()]
            self.largest = max([self.largest, *map(float, sizes)])
            row = torch.full((len(some),), sample, device=patches.device)
            return f.target.of(Answer(f.net, out, {}, row if f.samples is None else f.samples.to(row)[row]))

    def _pass_unchanged(self, sample: int) -> Unchanged:
        if sample not in self._unchanged:
            if not self._hold_all:
                self._unchanged.clear()
            assert self.f.model is not None  # noqa: S101 (leased)
            current().meter.forwards += 1
            layouts = [job.layout for job in self.jobs]
            with _unfit_on_errors("its recording does not run again"), torch.no_grad():
                self._unchanged[sample] = Unchanged(self.program, layouts, self.f.model, *self._given(sample))
        return self._unchanged[sample]
