r"""Attention relevance (Chefer, Gur, Wolf): attention times the score's gradient on it, followed through a network.

$$\bar A = \tfrac1H\textstyle\sum_h(\nabla A_h\odot A_h)^+,\qquad R^{ss} \leftarrow R^{ss} + \bar A\,R^{ss},\quad
R^{sq} \leftarrow R^{sq} + \bar A\,R^{sq}$$

where tokens $s$ look at each other, and where they look at others, $q$,

$$R^{sq} \leftarrow R^{sq} + \bigl(\bar R^{ss}\bigr)^{\!\top}\bar A\,\bar R^{qq},\qquad
R^{ss} \leftarrow R^{ss} + \bar A\,R^{qs}$$

with $R^{ss} = I$ and $R^{sq} = 0$ to begin with, and $\bar R$ the rows of $R - I$, scaled to add up to 1, plus $I$.  So
it covers encoders, encoders with decoders, and two kinds of tokens that look at each other.  Read are the rows of the
tokens that the score is read from, less the identity that everything began with.  Layers that look at each other at the
same time (neither sees what the other found) are followed at the same time.

Good for: transformers, and which words and which patches together speak for an answer.
Not for:  evidence against the target, which is cut away; and what passes by attention (values, the layers between).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pellucid.core.attention.catch import Attention
from pellucid.core.attention.flow import (
    Layers,
    Position,
    on_inputs,
    read_from,
    refuse_what_is_not_attention,
    refuse_windows,
)
from pellucid.core.attention.passes import Attends, attention, attention_of
from pellucid.core.attention.tokens import Stream, streams
from pellucid.core.errors import BadModel
from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors


@method(
    title="Attention relevance (Chefer)",
    family="attention",
    paper="Chefer, Gur, Wolf 2021, arXiv:2103.15679",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 gradient pass",
    signed=False,
)
def attention_relevance(
    f: Score,
    x: Tensors,
    *,
    layers: Layers = None,
    position: Position = None,
) -> Finding:
    """How much attention, where it speaks for the target, carries from each token of each input to where it is read.

    For a picture `[batch, 1, height, width]`, enlarged from the grid of patches (`resolution`); for words and steps
    `[batch, tokens, 1]`; of two inputs each has its map.  `layers` counts for each kind of tokens.  Raises `BadModel`
    when no attention can be seen, it runs within windows, the score does not depend on it, or two inputs have equally
    many tokens.

    >>> import torch, pellucid as pl
    >>> class Pool(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.nn.functional.scaled_dot_product_attention(x, x, x)[:, 0]
    >>> x = torch.tensor([[[0.0, 0.0], [0.0, 3.0], [0.0, -3.0]]])
    >>> pl.methods.attention_relevance(Pool(), x, 1).values.flatten().tolist()
    [0.0, 1.0, 0.0]
    """
    attends = attention_of(f, x)
    refuse_windows(f.net, attends)
    known = streams(f, x, attends)
    _refuse_two_streams(f, known)
    refuse_what_is_not_attention(f.net, attends, known)
    first = _last_layers(attends, layers)

    def read(found: Sequence[Attention]) -> Tensors:
        followed = [i for i in first if found[i].grad is not None]
        if not followed:
            raise f.no_gradient()
        ends = read_directly([attends[i] for i in followed], followed)
        rows = {n: read_from(found[i], position) for n, i in ends.items()}
        if all(attends[i].queries == attends[i].keys for i in followed):
            return {known[n].input: _row_by_row(row, found, followed) for n, row in rows.items() if known[n].input}
        return _read(_followed(attends, found, followed, known), rows, known)

    facts = {"layers": len(first), "tokens of each input": {s.input: n for n, s in known.items() if s.input}}
    return on_inputs(attention(f, x, read, since=min(first)), known, x, facts)


def _last_layers(attends: Sequence[Attends], layers: int | None) -> list[int]:
    """The numbers of the last layers in which each kind of tokens looks."""
    by_queries: dict[int, list[int]] = {}
    for i, a in enumerate(attends):
        by_queries.setdefault(a.queries, []).append(i)
    return sorted(i for numbers in by_queries.values() for i in numbers[-(layers or len(attends)) :])


def _refuse_two_streams(f: Score, known: Mapping[int, Stream]) -> None:
    names = [s.input for s in known.values() if s.input]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        lengths = " and ".join(str(n) for n, s in known.items() if s.input == twice)
        raise BadModel(
            f"{f.net.name} attends over {lengths} tokens of {twice!r}: which are the same ones is not known.",
            "Use le_grad, which takes every layer by itself.",
        )


def read_directly(attends: Sequence[Attends], numbers: Sequence[int]) -> dict[int, int]:
    """The kinds of tokens that the score is read from, each with the number of the last layer in which it looks.

    A kind that others look at after that is read through them.
    """
    last = {a.queries: i for a, i in zip(attends, numbers, strict=True)}
    return {n: i for n, i in last.items() if not any(a.keys == n != a.queries and i in a.after for a in attends)}


def _row_by_row(row: Tensor, found: Sequence[Attention], followed: Sequence[int]) -> Tensor:
    """What tokens that only look at themselves gained: the same product, from its end, without the large matrices."""
    gained = torch.zeros_like(row)[:, None]
    for i in reversed([i for i in followed if found[i].weights.shape[-1] == row.shape[1]]):
        gained = gained + (row[:, None] + gained) @ _cam(found[i])
    return gained[:, 0]


def _cam(a: Attention) -> Tensor:
    assert a.grad is not None  # noqa: S101 (only such layers are followed)
    return (a.grad * a.weights).clamp(min=0).mean(1)


Flow = dict[tuple[int, int], Tensor]


def _followed(
    attends: Sequence[Attends], found: Sequence[Attention], followed: Sequence[int], known: Mapping[int, Stream]
) -> Flow:
    """What each kind of tokens gained from each, `[batch, tokens, tokens]`.

    The identity is left out throughout: what was gained may be so small that it would drown in its rounding.
    """
    like = found[followed[0]].weights
    flow: Flow = {(s, q): like.new_zeros(len(like), s, q) for s in known for q in known}
    together: list[int] = []
    for i in followed:
        if attends[i].after & set(together):
            _add(flow, [found[j] for j in together])
            together = []
        together.append(i)
    _add(flow, [found[j] for j in together])
    return flow


def _add(flow: Flow, layers: Sequence[Attention]) -> None:
    """Follow layers that see the same tokens, at the same time."""
    gains = [gain for a in layers for gain in _gains(flow, a)]
    for key, gain in gains:
        flow[key] = flow[key] + gain


def _gains(flow: Flow, a: Attention) -> list[tuple[tuple[int, int], Tensor]]:
    cam = _cam(a)
    s, q = a.weights.shape[2:]
    others = {t for t, _ in flow}
    if s == q:
        return [((s, t), cam @ flow[s, t] + (cam if s == t else 0)) for t in others]
    to, from_ = _scaled(flow[s, s]), _scaled(flow[q, q])
    looked = cam + to.mT @ cam
    return [((s, q), looked + looked @ from_), *(((s, t), cam @ flow[q, t]) for t in others if t != q)]


def _scaled(gained: Tensor) -> Tensor:
    """Each row scaled to add up to 1."""
    sums = gained.sum(-1, keepdim=True)
    return gained / torch.where(sums == 0, 1.0, sums)


def _read(flow: Flow, ends: Mapping[int, Tensor], known: Mapping[int, Stream]) -> Tensors:
    maps: Tensors = {}
    for t, stream in known.items():
        if stream.input:
            parts = [torch.einsum("bs,bst->bt", rows, flow[s, t]) for s, rows in ends.items()]
            maps[stream.input] = torch.stack(parts).sum(0)
    return maps


def reference(f: Score, x: Tensors, *, layers: int | None = None, position: int | None = None) -> Tensors:
    """The rule for one kind of tokens, sample by sample and head by head."""
    attends = attention_of(f, x)
    (stream,) = (s for s in streams(f, x, attends).values() if s.input)

    def read(found: Sequence[Attention]) -> Tensors:
        out = []
        for b in range(len(found[0].weights)):
            r = torch.eye(stream.tokens, dtype=x[stream.input].dtype)
            for a in found[-(layers or len(found)) :]:
                if a.grad is not None:
                    cam = torch.zeros_like(r)
                    for g, w in zip(a.grad[b], a.weights[b], strict=True):
                        cam += (g * w).clamp(min=0) / len(a.grad[b])
                    r = r + cam @ r
            grad = found[-1].grad
            rows = [q for q in range(len(r)) if grad is not None and bool((grad[b, :, q] != 0).any())]
            out.append((r - torch.eye(len(r)))[[position] if position is not None else rows].mean(0))
        return {stream.input: torch.stack(out)}

    values = attention(f, x, read, since=0)
    return {stream.input: stream.laid_on(values[stream.input], x[stream.input])}
