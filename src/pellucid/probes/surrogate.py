"""A linear function fitted to a game's scores by weighted least squares, with standard errors.

The errors are those of sampling: how far the fit would move had other coalitions been drawn.  They come from the
residuals themselves (the sandwich estimator, White 1980), each divided by one minus its row's leverage, because a row
pulls the fit towards itself (MacKinnon and White 1985).  Rows that were not drawn by chance add no error.  Rows that
were drawn together err together: their errors add up before they are squared, and one minus their leverage is a matrix,
whose root divides (Bell and McCaffrey 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients with their standard errors, and the share of the weighted variance that the fit explains."""

    coefficients: Float[Tensor, " columns"]
    errors: Float[Tensor, " columns"]
    r2: float


def fitted(
    rows: Float[Tensor, "rows columns"],
    wanted: Float[Tensor, " rows"],
    weights: Float[Tensor, " rows"],
    *,
    chance: Float[Tensor, " rows"] | None = None,
    toward_zero: Float[Tensor, "more columns"] | None = None,
    together: int = 1,
) -> Fit:
    """The coefficients that minimize the weighted squared error; where several do, the smallest.

    `toward_zero`: further rows of weight 1 that want 0, to penalize coefficients or to fix what the others leave open.
    `chance`: for each row, the share of its kind that was not drawn (1 when rows are
    drawn from infinitely many, 0 when all there are were taken).
    `together`: how many rows, one after another, were drawn as one.

    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]).double()
    >>> found = fitted(rows, torch.tensor([3.0, 5.0, 7.0]).double(), torch.ones(3).double())
    >>> found.coefficients.round(decimals=6).tolist()
    [3.0, 2.0]
    """
    root = weights.sqrt()
    scaled = rows * root[:, None]
    pull = torch.linalg.pinv(scaled if toward_zero is None else torch.cat([scaled, toward_zero]))[:, : len(rows)]
    coefficients = pull @ (root * wanted)
    residuals = wanted - rows @ coefficients
    if together == 1:
        alone = root * residuals / (1 - (scaled * pull.T).sum(1)).clamp(min=1e-6)
        moved = pull * (alone if chance is None else alone * chance.sqrt())
    else:
        moved = _of_groups(scaled, pull, root * residuals, together)
    errors = moved.square().sum(1).sqrt()
    mean = (weights * wanted).sum() / weights.sum()
    spread = float((weights * (wanted - mean).square()).sum())
    missed = float((weights * residuals.square()).sum())
    return Fit(coefficients, errors, 1 - missed / spread if spread > 0 else float("nan"))


def _of_groups(
    scaled: Float[Tensor, "rows columns"],
    pull: Float[Tensor, "columns rows"],
    residuals: Float[Tensor, " rows"],
    together: int,
) -> Float[Tensor, "columns groups"]:
    """How far each group of rows moved the coefficients; the last group may be smaller."""
    missing = -len(scaled) % together
    rows = functional.pad(scaled, (0, 0, 0, missing)).view(-1, together, scaled.shape[1])
    pulls = functional.pad(pull, (0, missing)).view(len(pull), -1, together)
    left = functional.pad(residuals, (0, missing)).view(-1, together)
    leverage = torch.einsum("gic,cgj->gij", rows, pulls)
    values, vectors = torch.linalg.eigh(torch.eye(together, dtype=scaled.dtype) - (leverage + leverage.mT) / 2)
    along = torch.einsum("gij,gi->gj", vectors, left) / values.clamp(min=1e-6).sqrt()
    return torch.einsum("cgi,gij,gj->cg", pulls, vectors, along)
