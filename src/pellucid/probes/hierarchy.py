"""Players in a hierarchy: a binary tree whose groups are cut in two until each holds one player.

By position: a group is cut across the longer side of where its players lie, so that pictures fall into halves, quarters
and so on, tables and texts into stretches, and several inputs apart first.  Or as a linkage matrix says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.probes.segments import Segments

Group: TypeAlias = tuple[int, int]  # from where to where in the tree's order


@dataclass(frozen=True, slots=True)
class Tree:
    """`order` has the players such that every group is a stretch of it; `cuts`: where groups of several are cut."""

    order: Int[Tensor, " players"]
    cuts: dict[Group, int]

    def members(self, group: Group) -> Int[Tensor, " members"]:
        """The players of a group."""
        return self.order[slice(*group)]

    def halves(self, group: Group) -> tuple[Group, Group]:
        """The two groups that a group is cut into."""
        cut = self.cuts[group]
        return (group[0], cut), (cut, group[1])


def trees(players: Segments, linkage: Tensor | None) -> list[Tree]:
    """Each sample's tree, from where its players lie, or from a linkage matrix that holds for all samples.

    Raises `BadOption` when a linkage matrix does not join just these players.
    """
    if linkage is None:
        return [nearby(centers(players, i)) for i in range(len(players.counts))]
    return [joined(linkage, n) for n in players.counts]


def centers(players: Segments, sample: int) -> Float[Tensor, "players axes"]:
    """Where the players of a sample lie on average: the input's number, far apart, then the place along each axis."""
    n, most = players.counts[sample], max(v.ndim for v in players.labels.values()) - 1
    sums, count = torch.zeros(n, most + 1, dtype=torch.double), torch.zeros(n, dtype=torch.double)
    for number, labels in enumerate(players.labels.values()):
        held = labels[sample].cpu()
        flat = held.reshape(-1)
        along = torch.cartesian_prod(*(torch.arange(side) for side in held.shape)).view(len(flat), -1).double()
        place = torch.zeros(len(flat), most + 1, dtype=torch.double)
        place[:, 0], place[:, 1 : 1 + along.shape[1]] = 1e9 * number, along
        sums.index_add_(0, flat, place)
        count.index_add_(0, flat, torch.ones(len(flat), dtype=torch.double))
    return sums / count[:, None]


def nearby(places: Float[Tensor, "players axes"]) -> Tree:
    """Groups cut across their longer side, between the places in the middle; of one place, in halves by number.

    >>> tree = nearby(torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]))
    >>> [tree.members(half).tolist() for half in tree.halves((0, 6))]
    [[0, 3], [1, 2, 4, 5]]
    """
    order, cuts = torch.arange(len(places)), dict[Group, int]()
    open_ = [(0, len(places))]
    while open_:
        start, stop = open_.pop()
        if stop - start < 2:
            continue
        group = order[start:stop]
        inside = places[group]
        axis = int((inside.amax(0) - inside.amin(0)).argmax())
        different = torch.unique(inside[:, axis])
        if len(different) > 1:
            first = inside[:, axis] < different[len(different) // 2]
            order[start:stop] = torch.cat([group[first], group[~first]])
            cut = start + int(first.sum())
        else:
            cut = (start + stop) // 2
        cuts[start, stop] = cut
        open_ += [(start, cut), (cut, stop)]
    return Tree(order, cuts)


def joined(linkage: Tensor, n: int) -> Tree:
    """The tree of a linkage matrix as scipy's `linkage` makes it: row i joins two players or earlier rows into n + i.

    >>> joined(torch.tensor([[0, 2], [1, 3]]), 3).order.tolist()
    [1, 0, 2]
    """
    pairs = linkage[:, :2].long().tolist() if linkage.ndim == 2 and linkage.shape[1] >= 2 else []
    held: list[list[int]] = [[i] for i in range(n)]
    parts: dict[int, tuple[int, int]] = {}
    free = set(range(n))
    for left, right in pairs:
        if left == right or not {left, right} <= free:
            raise BadOption(f"The tree joins {left} and {right}: expected two groups not yet joined.", _LINKAGE)
        parts[len(held)] = (left, right)
        free = free - {left, right} | {len(held)}
        held.append([*held[left], *held[right]])
    if len(free) != 1:
        rows = f"The tree is {tuple(linkage.shape)} for {n} players"
        raise BadOption(f"{rows}: expected {n - 1} rows that join all of them.", _LINKAGE)
    cuts, open_ = dict[Group, int](), [(len(held) - 1, 0)]
    while open_:
        number, start = open_.pop()
        if number >= n:
            left, right = parts[number]
            cut = start + len(held[left])
            cuts[start, start + len(held[number])] = cut
            open_ += [(left, start), (right, cut)]
    return Tree(torch.tensor(held[-1]), cuts)


_LINKAGE = "Row i of a linkage matrix (scipy's) joins two players, or earlier rows, into number players + i."
