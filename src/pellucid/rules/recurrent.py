"""Recurrent layers written out in products, sums and activations, so that rules which speak of those reach inside.

The same numbers as torch's fused kernels, up to rounding: LSTM (also with projections), GRU, tanh and ReLU networks and
their cells; several layers, both directions, padded or packed sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

State: TypeAlias = tuple[Tensor, ...]
Cell: TypeAlias = Callable[..., State]


def _lstm_cell(x: Tensor, state: State, w: Tensor, u: Tensor, b: Any = None, c: Any = None, p: Any = None) -> State:
    """Gates i, f, o and the new content g of the cell; `p` projects what is put out."""
    h, cell = state
    i, f, g, o = (F.linear(x, w, b) + F.linear(h, u, c)).chunk(4, -1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    h = o.sigmoid() * cell.tanh()
    return (h if p is None else F.linear(h, p)), cell


def _gru_cell(x: Tensor, state: State, w: Tensor, u: Tensor, b: Any = None, c: Any = None) -> State:
    (h,) = state
    (r, z, n), (s, y, m) = F.linear(x, w, b).chunk(3, -1), F.linear(h, u, c).chunk(3, -1)
    z = (z + y).sigmoid()
    return ((1 - z) * (n + (r + s).sigmoid() * m).tanh() + z * h,)


def _plain_cell(bend: Callable[[Tensor], Tensor]) -> Cell:
    def cell(x: Tensor, state: State, w: Tensor, u: Tensor, b: Any = None, c: Any = None) -> State:
        return (bend(F.linear(x, w, b) + F.linear(state[0], u, c)),)

    return cell


def _along(cell: Cell, steps: Sequence[Tensor], state: State, weights: Sequence[Any]) -> tuple[list[Tensor], State]:
    """One layer in one direction.  Sequences may end (or, from behind, begin) early: the samples of a step are fewer.

    What a step has not is kept aside, in its place behind those that go on.
    """
    out, start, done = list[Tensor](), state, list[State]()
    state = tuple(v[: len(steps[0])] for v in start)
    for x in steps:
        if len(x) < len(state[0]):
            done.append(tuple(v[len(x) :] for v in state))
            state = tuple(v[: len(x)] for v in state)
        elif len(x) > len(state[0]):
            state = tuple(torch.cat((v, s[len(v) : len(x)])) for v, s in zip(state, start, strict=True))
        state = cell(x, state, *weights)
        out.append(state[0])
    ends = [state, *reversed(done)]
    return out, tuple(torch.cat([end[i] for end in ends]) for i in range(len(state)))


def _layers(
    cell: Cell, steps: list[Tensor], start: State, weights: Sequence[Tensor], count: int, layers: int, both: bool
) -> tuple[list[Tensor], State]:
    """All layers; `start` and the end hold `[layers x directions, batch, width]`, `count` the weights of each."""
    ends, groups = list[State](), _groups(weights, count)
    for _ in range(layers):
        found = []
        for direction in range(1 + both):
            state = tuple(v[len(ends)] for v in start)
            ordered = steps[::-1] if direction else steps
            out, end = _along(cell, ordered, state, next(groups))
            found.append(out[::-1] if direction else out)
            ends.append(end)
        steps = [torch.cat(parts, -1) for parts in zip(*found, strict=True)] if both else found[0]
    return steps, tuple(torch.stack(v) for v in zip(*ends, strict=True))


def _groups(weights: Sequence[Tensor], count: int) -> Iterator[list[Any]]:
    """Each layer's weights in the order that a cell takes them: without biases a projection stands third."""
    for i in range(0, len(weights), count):
        group: list[Any] = list(weights[i : i + count])
        yield [*group[:2], None, None, group[2]] if count == 3 else group


def _sequence(cell: Cell, states: int) -> Callable[..., Any]:
    """A layer as torch calls it: with padded sequences, or with packed ones and the samples of each step."""

    def run(input: Tensor, second: Any, third: Any, *others: Any) -> Any:
        packed = isinstance(second, Tensor) and not second.is_floating_point()
        state, weights, rest = (third, others[0], others[1:]) if packed else (second, third, others)
        has_biases, layers, dropout, training, both = rest[:5]
        if dropout and training:
            return NotImplemented
        time = 1 if not packed and rest[5] else 0
        steps = list(torch.split(input, second.tolist()) if packed else input.unbind(time))
        start: Any = tuple(state) if states > 1 else (state,)
        count = len(weights) // (layers * (1 + both))
        assert bool(has_biases) == (count > 3)  # noqa: S101 (the order that `_groups` relies on)
        out, end = _layers(cell, steps, start, list(weights), count, layers, both)
        return (torch.cat(out) if packed else torch.stack(out, time), *end)

    return run


def _one_cell(cell: Cell, states: int) -> Callable[..., Any]:
    def run(input: Tensor, hx: Any, w: Tensor, u: Tensor, b: Any = None, c: Any = None) -> Any:
        found = cell(input, tuple(hx) if states > 1 else (hx,), w, u, b, c)
        return found if states > 1 else found[0]

    return run


_CELLS: Mapping[str, tuple[Cell, int]] = {
    "lstm": (_lstm_cell, 2),
    "gru": (_gru_cell, 1),
    "rnn_tanh": (_plain_cell(torch.tanh), 1),
    "rnn_relu": (_plain_cell(torch.relu), 1),
}
RECURRENT: Mapping[Any, Callable[..., Any]] = {
    **{getattr(torch, name): _sequence(*cell) for name, cell in _CELLS.items()},
    **{getattr(torch, f"{name}_cell"): _one_cell(*cell) for name, cell in _CELLS.items()},
}
