"""Receptive fields: which part of the input a position of a value can depend on, by arithmetic along the tape.

A field is exact for stacks of convolution and pooling (Araujo, Norris and Sim, 2019: Computing receptive fields of
convolutional neural networks); where several ways meet it is their union, and where an operation is not known to
keep positions apart, it is the whole input.  It is never too small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeAlias

from pellucid.core.errors import BadInput
from pellucid.core.facing import axis_seen
from pellucid.core.recording.positions import Moves, moved
from pellucid.core.recording.step import Ref
from pellucid.core.recording.tape import Operation, Tape, Value
from pellucid.core.recording.windows import Call, Window, windows
from pellucid.core.site import Site

Number: TypeAlias = int | Fraction


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """In input pixels, for each of the input's spatial axes: the field's size (None: everything), the distance between
    the fields of neighboring positions (None where the value has no such axis), and where position 0's field starts.
    `axes` are the value's axes that follow the input's.
    """

    size: tuple[Number | None, ...]
    stride: tuple[Number | None, ...]
    offset: tuple[Number | None, ...]
    axes: tuple[int | None, ...] = field(default=(), compare=False, repr=False)

    def pixels(self, position: Sequence[int], extent: Sequence[int]) -> tuple[slice, ...]:
        """The input pixels behind a position; positions and `extent`, the input's size, go by the input's axes.

        >>> ReceptiveField((3, None), (2, None), (-1, None)).pixels((0, 0), (8, 5))
        (slice(0, 2, None), slice(0, 5, None))
        """
        found = []
        for at, n, size, stride, offset in zip(position, extent, self.size, self.stride, self.offset, strict=True):
            if size is None or stride is None or offset is None:
                found.append(slice(0, n))
                continue
            first = offset + stride * at
            start, stop = max(0, math.ceil(first)), min(n, math.floor(first + size - 1) + 1)
            found.append(slice(min(start, n), max(start, stop)))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Field:
    """One axis of a value that follows spatial axis `axis` of the input."""

    axis: int
    size: Fraction
    stride: Fraction
    offset: Fraction

    def behind(self, w: Window) -> Field:
        """The field of the operation's output."""
        size = self.size + self.stride * (w.high - w.low)
        return Field(self.axis, size, self.stride * w.step, self.offset + self.stride * w.low)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a value sees: fields by its own axes, and the input's axes that it sees entirely."""

    fields: Mapping[int, Field]
    whole: frozenset[int]


def receptive_fields(tape: Tape, input: str = "", axes: Sequence[int] | None = None) -> dict[int, ReceptiveField]:
    """The receptive field of every value on the tape that depends on an input, by the value's number.

    `input` names it (by default the first with positions), `axes` its spatial axes (by default all after batch and
    channels; (1, 2) for [batch, height, width, channels]).  Raises `BadInput` if there is no such input.

    >>> import torch
    >>> from pellucid.core.recording.record import record_module
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3), torch.nn.MaxPool2d(2))
    >>> tape = record_module(model, (torch.zeros(1, 1, 8, 8),), {})
    >>> receptive_fields(tape)[tape.output(Site("1"))]
    ReceptiveField(size=(4, 4), stride=(2, 2), offset=(0, 0))
    """
    start = _start(tape, input)
    axes = tuple(range(2, len(start.shape)) if axes is None else axes)
    one = Fraction(1)
    seen = {start.id: Seen({at: Field(i, one, one, Fraction(0)) for i, at in enumerate(axes)}, frozenset())}
    for op in tape.operations:
        if any(v in seen for v in op.inputs):
            for v in op.outputs:
                if v not in seen:
                    seen[v] = _behind(tape, op, tape.values[v], seen)
    return {v: _public(s, len(axes)) for v, s in seen.items()}


def receptive_field(tape: Tape, site: Site, input: str = "", axes: Sequence[int] | None = None) -> ReceptiveField:
    """The receptive field at a site, with `axes` counted as the value is seen there: a map has its channels second.

    Raises `BadInput` if the site did not run or does not see a picture.
    """
    value = tape.output(site)
    found = receptive_fields(tape, input, axes).get(value)
    if found is None:
        raise BadInput(f"The value at {str(site)!r} does not depend on the input.", "Choose a site behind the input.")
    if site.path not in tape.turned or site.operation is not None:
        return found
    rank = len(tape.values[value].shape)
    return replace(found, axes=tuple(None if a is None else axis_seen(a, rank) for a in found.axes))


def _start(tape: Tape, input: str) -> Value:
    inputs = [v for v in tape.values if v.origin == "input"]
    found = [v for v in inputs if (v.name == input if input else len(v.shape) >= 3 and "float" in v.dtype)]
    if not found:
        names = ", ".join(f"{v.name} {v.shape}" for v in inputs)
        raise BadInput(
            f"There is no input {input!r} with positions." if input else "No input has positions.", f"Inputs: {names}."
        )
    return found[0]


