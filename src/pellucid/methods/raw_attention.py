r"""Raw attention: how much the tokens that the score is read from look at each token, in one layer.

$$R_k = \sum_q \rho_q \frac{1}{H}\sum_h A^{(l)}_{h q k}$$

with $\rho$ the tokens from which the score is read, found by asking where it depends on the last layer's attention: the
class token where a classifier reads it, all of them where it averages, the last word where it predicts the next.

Good for: seeing what one layer, or one head of it, looks at.
Not for:  explaining a decision: it does not depend on the target, says nothing of what earlier layers moved between the
          tokens, and what is looked at need not be used (Jain, Wallace 2019, arXiv:1902.10186).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.attention.catch import Attention
from pellucid.core.attention.flow import Position, last_query, on_inputs, read_from, refuse_none, refuse_windows
from pellucid.core.attention.passes import Attends, attention, attention_of
from pellucid.core.attention.tokens import streams
from pellucid.core.errors import BadOption
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors


@method(
    title="Raw attention",
    family="attention",
    paper="Bahdanau, Cho, Bengio 2014, arXiv:1409.0473",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass through the last layer",
    signed=False,
)
def raw_attention(
    f: Score,
    x: Tensors,
    *,
    layer: Annotated[int, Range(-1000, 999), "which attention layer; negative ones count from the last"] = -1,
    head: Annotated[int | None, Range(0, 10_000), "which head of it; none: the mean of all"] = None,
    position: Position = None,
) -> Finding:
    """How much each token is looked at in one layer, laid back onto the input; the rows of attention add up to 1.

    For a picture `[batch, 1, height, width]`, enlarged from the grid of patches (`resolution`); for words and steps
    `[batch, tokens, 1]`.  Raises `BadModel` when no attention can be seen or it runs within windows, and `BadOption`
    for a layer, head or position that there is not.

    >>> import torch, pellucid as pl
    >>> class Pool(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.nn.functional.scaled_dot_product_attention(x, x, x).mean(1)
    >>> pl.methods.raw_attention(Pool(), torch.zeros(1, 4, 3), 0).values.flatten().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    attends = attention_of(f, x)
    known, last = streams(f, x, attends), last_query(attends)
    refuse_none(f.net, attends, known)
    looked_at = {name: [i for i, a in enumerate(attends) if known[a.keys].input == name] for name in x}
    chosen = {name: _chosen(attends, among, layer, head) for name, among in looked_at.items() if among}
    refuse_windows(f.net, (attends[i] for i in chosen.values()))

    def fused(weights: Tensor) -> Tensor:
        return weights.mean(1, keepdim=True) if head is None or len(weights[0]) == 1 else weights[:, head, None]

    def read(found: Sequence[Attention]) -> Tensors:
        rows = {name: read_from(found[last[attends[i].queries]], position) for name, i in chosen.items()}
        return {
            name: torch.einsum("bq,bqk->bk", rows[name], fused(found[i].weights)[:, 0]) for name, i in chosen.items()
        }

    since = min(last[attends[i].queries] for i in chosen.values())
    facts = {"attention": {name: str(attends[i].site) for name, i in chosen.items()}, "layers": len(attends)}
    return on_inputs(attention(f, x, read, since=since, keep=fused), known, x, facts)


def _chosen(attends: Sequence[Attends], among: Sequence[int], layer: int, head: int | None) -> int:
    """The number of the layer that is asked for, among those that look at one input's tokens."""
    if not -len(among) <= layer < len(among):
        raise BadOption(f"layer={layer}: {len(among)} attention layers look at this input.", "The first one is 0.")
    heads = attends[among[layer]].heads
    if head is not None and head >= heads:
        raise BadOption(f"head={head}: the layer has {heads} heads.", "The first one is 0.")
    return among[layer]


def reference(
    f: Score, x: Tensors, *, layer: int = -1, head: int | None = None, position: int | None = None
) -> Tensors:
    """The definition, row by row and head by head, for a network with one kind of tokens."""
    attends = attention_of(f, x)
    (stream,) = (s for s in streams(f, x, attends).values() if s.input)

    def read(found: Sequence[Attention]) -> Tensors:
        out = x[stream.input].new_zeros(len(found[0].weights), stream.tokens)
        for b in range(len(out)):
            grad = found[-1].grad
            rows = [q for q in range(attends[-1].queries) if grad is None or bool((grad[b, :, q] != 0).any())]
            rows = [position] if position is not None else rows or list(range(attends[-1].queries))
            heads = range(attends[layer].heads) if head is None else [head]
            for q in rows:
                for h in heads:
                    out[b] += found[layer].weights[b, h, q] / len(rows) / len(heads)
        return {stream.input: out}

    values = attention(f, x, read, since=0)
    return {stream.input: stream.laid_on(values[stream.input], x[stream.input])}
