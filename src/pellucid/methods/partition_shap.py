r"""Partition SHAP: Owen values, a fair sharing out among groups, within them among their halves, and so on.

$$\phi_i = \frac{1}{2^d}\sum_{C}\bigl(v(S_C\cup i) - v(S_C)\bigr)$$

Player $i$ lies $d$ cuts deep in a hierarchy of groups; $C$ runs over the subsets of its $d$ sibling groups, and $S_C$
has the players of those in $C$.  Values are exact when every group has been cut in every company: 2/3 n^2 coalitions
for n players.  With fewer, the group whose members' joint credit is largest is cut first, so that a picture is looked
at finely where that matters; groups that stay whole share their credit equally.

Good for: many parts that lie or belong together, pictures at fine resolution where they matter; no sampling noise.
Not for:  values that do not depend on the hierarchy: parts that act together across a cut are treated as strangers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import product
from typing import Annotated, Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.errors import Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors
from pellucid.probes.coalitions import Absent, Baseline, Parts, batched, laid_back, parts, scores
from pellucid.probes.fills import Fill
from pellucid.probes.hierarchy import Group, Tree, trees
from pellucid.probes.segments import By, Cells, Mask

_FINEST = 1024  # players of a picture or series when nothing is said: 32 x 32 blocks
_AT_ONCE = 16  # groups cut at once; fixed, because what is cut next depends on what was found


@method(
    title="Partition SHAP",
    family="coalition",
    paper="Owen 1977, in Mathematical Economics and Game Theory; Lundberg 2020, github.com/shap/shap",
    promises=Promise.COMPLETE | Promise.IMPLEMENTATION_INVARIANT | Promise.SCALE_INVARIANT,
    cost="`most` forward passes, or 2/3 n^2 for few players",
)
def partition_shap(
    f: Score,
    x: Tensors,
    *,
    most: Annotated[int, Range(2, 2**20), "coalitions at which to leave the remaining groups whole"] = 1024,
    tree: Annotated[
        Tensor | None, "instead of one by position: a linkage matrix as scipy makes it, which joins two groups a row"
    ] = None,
    by: By = "grid",
    cells: Cells = None,
    mask: Mask = None,
    fill: Absent = None,
    baseline: Baseline = None,
) -> Finding:
    """Each part's share of the change of the score from nothing but fill to the input, `[batch, 1, ...]`, by groups.

    Each place shows its player's value; the players' values, each counted once, add up to the change at every `most`.
    `facts["undivided"]` is what groups that stayed whole share equally, in size, in the score's unit: 0 when the values
    are exact.  A stopped run leaves the remaining groups whole.  Raises `BadOption` for a tree that does not join the
    players, `Missing` when superpixels are wanted without scikit-image.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(20, 1)
    >>> found = pl.methods.partition_shap(net, torch.ones(1, 20), 0)
    >>> torch.allclose(found.values, net.weight, atol=1e-5), found.facts["undivided"]
    (True, [0.0])
    """
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline, most=_FINEST)
    start, end = f(game.nobody()).double().cpu(), f(x).double().cpu()
    searches = [_Search(t, float(a), float(b)) for t, a, b in zip(trees(game.players, tree), start, end, strict=True)]
    open_ = [i for i, search in enumerate(searches) if search.queue]
    while open_ and _round(f, game.among(open_), [searches[i] for i in open_], open_, most):
        open_ = [i for i in open_ if searches[i].queue and searches[i].asked + 2 <= most]
    facts: dict[str, Any] = {"coalitions": [s.asked for s in searches], "undivided": [s.undivided for s in searches]}
    return laid_back(game, [s.shares() for s in searches], end - start, **facts)


# a group with those outside of it that are there, the score without it and with it, and how much this company counts
_Open: TypeAlias = tuple[Group, Bool[Tensor, " players"], float, float, float]


@dataclass(slots=True)
class _Search:
    """One sample's groups that are still whole, those with the largest credit first; and what single players have."""

    tree: Tree
    low: float
    high: float
    asked: int = 0
    values: Float[Tensor, " players"] = field(init=False)
    queue: list[tuple[float, int, _Open]] = field(default_factory=list)
    pushed: int = 0

    def __post_init__(self) -> None:
        n = len(self.tree.order)
        self.values = torch.zeros(n, dtype=torch.double)
        self.push(((0, n), torch.zeros(n, dtype=torch.bool), self.low, self.high, 1.0))

    def push(self, item: _Open) -> None:
        """To the queue, if there is something to cut; else the credit is the player's."""
        (start, stop), _, low, high, weight = item
        if stop - start == 1:
            self.values[self.tree.order[start]] += weight * (high - low)
        else:
            self.pushed += 1
            heappush(self.queue, (-weight * abs(high - low), self.pushed, item))

    def companies(self, item: _Open) -> list[Tensor]:
        """The coalitions that cutting a group asks about: either half with those who are there."""
        group, there, *_ = item
        return [there.index_fill(0, self.tree.members(half), True) for half in self.tree.halves(group)]

    def cut(self, item: _Open, first: float, second: float) -> None:
        """Put the halves in the group's place, each with and without the other; the scores are those of `companies`."""
        group, there, low, high, weight = item
        left, right = self.tree.halves(group)
        with_left, with_right = self.companies(item)
        self.asked += 2
        self.push((left, there, low, first, weight / 2))
        self.push((right, there, low, second, weight / 2))
        self.push((left, with_right, second, high, weight / 2))
        self.push((right, with_left, first, high, weight / 2))

    @property
    def undivided(self) -> float:
        """What groups that are still whole share equally, in size."""
        return sum((weight * abs(high - low) for _, _, (_, _, low, high, weight) in self.queue), 0.0)

    def shares(self) -> Float[Tensor, " players"]:
        """The players' values, those of whole groups in equal shares."""
        values = self.values.clone()
        for _, _, (group, _, low, high, weight) in self.queue:
            members = self.tree.members(group)
            values[members] += weight * (high - low) / len(members)
        return values


