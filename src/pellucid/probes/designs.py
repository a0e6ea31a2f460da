"""Designs for total Sobol indices: points in a cube, each with one coordinate after another drawn anew."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.quasirandom import SobolEngine

from pellucid.core.run import current


def design(points: int, players: int) -> Float[Tensor, "points point_and_anew players"]:
    """At each point, how much of each player is seen (0..1), and the same with one after another drawn anew.

    A scrambled Sobol sequence that depends on the seed alone.

    >>> design(4, 3).shape
    torch.Size([4, 4, 3])
    """
    seed = current().generator("sobol").initial_seed()
    engine = SobolEngine(2 * players, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    drawn = engine.draw(points, dtype=torch.float64)
    first, anew = drawn[:, None, :players], drawn[:, None, players:]
    return torch.cat((first, torch.where(torch.eye(players, dtype=torch.bool), anew, first)), 1)


def total_indices(
    scores: Float[Tensor, "points point_and_anew batch"], rounding: Tensor | float = 0.0
) -> tuple[Float[Tensor, "batch players"], Float[Tensor, " batch"]]:
    """Each player's total Sobol index by Jansen's estimator, and the variance it is a share of.

    Where the variance is at most `rounding`, indices are 0: a score that stands still still trembles.
    """
    variance = scores[:, 0].var(0, unbiased=False)
    apart = (scores[:, 1:] - scores[:, :1]).square().mean(0) / 2
    return torch.where(variance > rounding, apart / variance, 0.0).T, variance
