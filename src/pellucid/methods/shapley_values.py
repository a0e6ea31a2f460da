r"""Shapley values, exactly: what each part adds to the score, averaged over every order in which parts can come in.

$$\phi_i = \sum_{S \not\ni i}\frac{|S|!\,(n-1-|S|)!}{n!}\,\bigl(v(S \cup i) - v(S)\bigr)$$

where $v(S)$ is the score of the input with the players of $S$ only, the others replaced by the fill.  All $2^n$
coalitions are run, so the values have no error but the rounding.

Good for: few parts that can stand in for each other or need each other: sensors, modalities, columns, large blocks.
Not for:  many parts (`kernel_shap` samples coalitions then), or parts whose absence the fill does not stand for.
"""

from __future__ import annotations

import math
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors
from pellucid.probes.coalitions import Absent, Baseline, batched, laid_back, parts, scores
from pellucid.probes.fills import Fill
from pellucid.probes.segments import By, Cells, Mask

MOST = 14
_USUAL = 12  # players of a picture or series when nothing is said: 3 x 3 blocks, 512 passes


@method(
    title="Shapley values",
    family="coalition",
    paper="Shapley 1953, in Contributions to the Theory of Games II",
    promises=Promise.COMPLETE
    | Promise.LINEAR
    | Promise.IMPLEMENTATION_INVARIANT
    | Promise.SYMMETRIC
    | Promise.SCALE_INVARIANT,
    cost="2^n forward passes for n players, at most 14",
)
def shapley_values(
    f: Score,
    x: Tensors,
    *,
    by: By = "grid",
    cells: Cells = None,
    mask: Mask = None,
    fill: Absent = None,
    baseline: Baseline = None,
) -> Finding:
    """Each part's fair share of the change of the score from nothing but fill to the input, `[batch, 1, ...]`.

    Each place shows its player's value; the players' values, each counted once, add up to the change.  The unit is the
    score's.  A stopped run raises `Stopped`: part of the coalitions tells nothing exactly.  Raises `BadOption` for more
    than 14 players, `Missing` when superpixels are wanted without scikit-image.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(3, 1)
    >>> torch.allclose(pl.methods.shapley_values(net, torch.ones(1, 3), 0).values, net.weight, atol=1e-5)
    True
    """
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline, most=_USUAL)
    most = max(game.counts)
    if most > MOST:
        raise BadOption(
            f"There are {most} players: all their coalitions would take {2**most:,} passes; at most {MOST} are run.",
            "Use kernel_shap, which samples, or join players: fewer cells, or a mask.",
        )
    present = batched([_every(n) for n in game.counts])
    worth = scores(f, game.coalitions(present))
    if worth.shape[1] < present.shape[1]:
        known = f"{worth.shape[1]} of {present.shape[1]} coalitions"
        raise Stopped(f"Stopped after {known}; exact values need all.", "kernel_shap keeps what a stopped run found.")
    values = [_values(v[: 2**n], n) for v, n in zip(worth, game.counts, strict=True)]
    change = torch.stack([v[2**n - 1] - v[0] for v, n in zip(worth, game.counts, strict=True)])
    return laid_back(game, values, change, coalitions=[2**n for n in game.counts])


def _every(n: int) -> Bool[Tensor, "coalitions players"]:
    """All coalitions of n players; number i has the players of i's bits."""
    return (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).bool()


def _values(worth: Float[Tensor, " coalitions"], n: int) -> Float[Tensor, " players"]:
    numbers, sizes = torch.arange(2**n), _every(n).sum(1)
    weights = torch.tensor([1 / (n * math.comb(n - 1, k)) for k in range(n)], dtype=torch.double)
    values = []
    for player in range(n):
        without = numbers[numbers >> player & 1 == 0]
        gains = worth[without | 1 << player] - worth[without]
        values.append((weights[sizes[without]] * gains).sum())
    return torch.stack(values)


def reference(
    f: Score,
    x: Tensors,
    *,
    by: str = "grid",
    cells: int | None = None,
    mask: Mask = None,
    fill: Fill | None = None,
    baseline: float | None = None,
) -> Tensors:
    """The definition, for samples with equally many players: one player, size and coalition after another."""
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline, most=_USUAL)
    n, samples = game.counts[0], len(game.counts)
    known: dict[frozenset[int], Tensor] = {}

    def worth(members: frozenset[int]) -> Tensor:
        if members not in known:
            there = torch.tensor([[i in members for i in range(n)]] * samples)
            known[members] = f(game.only(there))
        return known[members]

    values = torch.zeros(samples, n, dtype=torch.double)
    for player in range(n):
        for size in range(n):
            for others in combinations([i for i in range(n) if i != player], size):
                share = math.factorial(size) * math.factorial(n - 1 - size) / math.factorial(n)
                values[:, player] += share * (worth(frozenset({*others, player})) - worth(frozenset(others)))
    return game.players.laid(values)
