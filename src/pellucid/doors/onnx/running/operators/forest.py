"""Trees as tables: all samples go down all trees at once.

A forest is constant between its thresholds: its gradient is 0 wherever there is one, and none reaches the input.
Methods that only run the network say what it looks at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.errors import BadModel

# How a node compares a feature with its threshold; both forms of the standard.
COMPARISONS: Mapping[str, int] = {
    "BRANCH_LEQ": 0, "BRANCH_LT": 1, "BRANCH_GTE": 2, "BRANCH_GT": 3, "BRANCH_EQ": 4, "BRANCH_NEQ": 5,
    "BRANCH_MEMBER": 6, "LEAF": 7,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forest:
    """Nodes of all trees in one table; a leaf leads to itself, so that every sample can take equally many steps.

    `values` are what each node adds to each target, `has` whether it says anything about that target.
    """

    roots: Tensor
    feature: Tensor
    split: Tensor
    mode: Tensor
    yes: Tensor
    no: Tensor
    missing: Tensor  # is a missing value taken for a yes?
    values: Tensor
    has: Tensor
    members: Mapping[int, Tensor]
    depth: int

    def leaves(self, x: Tensor) -> Tensor:
        """The leaf of each sample in each tree."""
        place = self.roots.to(x.device).expand(len(x), -1)
        feature, split, mode = (t.to(x.device) for t in (self.feature, self.split, self.mode))
        yes, no, missing = (t.to(x.device) for t in (self.yes, self.no, self.missing))
        for _ in range(self.depth):
            value, how = x.gather(1, feature[place]), mode[place]
            goes = self._compared(value, split[place].to(x.dtype), how, place)
            goes = torch.where(torch.isnan(value), missing[place], goes)
            place = torch.where(goes, yes[place], no[place])
        return place

    def _compared(self, value: Tensor, split: Tensor, how: Tensor, place: Tensor) -> Tensor:
        found = (value <= split) & (how == 0)
        for code, compare in ((1, torch.lt), (2, torch.ge), (3, torch.gt), (4, torch.eq), (5, torch.ne)):
            found = found | (compare(value, split) & (how == code))
        for node, members in self.members.items():
            inside = (value.unsqueeze(-1) == members.to(value.device, value.dtype)).any(-1)
            found = found | (inside & (place == node) & (how == 6))
        return found

    def total(self, x: Tensor, how: str) -> Tensor:
        """What the leaves say about each target, put together over the trees: `[samples, targets]`."""
        leaves = self.leaves(x.detach())
        said = self.values.to(x.device, x.dtype)[leaves]
        if how in ("SUM", "AVERAGE"):
            return said.sum(1) if how == "SUM" else said.sum(1) / len(self.roots)
        has, end = self.has.to(x.device)[leaves], float("inf") if how == "MIN" else float("-inf")
        said = torch.where(has, said, end)
        best = said.amin(1) if how == "MIN" else said.amax(1)
        return torch.where(has.any(1), best, 0)


def checked(yes: Sequence[int], no: Sequence[int], leaf: Sequence[bool], roots: Sequence[int]) -> int:
    """How deep the trees are.  Raises `BadModel` when they are no trees."""
    count, seen, level, depth = len(yes), set[int](), list(roots), 0
    while level:
        if any(not 0 <= i < count for i in level) or seen.intersection(level) or len(set(level)) < len(level):
            raise BadModel(
                "A tree of the model leads to a node twice, or to one that is not there.", "Export it again."
            )
        seen.update(level)
        level = [child for i in level if not leaf[i] for child in (yes[i], no[i])]
        depth += bool(level)
    return depth
