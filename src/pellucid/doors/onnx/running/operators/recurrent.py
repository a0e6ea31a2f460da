"""Recurrent layers in every direction and layout.

Where torch's fused kernels compute the same they are used, so that the rules for recurrent layers apply; else the
steps are written out, in operations that rules know as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.cells import Direction, State, bends, gated, long_short, plain
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, ints

Cell = Callable[[Direction, Tensor, State], State]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A kind of layer: its step, states, gates, usual activations, and torch's order of the gates."""

    cell: Cell
    states: int
    gates: int
    usual: tuple[str, ...]
    order: tuple[int, ...]


_RNN = _Layer(plain, 1, 1, ("Tanh",), (0,))
_GRU = _Layer(gated, 1, 3, ("Sigmoid", "Tanh"), (1, 0, 2))
_LSTM = _Layer(long_short, 2, 4, ("Sigmoid", "Tanh", "Tanh"), (0, 2, 3, 1))


@operator("RNN", read=(4,))
def rnn(
    node: Node,
    x: Tensor,
    w: Tensor,
    u: Tensor,
    b: Tensor | None = None,
    lengths: Numbers | None = None,
    h: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The plain recurrent layer."""
    return _layer(node, _RNN, x, (w, u, b), lengths, [h])


@operator("GRU", read=(4,))
def gru(
    node: Node,
    x: Tensor,
    w: Tensor,
    u: Tensor,
    b: Tensor | None = None,
    lengths: Numbers | None = None,
    h: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The gated recurrent unit."""
    return _layer(node, _GRU, x, (w, u, b), lengths, [h])


@operator("LSTM", read=(4,))
def lstm(
    node: Node,
    x: Tensor,
    w: Tensor,
    u: Tensor,
    b: Tensor | None = None,
    lengths: Numbers | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    p: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Long short-term memory."""
    return _layer(node, _LSTM, x, (w, u, b), lengths, [h, c], p)


def _layer(
    node: Node,
    kind: _Layer,
    x: Tensor,
    weights: tuple[Tensor, Tensor, Tensor | None],
    lengths: Numbers | None,
    states: Sequence[Tensor | None],
    p: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Outputs of all steps `[steps, directions, batch, width]`, then the last states `[directions, batch, width]`."""
    w, u, b = weights
    batch_first, ways, width = node.get("layout", 0), len(w), u.shape[-1]
    x = x.transpose(0, 1) if batch_first else x
    given = [s.transpose(0, 1) if batch_first and s is not None else s for s in states]
    start = tuple(x.new_zeros(ways, x.shape[1], width) if s is None else s for s in given)
    same_length = lengths is None or all(n == len(x) for n in ints(lengths))
    fused = _fused(node, kind) if same_length and p is None else None
    if fused is None:
        ones = [_direction(node, kind, weights, p, i) for i in range(ways)]
        out, end = _written_out(node, kind, x, start, ones, None if same_length else lengths)
    else:
        out, end = _by_torch(node, kind, fused, x, start, (w, u, b))
    if not batch_first:
        return (out, *end)
    return (out.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in end))


def _fused(node: Node, kind: _Layer) -> Callable[..., Any] | None:
    """Torch's kernel for the layer, if there is one."""
    wanted = tuple(name.lower() for name in node.get("activations", ()) or kind.usual)
    ways = len(wanted) // len(kind.usual)
    if node.get("clip") or node.get("input_forget", 0):
        return None
    usual = wanted == tuple(name.lower() for name in kind.usual) * ways
    found: Callable[..., Any] | None = None
    if kind is _GRU:
        found = torch.gru if usual and node.get("linear_before_reset", 0) else None
    elif kind is _LSTM:
        found = torch.lstm if usual else None
    elif usual or set(wanted) == {"relu"}:
        found = torch.rnn_tanh if usual else torch.rnn_relu
    return found


def _by_torch(
    node: Node,
    kind: _Layer,
    function: Callable[..., Any],
    x: Tensor,
    start: State,
    weights: tuple[Tensor, Tensor, Tensor | None],
) -> tuple[Tensor, State]:
    w, u, b = weights
    parts = list[Tensor]()
    for i in range(len(w)):
        biases = () if b is None else b[i].chunk(2)
        parts.extend(_turned(kind, part) for part in (w[i], u[i], *biases))
    backwards, both = node.get("direction", "forward") == "reverse", len(w) == 2
    x = x.flip(0) if backwards else x
    hidden = start if kind.states == 2 else start[0]
    out, *end = function(x, hidden, parts, b is not None, 1, 0.0, False, both, False)
    out = out.flip(0) if backwards else out
    return out.unflatten(-1, (len(w), -1)).transpose(1, 2), tuple(end)


def _turned(kind: _Layer, part: Tensor) -> Tensor:
    """The gates in torch's order."""
    if kind.gates == 1:
        return part
    gates = part.chunk(kind.gates)
    return torch.cat([gates[i] for i in kind.order])


def _direction(
    node: Node, kind: _Layer, weights: tuple[Tensor, Tensor, Tensor | None], p: Tensor | None, i: int
) -> Direction:
    w, u, b = weights
    names = list(node.get("activations", ()) or kind.usual * len(w))
    functions = bends(names, node.get("activation_alpha", ()), node.get("activation_beta", ()))
    n = len(kind.usual)
    return Direction(
        w[i],
        u[i],
        None if b is None else b[i],
        functions[n * i : n * (i + 1)],
        node.get("clip") or None,
        None if p is None else p[i],
        after=bool(node.get("linear_before_reset", 0)),
        coupled=bool(node.get("input_forget", 0)),
    )


def _written_out(
    node: Node, kind: _Layer, x: Tensor, start: State, ones: Sequence[Direction], lengths: Numbers | None
) -> tuple[Tensor, State]:
    outs, ends = list[Tensor](), list[State]()
    for i, one in enumerate(ones):
        backwards = i == 1 or node.get("direction", "forward") == "reverse"
        out, end = along(kind.cell, one, x, tuple(s[i] for s in start), lengths, backwards)
        outs.append(out)
        ends.append(end)
    return torch.stack(outs, 1), tuple(torch.stack(s) for s in zip(*ends, strict=True))


def along(
    cell: Cell, one: Direction, x: Tensor, state: State, lengths: Numbers | None, backwards: bool
) -> tuple[Tensor, State]:
    """One direction.  Beyond a sequence's length its state stays and its output is 0."""
    steps: list[Tensor | None] = [None] * len(x)
    last = None if lengths is None else torch.tensor(ints(lengths), device=x.device).reshape(-1, 1)
    for t in range(len(x) - 1, -1, -1) if backwards else range(len(x)):
        new = cell(one, x[t], state)
        if last is not None:
            going = last > t
            state = tuple(torch.where(going, a, b) for a, b in zip(new, state, strict=True))
            steps[t] = torch.where(going, new[0], torch.zeros_like(new[0]))
        else:
            state = new
            steps[t] = new[0]
    return torch.stack([s for s in steps if s is not None]), state