def _round(f: Score, open_: Parts, searches: list[_Search], rows: list[int], most: int) -> bool:
    """Cut the groups with the largest credit; False when the run was stopped."""
    taken: list[list[_Open]] = []
    for search in searches:
        count = min(_AT_ONCE, len(search.queue), (most - search.asked) // 2)
        taken.append([heappop(search.queue)[2] for _ in range(count)])
    asked = [torch.stack([c for item in t for c in s.companies(item)]) for s, t in zip(searches, taken, strict=True)]
    try:
        found = scores(f.among(rows), open_.coalitions(batched(asked)))
    except Stopped:
        if not any(search.asked for search in searches):
            raise
        found = torch.zeros(len(searches), 0)
        current().meter.stopped = f"after {max(search.asked for search in searches)} coalitions"
    for search, items, worth in zip(searches, taken, found, strict=True):
        for i, item in enumerate(items):
            if 2 * i + 1 < len(worth):
                search.cut(item, float(worth[2 * i]), float(worth[2 * i + 1]))
            else:
                search.push(item)
    return not current().meter.stopped


def reference(
    f: Score,
    x: Tensors,
    *,
    tree: Tensor | None = None,
    by: str = "grid",
    cells: int | None = None,
    mask: Mask = None,
    fill: Fill | None = None,
    baseline: float | None = None,
) -> Tensors:
    """The definition over orders, for samples with equally many players.

    Players come in one after another in every order that keeps groups together; each is paid what it adds.
    """
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline, most=_FINEST)
    n, samples = game.counts[0], len(game.counts)
    values, known = torch.zeros(samples, n, dtype=torch.double), dict[frozenset[int], Tensor]()

    def worth(members: frozenset[int]) -> Tensor:
        if members not in known:
            known[members] = f(game.only(torch.tensor([[i in members for i in range(n)]] * samples)))
        return known[members]

    for sample, t in enumerate(trees(game.players, tree)):
        orders = _orders(t, (0, n))
        for order in orders:
            for k, player in enumerate(order):
                gain = worth(frozenset(order[: k + 1])) - worth(frozenset(order[:k]))
                values[sample, player] += gain[sample] / len(orders)
    return game.players.laid(values)


def _orders(tree: Tree, group: Group) -> list[list[int]]:
    """Every order of a group's members in which each group within it stays together."""
    if group not in tree.cuts:
        return [tree.members(group).tolist()]
    left, right = (_orders(tree, half) for half in tree.halves(group))
    return [o for a, b in product(left, right) for o in (a + b, b + a)]
