"""The connected parts of masks, the boxes around them, and where to cut a map into a mask."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def components(masks: Bool[Tensor, "count *places"]) -> Int[Tensor, "count *places"]:
    """The number of the connected part that each place belongs to, from 1 in the order of first places; 0 outside.

    Places touch along edges and corners.  All masks at once: every part takes over the smallest number that a
    neighboring part has, until nothing changes, which takes about log(places) rounds.

    >>> components(torch.tensor([[[True, False, True], [False, True, False], [False, False, False]]])).tolist()
    [[[1, 0, 1], [0, 1, 0], [0, 0, 0]]]
    >>> components(torch.tensor([[True, True, False, True]])).tolist()
    [[1, 1, 0, 2]]
    """
    parent = _united(torch.arange(masks.numel()), *_touching(masks))
    first = (parent == torch.arange(masks.numel())).view(len(masks), -1) & masks.flatten(1)
    number = first.cumsum(1).flatten()[parent]
    return torch.where(masks, number.view(masks.shape), 0)


def above(places: Float[Tensor, "*places"], levels: Sequence[float]) -> Iterator[Int[Tensor, "*places"]]:
    """`components` of the places at or above each level, the highest level first.

    What is above a level is above the next one too, so parts only grow and join: every pair of neighbors is looked at
    once, at the level at which both are there, and not again at all those below.

    >>> [parts.tolist() for parts in above(torch.tensor([3.0, 1.0, 2.0]), [2.0, 1.0])]
    [[1, 0, 2], [1, 1, 1]]
    """
    flat, size = places.flatten(), places.numel()
    a, b = _touching(torch.ones_like(places, dtype=torch.bool)[None])
    falling = -torch.tensor(levels, dtype=places.dtype)
    at = torch.searchsorted(falling, -torch.minimum(flat[a], flat[b]))  # the first level that both reach
    order = at.argsort()
    ends = torch.bincount(at, minlength=len(levels) + 1).cumsum(0)[:-1]
    joined = torch.stack([a, b])[:, order].tensor_split(ends, 1)
    parent = torch.arange(size)
    itself = parent.clone()
    for level, (one, other) in zip(levels, joined, strict=False):
        parent = _united(parent, one, other)
        inside = flat >= level
        number = ((parent == itself) & inside).cumsum(0)[parent]
        yield torch.where(inside, number, 0).view(places.shape)


def _united(parent: Int[Tensor, " n"], a: Int[Tensor, " pairs"], b: Int[Tensor, " pairs"]) -> Int[Tensor, " n"]:
    """Parents after joining the parts of each pair: everything again points at its part's first place."""
    while len(a):
        a, b = parent[a], parent[b]
        apart = a != b
        a, b = a[apart], b[apart]
        parent.scatter_reduce_(0, torch.maximum(a, b), torch.minimum(a, b), "amin")
        while not torch.equal(further := parent[parent], parent):
            parent = further
    return parent


def _touching(masks: Bool[Tensor, "count *places"]) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Every pair of neighboring places that are both inside, as positions in the flattened masks."""
    index = torch.arange(masks.numel()).view(masks.shape)
    ones, others = [], []
    for step in itertools.product((-1, 0, 1), repeat=masks.ndim - 1):
        if step <= (0,) * len(step):  # each pair once
            continue
        here = (slice(None), *(slice(max(-s, 0), n - max(s, 0)) for s, n in zip(step, masks.shape[1:], strict=True)))
        there = (slice(None), *(slice(max(s, 0), n - max(-s, 0)) for s, n in zip(step, masks.shape[1:], strict=True)))
        both = masks[here] & masks[there]
        ones.append(index[here][both])
        others.append(index[there][both])
    return torch.cat(ones), torch.cat(others)


def largest(mask: Bool[Tensor, "*places"]) -> Bool[Tensor, "*places"]:
    """The connected part with the most places; the first of several.

    >>> largest(torch.tensor([True, False, True, True])).tolist()
    [False, False, True, True]
    """
    parts = components(mask[None])[0]
    sizes = torch.bincount(parts[mask])
    return parts == int(sizes.argmax()) if len(sizes) else mask


def boxed(mask: Bool[Tensor, "*places"]) -> Bool[Tensor, "*places"]:
    """The smallest box around a mask, filled.

    >>> boxed(torch.tensor([[True, False, False], [False, True, False]])).tolist()
    [[True, True, False], [True, True, False]]
    """
    out = torch.zeros_like(mask)
    where = mask.nonzero()
    if len(where):
        out[tuple(slice(int(low), int(high) + 1) for low, high in zip(where.amin(0), where.amax(0), strict=True))] = (
            True
        )
    return out


def otsu(values: Float[Tensor, " n"]) -> float:
    """The least value of the upper class of Otsu's split: the one that sets the two classes' means furthest apart.

    All splits between two different values are tried, without a histogram: the largest n1 n2 (mean1 - mean2)^2 wins.

    >>> otsu(torch.tensor([0.0, 0.1, 0.2, 5.0, 5.2]))
    5.0
    """
    ordered = values.double().sort().values
    below = torch.arange(1, len(ordered), dtype=torch.double)
    sums = ordered.cumsum(0)
    apart = sums[:-1] / below - (sums[-1] - sums[:-1]) / (len(ordered) - below)
    between = below * (len(ordered) - below) * apart.square()
    between[ordered[1:] == ordered[:-1]] = -1.0
    return float(ordered[int(between.argmax()) + 1])