def _public(seen: Seen, rank: int) -> ReceptiveField:
    by_axis = {f.axis: f for f in seen.fields.values() if f.axis not in seen.whole}
    own = {f.axis: at for at, f in seen.fields.items() if f.axis not in seen.whole}
    found = [by_axis.get(i) for i in range(rank)]
    return ReceptiveField(
        tuple(None if f is None else _plain(f.size) for f in found),
        tuple(None if f is None else _plain(f.stride) for f in found),
        tuple(None if f is None else _plain(f.offset) for f in found),
        tuple(own.get(i) for i in range(rank)),
    )


def _plain(number: Fraction) -> Number:
    return int(number) if number.denominator == 1 else number


def _behind(tape: Tape, op: Operation, made: Value, seen: Mapping[int, Seen]) -> Seen:
    """What an output of an operation sees."""
    given = [(tape.values[v], seen[v]) for v in op.inputs if v in seen]
    if op.pointwise or op.name in _KEEPS or (op.name in ("cat", "concat") and not _joins_positions(tape, op, given)):
        return _union([_aligned(value, s, made) for value, s in given])
    value, s = given[0]
    if len(given) > 1:
        return _everything(given)
    step = tape.steps[op.index]
    weight = step.args[1] if len(step.args) > 1 else step.kwargs.get("weight")
    call = Call(step, value.shape, made.shape, tape.values[weight.id].shape if isinstance(weight, Ref) else ())
    looks = windows(op.name, call)
    if looks is not None:
        return _kept(s, {at: (at, w) for at, w in looks.items()})
    places = moved(op.name, call)
    return _everything(given) if places is None else _kept(s, places)


# torch's names for operations that keep positions apart though their kernels are not elementwise
_KEEPS = frozenset(
    {"batch_norm", "local_response_norm", "channel_shuffle", "expand", "expand_as", "broadcast_to", "prelu",
     "glu", "where", "normalize", "clone", "detach", "contiguous", "to", "type_as", "float", "half", "dropout",
     "dropout2d", "alpha_dropout", "feature_dropout"}
)  # fmt: skip
_SAME = Window(Fraction(1), Fraction(0), Fraction(0))


def _kept(s: Seen, moves: Moves) -> Seen:
    """Fields behind an operation that says, axis by axis, where it goes and what it reads; others stay as they are."""
    fields: dict[int, Field] = {}
    whole = set(s.whole)
    mixed = {moves[at][0] for at in s.fields if at in moves and moves[at][1] is None}
    for at, f in s.fields.items():
        to, window = moves.get(at, (at, _SAME))
        if window is None or to in mixed:
            whole.add(f.axis)
        else:
            fields[to] = f.behind(window)
    return Seen(fields, frozenset(whole))


def _everything(given: Sequence[tuple[Value, Seen]]) -> Seen:
    axes = {f.axis for _, s in given for f in s.fields.values()}
    return Seen({}, frozenset(axes).union(*(s.whole for _, s in given)))


def _joins_positions(tape: Tape, op: Operation, given: Sequence[tuple[Value, Seen]]) -> bool:
    step = tape.steps[op.index]
    dim = step.args[1] if len(step.args) > 1 else step.kwargs.get("dim", 0)
    return any(dim % len(value.shape) in s.fields for value, s in given)


def _aligned(value: Value, s: Seen, made: Value) -> Seen:
    """What broadcasting makes of a field: axes count from the right; one position spread over many is everywhere."""
    shift = len(made.shape) - len(value.shape)
    spread = {f.axis for at, f in s.fields.items() if value.shape[at] != made.shape[at + shift]}
    return Seen({at + shift: f for at, f in s.fields.items()}, s.whole | spread)


def _union(parts: Sequence[Seen]) -> Seen:
    whole = frozenset[int]().union(*(s.whole for s in parts))
    fields: dict[int, Field] = {}
    for s in parts:
        for at, f in s.fields.items():
            other = fields.get(at, f)
            if other.axis != f.axis or other.stride != f.stride:
                whole |= {other.axis, f.axis}
                continue
            first = min(other.offset, f.offset)
            last = max(other.offset + other.size, f.offset + f.size)
            fields[at] = Field(f.axis, last - first, f.stride, first)
    places = [(f.axis, at) for at, f in fields.items()]
    whole |= {axis for axis, _ in places if sum(a == axis for a, _ in places) > 1}
    return Seen({at: f for at, f in fields.items() if f.axis not in whole}, whole)
