"""Which tokens a score is read from, and what all methods that follow attention through a network ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.attention.catch import Attention
from pellucid.core.attention.passes import Attends
from pellucid.core.attention.tokens import Stream
from pellucid.core.errors import BadModel, BadOption
from pellucid.core.method import Finding
from pellucid.core.network import Network
from pellucid.core.option import Range
from pellucid.core.tensors import Tensors

Position: TypeAlias = Annotated[
    int | None, Range(0, 1_000_000), "token whose row is read; none: those that the score is read from"
]
Layers: TypeAlias = Annotated[int | None, Range(1, 1000), "how many of the last attention layers; none: all"]


def refuse_windows(net: Network, attends: Iterable[Attends]) -> None:
    """Raise `BadModel` for attention between channels, or within windows, where a token is another one in each."""
    attends = tuple(attends)
    a = next((a for a in attends if a.windows > 1), None)
    if a is not None:
        raise BadModel(
            f"{net.name} attends within {a.windows} windows of {a.keys} tokens at {str(a.site)!r}: how its windows lie "
            "on the picture and shift from layer to layer is not known.",
            "Use grad_cam with a site, or integrated_gradients.",
        )
    channels = next((a for a in attends if not a.sequence), None)
    if channels is not None:
        raise BadModel(
            f"{net.name} attends over {channels.keys} things at {str(channels.site)!r} that are no tokens: the network "
            "holds no vector for each of them (channels, or windows).",
            "Use grad_cam with a site, or integrated_gradients.",
        )


def refuse_none(net: Network, attends: Iterable[Attends], known: Mapping[int, Stream]) -> None:
    """Raise `BadModel` when no layer looks at tokens that stand for an input."""
    if not any(known[a.keys].input for a in attends):
        raise BadModel(
            f"No attention of {net.name} looks at tokens that stand for a part of an input.",
            "Use integrated_gradients.",
        )


def refuse_what_is_not_attention(net: Network, attends: Sequence[Attends], known: Mapping[int, Stream]) -> None:
    """Raise `BadModel` where relevance would get lost that follows attention from tokens to tokens.

    Everything that an operation depends on has to have come to its tokens by attention: where tokens are pooled, cut
    out, or handed on from one resolution to the next by something else, it is not known which became which.
    """
    refuse_windows(net, attends)
    reach: dict[int, set[int]] = {n: {n} for n in known}
    for a in attends:
        came = {attends[i].queries for i in a.after}
        if not came <= reach[a.queries] | reach[a.keys]:
            others = ", ".join(map(str, sorted(came - reach[a.queries] - reach[a.keys])))
            raise BadModel(
                f"{net.name} hands {others} tokens on to {a.queries} others by something else than attention, before "
                f"{str(a.site)!r}, so that attention cannot be followed.",
                "raw_attention shows single layers; or use grad_cam or integrated_gradients.",
            )
        reach[a.queries] |= reach[a.keys]


def last_query(attends: Sequence[Attends]) -> dict[int, int]:
    """For each stream, by its number of tokens, the number of the last operation in which its tokens look."""
    return {a.queries: i for i, a in enumerate(attends)}


def read_from(a: Attention, position: int | None = None) -> Float[Tensor, "batch queries"]:
    """How much each token's row counts: equal parts for those through which the score depends on the weights.

    A classifier that reads one token depends, in the last layer, on that token's row alone; one that averages, on all.
    Where nothing is known (no gradient) all rows count.  Raises `BadOption` for a position that there is not.
    """
    samples, _, queries, _ = a.weights.shape
    if position is not None:
        if position >= queries:
            raise BadOption(f"position={position}: there are {queries} tokens.", "The first one is 0.")
        found = a.weights.new_zeros(samples, queries)
        found[:, position] = 1
        return found
    if a.grad is None:
        return a.weights.new_full((samples, queries), 1 / queries)
    counts = (a.grad != 0).any(3).any(1).to(a.weights.dtype)
    counts = torch.where(counts.sum(1, keepdim=True) == 0, 1.0, counts)
    return counts / counts.sum(1, keepdim=True)


def on_inputs(
    relevance: Mapping[str, Tensor], known: Mapping[int, Stream], x: Tensors, facts: Mapping[str, Any]
) -> Finding:
    """One value a token, by input, as a method's finding: `relevance` holds `[batch, tokens]`."""
    by_name = {
        name: next(s for s in known.values() if s.input == name and s.tokens == relevance[name].shape[1])
        for name in x
        if name in relevance
    }
    maps = {name: s.laid_on(relevance[name], x[name]) for name, s in by_name.items()}
    grid = next((s.grid for s in by_name.values() if s.grid is not None), None)
    said = dict(facts)
    for name, s in by_name.items():
        if s.prefix:
            own = relevance[name].abs()
            share = own[:, : s.prefix].sum(1) / own.sum(1).clamp(min=torch.finfo(own.dtype).tiny)
            said |= {"tokens before the patches": s.prefix, "share of them": share.tolist()}
    return Finding(maps, resolution=grid, facts=said)
