"""What a pass that resumes behind a cut needs from before it, and what becomes of each operation before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.recording.tape import Operation, Ref, Tape
from pellucid.core.site import Site
from pellucid.core.structure import leaves

# compute: run it.  keep: hand out what it gave (blanks where nobody will look).  restore: it wrote into a tensor that
# is needed, so give that tensor the numbers it had afterwards.
Action: TypeAlias = Literal["compute", "keep", "restore"]

_ARRAYS = ("numpy", "tolist", "array", "dlpack")  # what leaves here holds one part a sample


@dataclass(frozen=True, slots=True)
class Frontier:
    """`actions` by operation before `cut`; `needed` are the values whose numbers are kept; `dense` those that must not
    share memory between samples, because they are viewed in another shape or written into.
    """

    cut: int
    value: int
    actions: tuple[Action, ...]
    needed: frozenset[int]
    dense: frozenset[int]


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


def where(tape: Tape, site: Site) -> tuple[int, int]:
    """The first operation behind a site, and the value at it."""
    if site.at == "input":
        raise BadInput(
            f"A pass cannot be cut at {str(site)!r}, an input.", "Cut at the output of what comes before it."
        )
    value = tape.output(site)
    if site.operation is None:
        return next(c.last for c in tape.calls if (c.path, c.call) == (site.path, site.call)), value
    return next(op.index for op in tape.operations if op.site == site), value


def frontier(batched: Batched, site: Site) -> Frontier:
    """Go through the tape backwards from the cut and decide what becomes of each operation."""
    tape = batched.one
    cut, value = where(tape, site)
    needed = _read_behind(tape, cut, value, site)
    shared = _shared_and_written(tape)
    actions: list[Action] = []
    for op in reversed(tape.operations[:cut]):
        action = _action(batched, op, needed, shared)
        if action == "compute":
            needed.update(op.inputs)
        actions.append(action)
    actions.reverse()
    kept = {v for op, action in zip(tape.operations, actions, strict=False) if action != "compute" for v in op.outputs}
    return Frontier(cut, value, tuple(actions), frozenset(needed & kept), frozenset(_dense(tape, cut, actions)))


def _read_behind(tape: Tape, cut: int, value: int, site: Site) -> set[int]:
    """Values from before the cut that are read behind it; not the replaced one, unless it was there before the site."""
    read = {v for op in tape.operations[cut:] for v in op.inputs} | {
        ref.id for ref in leaves(tape.result, Ref, deep=True)
    }
    first = cut
    if site.operation is None:
        first = next(c.first for c in tape.calls if (c.path, c.call) == (site.path, site.call))
    else:
        read -= set(tape.operations[cut].outputs) - set(tape.operations[cut].inputs)
    made = tape.values[value].operation
    if made is not None and made >= first:
        read.discard(value)
    return {v for v in read if (by := tape.values[v].operation) is None or by < cut}


def _views(tape: Tape) -> Iterator[tuple[Operation, int]]:
    """Operations that put out another view of memory that they were given, with that memory."""
    for op in tape.operations:
        given = {tape.values[v].storage for v in op.inputs}
        for v in op.outputs:
            if v not in op.inputs and tape.values[v].storage in given and not op.mutates:
                yield op, tape.values[v].storage


def _shared_and_written(tape: Tape) -> set[int]:
    """Memory that is both seen through several views and written into: its operations must really run."""
    written = {tape.values[v].storage for op, step in zip(tape.operations, tape.steps, strict=True)
               for v, _ in step.renames if op.mutates}  # fmt: skip
    return written & {storage for _, storage in _views(tape)}


def _action(batched: Batched, op: Operation, needed: set[int], shared: set[int]) -> Action:
    tape = batched.one
    wanted = [v for v in op.outputs if v in needed and v not in op.inputs]
    if op.reads and op.name in _ARRAYS:
        return "compute"
    if not wanted:
        return "compute" if op.hidden else "keep"
    live = any(tape.values[v].storage in shared for v in wanted)
    views = any(tape.values[v].storage == tape.values[i].storage for v in wanted for i in op.inputs)
    if op.hidden or (live and views) or any(batched.axis(v) is None for v in wanted):
        return "compute"
    return "restore" if op.mutates else "keep"


def _dense(tape: Tape, cut: int, actions: list[Action]) -> set[int]:
    runs = {op.index for op in tape.operations if op.index >= cut or actions[op.index] == "compute"}
    touched = {storage for op, storage in _views(tape) if op.index in runs}
    touched |= {tape.values[v].storage for op in tape.operations if op.mutates and op.index in runs for v in op.outputs}
    return {v.id for v in tape.values if v.storage in touched}
