r"""Shapley interactions: what two parts add together beyond what each adds alone, averaged over the company of others.

$$I_{ij} = \sum_{T \not\ni i,j} \gamma(|T|)\,\bigl(v(T \cup ij) - v(T \cup i) - v(T \cup j) + v(T)\bigr)$$

with $\gamma(t) = 1 / ((n-1)\binom{n-2}{t})$ for the Shapley interaction index, and $2 / (n\binom{n-1}{t})$ for
Shapley-Taylor, whose pairs and the players alone, $v(i) - v(\emptyset)$, add up to the change of the score.  Positive:
the two need each other; negative: one can stand in for the other.  A player's Shapley interactions add up to what it
adds to all others less what it adds to nothing.

With more than a dozen players coalitions are drawn, equally many of each size.  A function with all pairs is fitted to
them, whose interactions are its coefficients; only what it misses is estimated from the draws.

Good for: telling evidence that works together from evidence that is there twice; both look alike in Shapley values.
Not for:  many parts: the pairs, and with them the coalitions needed, grow with the square.
"""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial
from typing import Annotated, Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors
from pellucid.probes.coalitions import Absent, Baseline, batched, everything, laid_back, parts, scores
from pellucid.probes.fills import Fill
from pellucid.probes.segments import By, Cells, Mask

_EXACTLY = 12  # players up to which all coalitions are run when nothing is said; of a picture, 3 x 3 blocks

Kind: TypeAlias = Annotated[
    Literal["shapley", "taylor"], "the Shapley interaction index, or Shapley-Taylor, which adds up"
]


@method(
    title="Shapley interactions",
    family="coalition",
    paper="Grabisch, Roubens 1999, Int. J. Game Theory 28; Sundararajan, Dhamdhere, Agarwal 2020, arXiv:1902.05622",
    promises=Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT,
    cost="2^n forward passes for n players, at most 12, or `samples`",
)
def shapley_interactions(
    f: Score,
    x: Tensors,
    *,
    kind: Kind = "shapley",
    samples: Annotated[
        int | None, Range(4, 2**20), "coalitions; none: all of up to 12 players, else 4 for each pair, at least 2048"
    ] = None,
    by: By = "grid",
    cells: Cells = None,
    mask: Mask = None,
    fill: Absent = None,
    baseline: Baseline = None,
) -> Finding:
    """How much each part's interactions with all others add up to, `[batch, 1, ...]`, in the score's unit.

    `facts["pairs"]` is the table: rows `[i, j, value, standard error]`, the strongest first; `facts["alone"]` what each
    player adds to nothing.  The errors are those of sampling, 0 when all coalitions were run.  A stopped run raises
    `Stopped`.  Raises `BadOption` for fewer samples than twice the pairs and players, `Missing` when superpixels are
    wanted without scikit-image.

    >>> import torch, pellucid as pl
    >>> class Product(torch.nn.Module):
    ...     def forward(self, x):
    ...         return (3 * x[:, 0] * x[:, 1] + x[:, 2])[:, None]
    >>> pl.methods.shapley_interactions(Product(), torch.ones(1, 3), 0).facts["pairs"][0][0]
    [0, 1, 3.0, 0.0]
    """
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline, most=_EXACTLY)
    drawn = [_drawn(n, key, _wanted(n, samples)) for n, key in zip(game.counts, everything(x), strict=True)]
    worth = scores(f, game.coalitions(batched(drawn)))
    if worth.shape[1] < max(len(d) for d in drawn):
        known = f"{worth.shape[1]} of {max(len(d) for d in drawn)} coalitions"
        raise Stopped(f"Stopped after {known}; interactions need all that were drawn.", "Ask for fewer samples.")
    found = [_found(d, w[: len(d)], kind) for d, w in zip(drawn, worth, strict=True)]
    tables = [_table(v[:-n], e[:-n], n) for (v, e), n in zip(found, game.counts, strict=True)]
    alone = [_alone(d, w[: len(d)]).tolist() for d, w in zip(drawn, worth, strict=True)]
    facts: dict[str, Any] = {"pairs": tables, "alone": alone, "coalitions": [len(d) for d in drawn]}
    sums = [(v[-n:], e[-n:]) for (v, e), n in zip(found, game.counts, strict=True)]
    return laid_back(game, [v for v, _ in sums], errors=[e for _, e in sums], **facts)


def _alone(there: Tensor, worth: Tensor) -> Tensor:
    """What each player adds to nothing; the coalitions of one and of nobody are always among those drawn."""
    single = there.sum(1) == 1
    return worth[single][there[single].long().argmax(1).argsort()] - worth[~there.any(1)]


def _table(pairs: Tensor, errors: Tensor, n: int) -> list[list[float]]:
    """The pairs as rows, the strongest first."""
    rows = [[i, j, float(v), float(e)] for (i, j), v, e in zip(combinations(range(n), 2), pairs, errors, strict=True)]
    return sorted(rows, key=lambda row: -abs(row[2]))


def _wanted(n: int, samples: int | None) -> int:
    terms: int = 1 + n + comb(n, 2)
    if samples is None:
        return int(2**n) if n <= _EXACTLY else max(2048, 4 * terms)
    if samples < min(2 * terms, 2**n):
        raise BadOption(f"samples={samples} for {n} players: expected at least {2 * terms}.", "Or make fewer players.")
    return min(samples, int(2**n))


