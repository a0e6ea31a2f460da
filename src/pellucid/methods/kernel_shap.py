r"""KernelSHAP: Shapley values from some of the coalitions, as the weighted least squares fit of an additive function.

$$\phi = \arg\min_{\phi}\sum_{S}\frac{n-1}{\binom{n}{|S|}\,|S|\,(n-|S|)}\Bigl(v(S)-v(\emptyset)-\sum_{i\in S}\phi_i
\Bigr)^2\quad\text{subject to}\quad\sum_i\phi_i = v(N)-v(\emptyset)$$

Which coalitions?  By their leverage on the fit, which is $1/\binom{n}{|S|}$ (Musco and Witter 2024): every size gets
the same share of them, sizes that have fewer are taken whole, none is drawn twice, and each comes with its complement,
which cancels interactions of two players (Covert and Lee 2021).

Good for: tens to hundreds of parts, any model, also one without gradients; values that add up, each with its error.
Not for:  parts whose absence the fill does not stand for.  The standard errors speak of sampling only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import comb
from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors
from pellucid.probes.coalitions import Absent, Baseline, Parts, batched, everything, laid_back, parts, scores
from pellucid.probes.fills import Fill
from pellucid.probes.segments import By, Cells, Mask
from pellucid.probes.surrogate import fitted

_LEAST = 4  # coalitions a player: measured, with fewer the standard errors are far too small


@method(
    title="KernelSHAP",
    family="coalition",
    paper="Lundberg, Lee 2017, arXiv:1705.07874; sampling: Musco, Witter 2024, arXiv:2410.01917",
    promises=Promise.COMPLETE | Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT,
    cost="`samples` forward passes, or as many as the tolerance takes",
)
def kernel_shap(
    f: Score,
    x: Tensors,
    *,
    samples: Annotated[
        int | None, Range(2, 2**20), "coalitions besides none and all; none: 10 for each player, at least 512"
    ] = None,
    tolerance: Annotated[
        float | None, Range(1e-6, 1), "go on until every standard error is below this part of the score's change"
    ] = None,
    most: Annotated[int, Range(2, 2**20), "coalitions at which to stop although the tolerance is not reached"] = 16384,
    by: By = "grid",
    cells: Cells = None,
    mask: Mask = None,
    fill: Absent = None,
    baseline: Baseline = None,
) -> Finding:
    """Each part's fair share of the change of the score from nothing but fill to the input, `[batch, 1, ...]`, sampled.

    Each place shows its player's value; the players' values, each counted once, add up to the change.  `facts` hold
    them with the standard error of each.  A stopped run fits what it has, once that is enough for every player.
    Raises `BadOption` for fewer samples than four times the players, `Missing` when superpixels are wanted without
    scikit-image.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(20, 1)
    >>> torch.allclose(pl.methods.kernel_shap(net, torch.ones(1, 20), 0).values, net.weight, atol=1e-5)
    True
    """
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline)
    wanted = [min(_wanted(n, samples), 2**n - 2) for n in game.counts]
    start = f(game.nobody()).double().cpu()
    change = f(x).double().cpu() - start
    games = [
        _Game(n, key, float(a), float(d))
        for n, key, a, d in zip(game.counts, everything(x), start, change, strict=True)
    ]
    open_ = list(range(len(games)))
    while open_ and _round(f, game.among(open_), [games[i] for i in open_], open_, [wanted[i] for i in open_]):
        limits = [min(most, 2**game.n - 2) for game in games]
        open_ = [i for i in open_ if tolerance is not None and wanted[i] < limits[i] and games[i].worst() > tolerance]
        wanted = [min(2 * n, limit) for n, limit in zip(wanted, limits, strict=True)]
    return _finding(game, games, change, tolerance)


def _wanted(n: int, samples: int | None) -> int:
    least = min(_LEAST * n, 2**n - 2)
    if samples is not None and samples < least:
        raise BadOption(
            f"samples={samples} for {n} players: expected at least {least}.",
            "With fewer, nothing is known of the errors.",
        )
    return samples if samples is not None else max(512, 10 * n)


@dataclass(slots=True)
class _Game:
    """What is known of one sample's game: by size, the smaller coalition of each pair; and half the pair's difference.

    `drawn` counts rounds, so that each has random numbers of its own.
    """

    n: int
    key: str
    start: float
    change: float
    pairs: list[Tensor] = field(default_factory=list)
    halves: list[float] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    drawn: int = 0
    values: Tensor = field(default_factory=lambda: torch.zeros(0))
    errors: Tensor = field(default_factory=lambda: torch.zeros(0))

    def worst(self) -> float:
        """The largest standard error, relative to the change of the score."""
        return float(self.errors.max()) / max(abs(self.change), 1e-12)

    def fit(self) -> None:
        """Least squares on the pairs: the values that are orthogonal to an equal share, and the equal share."""
        equal = self.change / self.n
        if not self.pairs:  # a single player, or two of whom no coalition was asked
            self.values, self.errors = (torch.full((self.n,), v, dtype=torch.double) for v in (equal, 0.0))
            return
        rows = torch.stack(self.pairs).double()
        sizes = rows.sum(1)
        counts = torch.bincount(sizes.long(), minlength=self.n)
        here = [k for k, count in enumerate(counts.tolist()) if count]
        share = {k: int(counts[k]) / _pairs(self.n, k) for k in here}
        # the kernel's weight, times how many pairs of this size each drawn one stands for
        weight = {k: (1 if 2 * k < self.n else 0.5) * (self.n - 1) / (k * (self.n - k)) / int(counts[k]) for k in here}
        centered = rows - sizes[:, None] / self.n
        left = torch.tensor(self.halves, dtype=torch.double) - (sizes / self.n - 0.5) * self.change
        found = fitted(
            centered,
            left,
            torch.tensor([weight[int(k)] for k in sizes], dtype=torch.double),
            chance=torch.tensor([1 - share[int(k)] for k in sizes], dtype=torch.double),
            toward_zero=torch.ones(1, self.n, dtype=torch.double),  # the equal share is not up to the rows
        )
        self.values, self.errors = found.coefficients + equal, found.errors


def _round(f: Score, open_: Parts, games: list[_Game], rows: list[int], wanted: list[int]) -> bool:
    """Draw, score and fit what is missing to the wanted numbers; False when the run was stopped."""
    fresh = [_fresh(game, n) for game, n in zip(games, wanted, strict=True)]
    if not any(len(pairs) for pairs in fresh):
        for game in games:
            game.fit()
        return True
    # a complement follows its coalition, so that a run that is stopped has pairs
    both = batched([torch.stack([p, ~p], 1).flatten(0, 1) if len(p) else torch.ones(1, g.n, dtype=torch.bool)
                    for p, g in zip(fresh, games, strict=True)])  # fmt: skip
    try:
        found = scores(f.among(rows), open_.coalitions(both))
    except Stopped:
        if not any(game.pairs for game in games):
            raise
        found = torch.zeros(len(games), 0)
        current().meter.stopped = f"after {2 * max(len(game.pairs) for game in games)} coalitions"
    for game, pairs, worth in zip(games, fresh, found, strict=True):
        known = min(len(pairs), len(worth) // 2)
        game.pairs += list(pairs[:known])
        game.halves += ((worth[: 2 * known : 2] - worth[1 : 2 * known : 2]) / 2).tolist()
        least = min(_LEAST * game.n, 2**game.n - 2)
        if 2 * len(game.pairs) < least:
            raise Stopped(f"Stopped after {2 * len(game.pairs)} coalitions; {game.n} players need {least}.")
        game.fit()
    return not current().meter.stopped


def _fresh(game: _Game, wanted: int) -> Tensor:
    """New pairs, the smaller coalition of each, in random order, so that any first part of them is a fair sample."""
    n, game.drawn = game.n, game.drawn + 1
    generator = current().generator("kernel_shap", game.key, game.drawn)
    have = [0] * (n // 2 + 1)
    for pair in game.pairs:
        have[int(pair.sum())] += 1
    new = [torch.zeros(0, n, dtype=torch.bool)]
    for size, count in enumerate(_counts(n, wanted // 2, generator), 1):
        new.append(_subsets(game, size, count - have[size], generator))
    pairs = torch.cat(new)
    return pairs[torch.randperm(len(pairs), generator=generator)]


def _pairs(n: int, size: int) -> int:
    """How many coalitions of this size there are, each standing for its complement too."""
    return comb(n, size) if 2 * size < n else comb(n, size) // 2


def _counts(n: int, pairs: int, generator: torch.Generator) -> list[int]:
    """How many pairs of each size 1, 2, ... n // 2: equal shares, never more than there are, rounded at random."""
    there = [_pairs(n, k) for k in range(1, n // 2 + 1)]
    if sum(there) <= pairs:
        return there
    share = [1.0 if 2 * k < n else 0.5 for k in range(1, n // 2 + 1)]
    low, high = 0.0, float(pairs) * 2 + 1
    for _ in range(100):
        middle = (low + high) / 2
        fits = sum(min(t, middle * s) for t, s in zip(there, share, strict=True)) <= pairs
        low, high = (middle, high) if fits else (low, middle)
    ideal = [low * s if low * s < t else float(t) for t, s in zip(there, share, strict=True)]
    # one random offset for all: each count is its ideal rounded down or up, and they add up to the total
    at, counts = float(torch.rand((), generator=generator)), list[int]()
    for v in ideal:
        counts.append(int(at + v + 1e-9) - int(at))
        at = at + v - int(at)
    return [min(c, t) for c, t in zip(counts, there, strict=True)]


def _subsets(game: _Game, size: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` coalitions of a size that were not drawn before, each equally likely."""
    n, there, found = game.n, _pairs(game.n, size), list[Tensor]()
    if count <= 0:
        return torch.zeros(0, n, dtype=torch.bool)
    if there <= 4 * (count + len(game.pairs)):  # few enough to list
        every = torch.zeros(there, n, dtype=torch.bool)
        listed = list(combinations(range(n), size))[:there]  # of half the players: the first half holds player 0
        every.scatter_(1, torch.tensor(listed), True)
        candidates = iter(every[torch.randperm(there, generator=generator)])
    else:
        candidates = _random(n, size, count, generator)
    while len(found) < count:
        row = next(candidates)
        name = row.numpy().tobytes()
        if name not in game.seen:
            game.seen.add(name)
            found.append(row)
    return torch.stack(found)


def _random(n: int, size: int, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Coalitions of a size without end, `count` drawn at a time."""
    while True:
        chosen = torch.rand(count, n, generator=generator).argsort(1)[:, :size]
        rows = torch.zeros(count, n, dtype=torch.bool).scatter_(1, chosen, True)
        yield from rows ^ ~rows[:, :1] if 2 * size == n else rows  # of a half and its complement, the one with player 0


def _finding(game: Parts, games: list[_Game], change: Tensor, tolerance: float | None) -> Finding:
    found = laid_back(
        game, [g.values for g in games], change, [g.errors for g in games],
        coalitions=[2 * len(g.pairs) for g in games],
    )  # fmt: skip
    late = sum(g.worst() > tolerance for g in games) if tolerance is not None else 0
    if late:
        why = f"{late} of {len(games)} samples have standard errors above {tolerance:.1%} of the change."
        return replace(found, notes=(*found.notes, why))
    return found


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
    """The definition: the constrained fit to all coalitions, solved as one system with a Lagrange multiplier."""
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline)
    n, samples = game.counts[0], len(game.counts)
    everyone = torch.tensor([[i >> j & 1 for j in range(n)] for i in range(2**n)]).bool()
    worth = torch.stack([f(game.only(row.expand(samples, n))) for row in everyone], 1)
    z = everyone[1:-1].to(worth.dtype)
    size = z.sum(1)
    weights = torch.tensor([(n - 1) / (comb(n, int(k)) * int(k) * (n - int(k))) for k in size], dtype=worth.dtype)
    system = torch.zeros(n + 1, n + 1, dtype=worth.dtype)
    system[:n, :n] = z.T @ (weights[:, None] * z)
    system[n, :n] = system[:n, n] = 1
    right = torch.zeros(samples, n + 1, dtype=worth.dtype)
    right[:, :n] = ((worth[:, 1:-1] - worth[:, :1]) * weights) @ z
    right[:, n] = worth[:, -1] - worth[:, 0]
    return game.players.laid(torch.linalg.solve(system, right.T).T[:, :n])
