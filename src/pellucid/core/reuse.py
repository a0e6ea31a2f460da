"""Scores of a picture under local changes, out of one unchanged pass and what each change makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Any

import torch
from torch import Tensor

from pellucid.core.answer import Answer
from pellucid.core.memory import Footprint
from pellucid.core.recording.incremental import Pass, Unchanged
from pellucid.core.recording.layout import Layout, at_places, layout
from pellucid.core.recording.places import Places
from pellucid.core.recording.program import Program, program, weights
from pellucid.core.recording.scaled import Unfit
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, batch_size, rows

Box = tuple[slice, slice]

_RECORDING = 3  # passes that it costs to learn a network's operations, once for each size of input
_WORTH = 0.85  # of the cost of whole passes
_PARTS = 6  # a side, into which a picture is divided at most
_TOGETHER = 6  # changes that a part holds at least
_CHUNK = 64  # changes of one sample before the next sample's turn, where unchanged passes do not fit side by side


@dataclass(frozen=True, slots=True)
class _Job:
    """Changes of one size.  `places` go by sample, then by change."""

    changes: tuple[int, ...]
    size: tuple[int, int]
    places: Places
    layout: Layout


def _regions(group: list[int], boxes: list[list[Box]]) -> list[list[int]]:
    """Changes sorted by where they are: near a border, less of every map can change."""
    parts = min(_PARTS, int((len(group) / _TOGETHER) ** 0.5))
    if parts < 2 or any(box != boxes[i][0] for i in group for box in boxes[i]):
        return [group]
    ranks = []
    for axis in (0, 1):
        starts = sorted({boxes[i][0][axis].start for i in group})
        ranks.append({start: place * parts // len(starts) for place, start in enumerate(starts)})
    regions: dict[tuple[int, ...], list[int]] = {}
    for i in group:
        where = tuple(rank[b.start] for rank, b in zip(ranks, boxes[i][0], strict=True))
        regions.setdefault(where, []).append(i)
    return list(regions.values())


class Reuse:
    """The scores of single changes.  `share` is what they cost relative to whole passes.

    Raises `Unfit` when the network cannot be computed from its tape, or when that would not be cheaper.
    """

    def __init__(
        self,
        f: Score,
        x: Tensors,
        name: str,
        count: int,
        box: Callable[[int, int], Box],
        content: Callable[[int, int, Box], Tensor],
    ) -> None:
        self.f, self.x, self.name, self.content = f, x, name, content
        self._key = ("changes", name, tuple((k, v.dtype, tuple(v.shape[1:])) for k, v in x.items()))
        self.program = self._learned()
        self.jobs = self._jobs([[box(i, n) for n in range(batch_size(x))] for i in range(count)])
        self.share = sum(j.layout.share * len(j.changes) for j in self.jobs) / count
        if self.share * count + 3 > _WORTH * count:  # one pass unchanged, two to check
            raise Unfit(f"it would cost {self.share:.0%} of whole passes to compute only what changes")
        self._refuse_too_much()
        assert f.model is not None  # noqa: S101 (leased)
        self.weights = weights(self.program, f.model)
        self._unchanged: dict[int, Unchanged] = {}

    def _learned(self) -> Program:
        """The network's operations on inputs of this size; remembered, also when they will not do."""
        known = self.f.net.remembered.get(self._key)
        if known is None:
            assert self.f.model is not None  # noqa: S101 (leased)
            current().meter.forwards += _RECORDING
            args, kwargs = self._given(0)
            try:
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
        in_order = tuple(one) == self.f.net.inputs[: len(one)]
        return (tuple(one.values()), {}) if in_order else ((), one)

    def _jobs(self, boxes: list[list[Box]]) -> list[_Job]:
        """Changes sorted by size, so that those of one job can share theirs."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, each in enumerate(boxes):
            size = (max(b[a].stop - b[a].start for b in each) for a in (0, 1))
            groups.setdefault(tuple(ceil(log(n) / log(1.2)) for n in size), []).append(i)
        parts = [part for group in groups.values() for part in _regions(group, boxes)]
        return [self._job(changes, [boxes[i] for i in changes]) for changes in parts]

    def _job(self, changes: list[int], boxes: list[list[Box]]) -> _Job:
        extent = self.x[self.name].shape[2:]
        height, width = (max(b[a].stop - b[a].start for each in boxes for b in each) for a in (0, 1))
        corners = [
            (min(each[n][0].start, extent[0] - height), min(each[n][1].start, extent[1] - width))
            for n in range(len(boxes[0]))
            for each in boxes
        ]
        places = at_places(corners, (height, width))
        return _Job(tuple(changes), (height, width), places, layout(self.program, places))

    def _refuse_too_much(self) -> None:
        values = self.program.tape.values
        kept = frozenset[int]().union(*(j.layout.kept for j in self.jobs))
        held = sum(values[v].bytes for v in kept if values[v].origin not in ("parameter", "buffer"))
        whole = 3 * max(v.bytes for v in values if v.origin == "operation")  # what one whole pass takes in any case
        if held > max(current().memory, 2 * whole):
            raise Unfit(f"the unchanged pass would take {held / 2**20:.0f} MiB")
        self._hold_all = held * batch_size(self.x) <= max(current().memory, 2 * whole)

    def scores(self, wanted: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Changes with their scores, `[batch]` each."""
        samples, chosen = batch_size(self.x), set(wanted)
        for job in self.jobs:
            mine = [k for k, i in enumerate(job.changes) if i in chosen]
            fit = Footprint(3 * job.layout.bytes, job.layout.bytes).samples(current().memory, self.x[self.name].device)
            fit = min(fit, current().max_batch or 64)
            chunk = fit if samples == 1 else max(fit, _CHUNK)
            for start in range(0, len(mine), chunk):
                some = mine[start : start + chunk]
                table = torch.stack([self._row(job, n, some, fit) for n in range(samples)], 1)
                yield from zip((job.changes[k] for k in some), table, strict=True)

    def _row(self, job: _Job, sample: int, some: list[int], fit: int) -> Tensor:
        """The scores of one sample."""
        unchanged = self._pass_unchanged(sample)
        pieces = [some[start : start + fit] for start in range(0, len(some), fit)]
        return torch.cat([self._scored(job, sample, piece, unchanged) for piece in pieces])

    def _scored(self, job: _Job, sample: int, some: list[int], unchanged: Unchanged) -> Tensor:
        f, run = self.f, current()
        run.checkpoint()
        run.meter.forwards += len(some)
        at = torch.tensor(some) + sample * len(job.changes)
        corners = zip(*(s.start[at].tolist() for s in job.places), strict=True)
        height, width = job.size
        boxes = [(slice(y, y + height), slice(x, x + width)) for y, x in corners]
        patches = torch.stack(
            [self.content(job.changes[k], sample, box) for k, box in zip(some, boxes, strict=True)]
        )
        assert f.model is not None  # noqa: S101 (leased)
        try:
            with torch.no_grad():
                out = Pass(self.program, job.layout, f.model, self.weights, unchanged, at).run(patches, job.places)
                row = torch.full((len(some),), sample, device=patches.device)
                return f.target.of(Answer(f.net, out, {}, row if f.samples is None else f.samples.to(row)[row]))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise Unfit(f"its operations do not run on parts: {str(error).splitlines()[0]}") from error

    def _pass_unchanged(self, sample: int) -> Unchanged:
        if sample not in self._unchanged:
            if not self._hold_all:
                self._unchanged.clear()
            assert self.f.model is not None  # noqa: S101 (leased)
            current().meter.forwards += 1
            layouts = [job.layout for job in self.jobs]
            with torch.no_grad():
                self._unchanged[sample] = Unchanged(self.program, layouts, self.f.model, *self._given(sample))
        return self._unchanged[sample]
