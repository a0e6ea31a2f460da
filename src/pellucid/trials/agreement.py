"""How far two rankings or two lists of numbers agree, and how sure that figure is."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

FLAT = 1e-9  # A list whose spread is below this share of its size counts as one and the same number.


def pearson(rows: Float[Tensor, "*rows n"], other: Float[Tensor, "*others n"]) -> Float[Tensor, "*result"]:
    """Pearson's correlation along the last axis; NaN where either list does not vary.

    >>> rows, other = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2.0, 4.0, 6.0])
    >>> round(float(pearson(rows, other)), 6)
    1.0
    """
    a, a_size = _centered(rows)
    b, b_size = _centered(other)
    return (a * b).sum(-1) / (a_size * b_size)


def _centered(v: Tensor) -> tuple[Tensor, Tensor]:
    away = v - v.mean(-1, keepdim=True)
    size = away.norm(dim=-1)
    nothing = size <= FLAT * v.norm(dim=-1)
    return away, size.masked_fill(nothing, math.nan)


def spearman(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Spearman's rank correlation; ties share their average rank; NaN where either list does not vary.

    >>> round(spearman(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([0.0, 0.1, 70.0])), 6)
    1.0
    """
    return float(pearson(ranks(a), ranks(b)))


def ranks(v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Place in the order, from 0; equal values share the average of their places.

    >>> ranks(torch.tensor([3.0, 1.0, 3.0])).tolist()
    [1.5, 0.0, 1.5]
    """
    _, which, counts = torch.unique(v, return_inverse=True, return_counts=True)
    middle: Tensor = counts.cumsum(0).double() - (counts.double() + 1) / 2
    return middle[which]


def resamples(count: int, size: int, generator: torch.Generator) -> Int[Tensor, "count size"]:
    """Bootstrap: `count` ways to draw `size` items out of `size`, with repetition."""
    return torch.randint(size, (count, size), generator=generator)


def interval(draws: Float[Tensor, " draws"], share: float = 0.95) -> tuple[float, float]:
    """The central `share` of the draws that are numbers; NaN when there are none."""
    draws = draws[draws.isfinite()].double()
    if not len(draws):
        return math.nan, math.nan
    low, high = torch.quantile(draws, torch.tensor([(1 - share) / 2, (1 + share) / 2], dtype=draws.dtype))
    return float(low), float(high)


def entropy(v: Tensor, bins: int = 100) -> float:
    """Shannon entropy, in nats, of the histogram of the values between their smallest and largest.

    >>> round(entropy(torch.tensor([0.0, 0.0, 1.0, 1.0])), 4)
    0.6931
    """
    flat = v.double().flatten()
    low, high = flat.aminmax()
    if high <= low:
        return 0.0
    which = ((flat - low) / (high - low) * bins).long().clamp(max=bins - 1)
    share = torch.bincount(which, minlength=bins).double() / len(flat)
    return float(-torch.special.xlogy(share, share).sum())
