r"""Attention rollout: attention followed through all layers, as if tokens were mixed by nothing else.

$$R = \prod_{l=L}^{1}\hat A^{(l)},\qquad \hat A^{(l)} = \tfrac12 A^{(l)} + \tfrac12 I$$

with $A^{(l)}$ the heads' mean (or largest, or smallest) and the identity for the residual connection; rows are scaled
to add up to 1.  Read are the rows of the tokens that the score is read from.  `discard` first sets the given share of
the smallest weights of each layer to zero, as is often done since Gildenblat 2020.

Good for: which tokens can have reached the output at all, over all layers.
Not for:  explaining a decision: it does not depend on the target, and values, projections and everything between the
          attention layers are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from pellucid.core.attention.catch import Attention
from pellucid.core.attention.flow import (
    Position,
    last_query,
    on_inputs,
    read_from,
    refuse_what_is_not_attention,
    refuse_windows,
)
from pellucid.core.attention.passes import Attends, attention, attention_of
from pellucid.core.attention.tokens import Stream, streams
from pellucid.core.errors import BadModel
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors

Heads = Literal["mean", "max", "min"]


@method(
    title="Attention rollout",
    family="attention",
    paper="Abnar, Zuidema 2020, arXiv:2005.00928",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass through the last layer",
    signed=False,
)
def attention_rollout(
    f: Score,
    x: Tensors,
    *,
    heads: Annotated[Heads, "what is made of a layer's heads"] = "mean",
    discard: Annotated[float, Range(0, 0.999), "share of each layer's smallest weights that are set to zero"] = 0.0,
    position: Position = None,
) -> Finding:
    """How much of each token arrives where the score is read, laid back onto the input; with all tokens it adds to 1.

    For a picture `[batch, 1, height, width]`, enlarged from the grid of patches (`resolution`); for words and steps
    `[batch, tokens, 1]`.  Raises `BadModel` when no attention can be seen, when it runs within windows, or when one
    input's tokens look at another's.

    >>> import torch, pellucid as pl
    >>> class Pool(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.nn.functional.scaled_dot_product_attention(x, x, x)[:, 0]
    >>> pl.methods.attention_rollout(Pool(), torch.ones(1, 4, 3), 0).values.flatten().tolist()
    [0.625, 0.125, 0.125, 0.125]
    """
    attends = attention_of(f, x)
    refuse_windows(f.net, attends)
    known, last = streams(f, x, attends), last_query(attends)
    refuse_what_is_not_attention(f.net, attends, known)
    ways = {s.input: _way(f, attends, known, s) for s in known.values() if s.input}

    def fused(weights: Tensor) -> Tensor:
        if heads == "mean":
            return weights.mean(1, keepdim=True)
        return weights.amax(1, keepdim=True) if heads == "max" else weights.amin(1, keepdim=True)

    def read(found: Sequence[Attention]) -> Tensors:
        rolled: Tensors = {}
        for name, way in ways.items():
            flow = read_from(found[last[attends[way[-1]].queries]], position)[:, None]
            for i in reversed(way):
                flow = flow @ _mixed(fused(found[i].weights)[:, 0], discard)
            rolled[name] = flow[:, 0]
        return rolled

    since = min(last[attends[way[-1]].queries] for way in ways.values())
    return on_inputs(attention(f, x, read, since=since, keep=fused), known, x, {"layers": len(attends)})


def _way(f: Score, attends: Sequence[Attends], known: dict[int, Stream], of: Stream) -> list[int]:
    """The numbers of the layers in which a stream looks at itself, and of the one that pools it in the end, if any."""
    among = [i for i, a in enumerate(attends) if a.queries == a.keys == of.tokens]
    for i, a in enumerate(attends):
        if of.tokens in (a.queries, a.keys) and a.queries != a.keys:
            pools = a.keys == of.tokens and not known[a.queries].input and i > max(among, default=-1)
            if not pools or sum(a.queries in (b.queries, b.keys) for b in attends) > 1:
                raise BadModel(
                    f"{f.net.name} lets {a.queries} tokens look at {a.keys} others, at {str(a.site)!r}; rollout "
                    "follows tokens that look at each other.",
                    "attention_relevance has rules for attention between different tokens.",
                )
            among.append(i)
    if not among:
        raise BadModel(f"No attention looks at the tokens of {of.input!r}.", "Use integrated_gradients.")
    return among


def _mixed(weights: Tensor, discard: float) -> Tensor:
    """One layer: its weights, less the smallest, half and half with the residual connection."""
    few = int(discard * weights[0].numel())
    if few:
        flat = weights.flatten(1)
        weights = flat.scatter(1, flat.topk(few, largest=False).indices, 0.0).view_as(weights)
    if weights.shape[1] == weights.shape[2]:
        weights = weights + torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


def reference(
    f: Score, x: Tensors, *, heads: str = "mean", discard: float = 0.0, position: int | None = None
) -> Tensors:
    """The definition, for a network with one kind of tokens: the whole product of matrices, sample by sample."""
    attends = attention_of(f, x)
    (stream,) = (s for s in streams(f, x, attends).values() if s.input)

    def read(found: Sequence[Attention]) -> Tensors:
        out = []
        for b in range(len(found[0].weights)):
            product = torch.eye(stream.tokens, dtype=x[stream.input].dtype)
            for a in found:
                weights = a.weights[b]
                fused = {"mean": weights.mean(0), "max": weights.amax(0), "min": weights.amin(0)}[heads]
                border = fused.flatten().sort().values[int(discard * fused.numel())]
                fused = torch.where(fused < border, 0.0, fused)
                mixed = 0.5 * fused + 0.5 * torch.eye(len(fused), dtype=fused.dtype)
                product = (mixed / mixed.sum(1)[:, None]) @ product
            grad = found[-1].grad
            rows = [q for q in range(len(product)) if grad is None or bool((grad[b, :, q] != 0).any())]
            out.append(product[[position] if position is not None else rows or list(range(len(product)))].mean(0))
        return {stream.input: torch.stack(out)}

    values = attention(f, x, read, since=0)
    return {stream.input: stream.laid_on(values[stream.input], x[stream.input])}
