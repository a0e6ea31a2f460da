"""A map cut into cells: which points lie in each, which of them stand for it, and how alike they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.dream.maps.neighbors import scaled

PATCHES = 4  # points that stand for a cell
_CUT = 0.005  # of the points on either side, which are moved to the map's edge


def spread(places: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
    """Places in 0..1 along both axes; the outermost of either side are moved to the edge."""
    ends = torch.quantile(places.double(), torch.tensor([_CUT, 1 - _CUT], dtype=torch.double), dim=0)
    return ((places - ends[0]) / (ends[1] - ends[0]).clamp(min=1e-12)).clamp(0, 1).float()


def by_cell(places: Float[Tensor, "n 2"], grid: int, least: int) -> dict[tuple[int, int], Tensor]:
    """The vectors of each cell (row, column) that holds enough; rows go down as the second coordinate falls."""
    at = (places * grid).long().clamp(max=grid - 1)
    number = (grid - 1 - at[:, 1]) * grid + at[:, 0]
    found = {divmod(c, grid): (number == c).nonzero()[:, 0] for c in sorted(set(number.tolist()))}
    members = {cell: rows for cell, rows in found.items() if len(rows) >= least}
    if not members:
        most = max(map(len, found.values()))
        raise BadInput(f"No cell holds {least} vectors; the fullest holds {most}.", "Lower `grid` or `least`.")
    return members


def nearest_to_mean(points: Tensor, members: Mapping[tuple[int, int], Tensor], means: Tensor) -> Tensor:
    """Of each cell, the numbers of the vectors whose direction is nearest to the mean's; few are repeated."""
    chosen = []
    for rows, mean in zip(members.values(), means, strict=True):
        order = torch.cosine_similarity(points[rows], mean[None]).argsort(dim=0, descending=True, stable=True)
        chosen.append(rows[order[torch.arange(PATCHES).clamp(max=len(rows) - 1)]])
    return torch.stack(chosen)


def alike(away: Tensor, members: Mapping[tuple[int, int], Tensor]) -> Tensor:
    """The mean cosine between two vectors of a cell, both less the overall mean."""
    found = []
    for rows in members.values():
        unit, n = scaled(away[rows].double(), "cosine"), len(rows)
        pairs = float(unit.sum(0).square().sum() - unit.square().sum())
        found.append(pairs / (n * (n - 1)) if n > 1 else float("nan"))
    return torch.tensor(found)
