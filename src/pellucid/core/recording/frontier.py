"""What a pass that resumes behind a cut needs from before it, and what becomes of each operation before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.recording.batched import Batched
from pellucid.core.recording.step import Ref, Step
from pellucid.core.recording.tape import Operation, Tape
from pellucid.core.site import Site
from pellucid.core.structure import leaves

# compute: run it.  keep: hand out what it gave (blanks where nobody will look).  restore: it wrote into a tensor that
# is needed, so give that tensor the numbers it had afterwards.
Action: TypeAlias = Literal["compute", "keep", "restore"]

_ARRAYS = ("numpy", "tolist", "array", "dlpack")  # what leaves here holds one part a sample


@dataclass(frozen=True, slots=True)
class Frontier:
    """`actions` by operation before `cut`; `needed` are the values whose numbers are kept; `dense` those that must not
    share memory between samples, because they are viewed in another shape or written into.  `alone`: what lies behind
    reads nothing from before the cut but weights.
    """

    cut: int
    value: int
    actions: tuple[Action, ...]
    needed: frozenset[int]
    dense: frozenset[int]
    alone: bool


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
    of_weights = all(tape.values[v].origin in ("parameter", "buffer") for v in needed)
    shared = _shared_and_written(tape)
    actions: list[Action] = []
    for op in reversed(tape.operations[:cut]):
        action = _action(batched, op, needed, shared)
        if action == "compute":
            needed.update(op.inputs)
        actions.append(action)
    actions.reverse()
    kept = {v for op, action in zip(tape.operations, actions, strict=False) if action != "compute" for v in op.outputs}
    dense, alone = _dense(tape, cut, actions), of_weights and "compute" not in actions
    return Frontier(cut, value, tuple(actions), frozenset(needed & kept), frozenset(dense), alone)


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


def given_states(
    op: Operation, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[int, Tensor]]:
    """The tensors that an operation was given, by the value in them once it has run."""
    renamed: dict[int, int] = {old: new for new, old in step.renames}
    refs = leaves((step.args, dict(step.kwargs)), Ref)
    for ref, v in zip(refs, leaves((args, kwargs)), strict=True):
        before: int = ref.id
        yield renamed.get(before, before), v


def states(
    op: Operation, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> Iterator[tuple[int, Tensor]]:
    """The values that an operation made, with the tensors they are in."""
    made = zip((ref.id for ref in leaves(step.result, Ref)), leaves(out), strict=True)
    for id, v in (*given_states(op, step, args, kwargs), *made):
        if id in op.outputs and id not in op.inputs:
            yield id, v