def _drawn(n: int, key: str, samples: int) -> Bool[Tensor, "coalitions players"]:
    """Coalitions by size, none twice; sizes that fit into their equal share are taken whole."""
    if samples >= 2**n:
        return (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).bool()
    generator = current().generator("shapley_interactions", key)
    left, found = samples, list[Tensor]()
    order = sorted(range(n + 1), key=lambda size: comb(n, size))
    for done, size in enumerate(order):
        count = min(comb(n, size), max(left // (n + 1 - done), n if size in (1, n - 1) else 2))
        found.append(_of_size(n, size, count, generator))
        left -= count
    return torch.cat(found)


def _of_size(n: int, size: int, count: int, generator: torch.Generator) -> Tensor:
    if count == comb(n, size):
        rows = torch.zeros(count, n, dtype=torch.bool)
        return rows.scatter_(1, torch.tensor(list(combinations(range(n), size))).view(count, size), True)
    seen: dict[bytes, Tensor] = {}
    while len(seen) < count:
        chosen = torch.rand(count, n, generator=generator).argsort(1)[:, :size]
        fresh = torch.zeros(count, n, dtype=torch.bool).scatter_(1, chosen, True)
        seen.update((row.numpy().tobytes(), row) for row in fresh)
    return torch.stack(list(seen.values())[:count])


def _found(there: Tensor, worth: Float[Tensor, " coalitions"], kind: str) -> tuple[Tensor, Tensor]:
    """The pairs' interactions and then each player's sum of them; and their standard errors.

    All are sums over the coalitions, weighted; with draws, of what a fit misses, so that the fit enters the weights.
    """
    z, n = there.double(), there.shape[1]
    sizes = there.sum(1)
    share = torch.bincount(sizes, minlength=n + 1).double() / torch.tensor(
        [comb(n, k) for k in range(n + 1)], dtype=torch.double
    )
    weights = _weights(z, sizes, kind) / share[sizes, None]
    gains = worth - worth[sizes == 0]
    if len(z) == 2**n:
        return weights.T @ gains, torch.zeros(weights.shape[1], dtype=torch.double)
    left, right = torch.triu_indices(n, n, 1)
    terms = torch.cat([torch.ones(len(z), 1, dtype=torch.double), z, z[:, left] * z[:, right]], 1)
    pull = torch.linalg.pinv(terms)
    fitted = torch.zeros(terms.shape[1], weights.shape[1], dtype=torch.double)
    fitted[1 + n :] = _with_sums(torch.eye(len(left), dtype=torch.double), n)
    weights = weights + pull.T @ (fitted - terms.T @ weights)
    # each coalition's residual had it not pulled the fit towards itself, as in probes.surrogate
    missed = (gains - terms @ (pull @ gains)) / (1 - (terms * pull.T).sum(1)).clamp(min=1e-6)
    variance = torch.zeros(weights.shape[1], dtype=torch.double)
    for size in range(n + 1):
        own = (weights * missed[:, None])[sizes == size]
        random = (1 - share[size]) * len(own) / max(len(own) - 1, 1)
        variance += random * (own - own.mean(0)).square().sum(0)
    return weights.T @ gains, variance.sqrt()


def _with_sums(pairs: Float[Tensor, "rows pairs"], n: int) -> Float[Tensor, "rows more"]:
    """Numbers of the pairs, and behind them each player's sum over the pairs that it is in."""
    left, right = torch.triu_indices(n, n, 1)
    sums = torch.zeros(len(pairs), n, dtype=torch.double).index_add_(1, left, pairs).index_add_(1, right, pairs)
    return torch.cat([pairs, sums], 1)


def _gamma(n: int, t: int, kind: str) -> float:
    """How much a company of t others counts."""
    if not 0 <= t <= n - 2:
        return 0.0
    return 2 / (n * comb(n - 1, t)) if kind == "taylor" else 1 / ((n - 1) * comb(n - 2, t))


def _weights(z: Float[Tensor, "coalitions players"], sizes: Tensor, kind: str) -> Float[Tensor, "coalitions columns"]:
    """How a coalition's score enters each pair's interaction, with both or neither there or with one; and the sums."""
    n = z.shape[1]
    left, right = torch.triu_indices(n, n, 1)
    counts = [[_gamma(n, size - k, kind) for k in (2, 1, 0)] for size in range(n + 1)]
    with_both, with_one, with_none = torch.tensor(counts, dtype=torch.double)[sizes].T[..., None]
    both, neither = z[:, left] * z[:, right], (1 - z[:, left]) * (1 - z[:, right])
    return _with_sums(with_both * both + with_none * neither - with_one * (1 - both - neither), n)


def reference(
    f: Score,
    x: Tensors,
    *,
    kind: str = "shapley",
    by: str = "grid",
    cells: int | None = None,
    mask: Mask = None,
    fill: Fill | None = None,
    baseline: float | None = None,
) -> Tensors:
    """The definition, for samples with equally many players: one pair and one company after another."""
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline, most=_EXACTLY)
    n, samples = game.counts[0], len(game.counts)
    every = {m: f(game.only(torch.tensor([[i in m for i in range(n)]] * samples)))
             for k in range(n + 1) for m in map(frozenset, combinations(range(n), k))}  # fmt: skip
    values = torch.zeros(samples, n, dtype=torch.double)
    for i, j in combinations(range(n), 2):
        for t in range(n - 1):
            if kind == "taylor":
                share = 2 / n * factorial(t) * factorial(n - 1 - t) / factorial(n - 1)
            else:
                share = factorial(t) * factorial(n - 2 - t) / factorial(n - 1)
            for others in combinations([p for p in range(n) if p not in (i, j)], t):
                four = [every[frozenset({*others, *more})] for more in ((i, j), (i,), (j,), ())]
                beyond = share * (four[0] - four[1] - four[2] + four[3])
                values[:, i] += beyond
                values[:, j] += beyond
    return game.players.laid(values)
