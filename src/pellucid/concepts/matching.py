"""Which part of one factorization is which of another: the pairing with the largest total likeness."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def assigned(likeness: Float[Tensor, "rows columns"]) -> Int64[Tensor, " rows"]:
    """For each row a column of its own, so that the total likeness is the largest there is.

    Shortest augmenting paths with potentials (Jonker, Volgenant 1987, doi:10.1007/BF02278710).  There must be at least
    as many columns as rows.

    >>> assigned(torch.tensor([[0.9, 0.8], [0.7, 0.1]])).tolist()
    [1, 0]
    """
    cost = (-likeness).double().tolist()
    rows, columns = likeness.shape
    row_price, column_price = [0.0] * (rows + 1), [0.0] * (columns + 1)
    owner = [0] * (columns + 1)  # of each column, rows counted from 1; 0 is nobody
    for row in range(1, rows + 1):
        owner[0], here = row, 0
        best, way, seen = [float("inf")] * (columns + 1), [0] * (columns + 1), [False] * (columns + 1)
        while owner[here]:
            seen[here], mine = True, owner[here]
            for j in range(1, columns + 1):
                price = cost[mine - 1][j - 1] - row_price[mine] - column_price[j]
                if not seen[j] and price < best[j]:
                    best[j], way[j] = price, here
            step, nearest = min((best[j], j) for j in range(1, columns + 1) if not seen[j])
            for j in range(columns + 1):
                if seen[j]:
                    row_price[owner[j]] += step
                    column_price[j] -= step
                else:
                    best[j] -= step
            here = nearest
        while here:
            owner[here] = owner[way[here]]
            here = way[here]
    found = torch.zeros(rows, dtype=torch.long)
    for j in range(1, columns + 1):
        if owner[j]:
            found[owner[j] - 1] = j - 1
    return found


def likeness(a: Float[Tensor, "parts columns"], b: Float[Tensor, "others columns"]) -> Float[Tensor, " parts"]:
    """The cosine of each part with its partner among the others, of which there are at least as many."""
    cosines = _unit(a) @ _unit(b).T
    partner = assigned(cosines).to(cosines.device)
    matched: Tensor = cosines[torch.arange(len(a), device=cosines.device), partner]
    return matched


def _unit(v: Tensor) -> Tensor:
    unit: Tensor = v / v.norm(dim=1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
    return unit
