"""Total Sobol indices in closed form: sums, products, Ishigami's function, SciPy's estimates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from pellucid.core.run import Run, running
from pellucid.methods import all_methods

SOBOL = all_methods()["sobol"]


class OfCells(nn.Module):
    """A score of what is seen of each cell: the input is a white picture, and nothing is black."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        seen = x.unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean((1, 3, 5)).flatten(1)  # four cells
        a, b, c, d = seen.unbind(1)
        if self.kind == "sum":
            out = 1 * a - 2 * b + 3 * c + 0 * d
        elif self.kind == "product":
            out = a * b * c + 0 * d
        else:
            one, two, three = ((v * 2 - 1) * math.pi for v in (a, b, c))
            out = one.sin() + 7 * two.sin() ** 2 + 0.1 * three**4 * one.sin() + 0 * d
        return out[:, None]


def ishigami() -> list[float]:
    """Ishigami, Homma 1990, with a = 7 and b = 0.1: the first and third cell act alone and together."""
    a, b = 7.0, 0.1
    alone, second = (1 + b * math.pi**4 / 5) ** 2 / 2, a**2 / 8
    together = b**2 * math.pi**8 * (1 / 18 - 1 / 50)
    total = alone + second + together
    return [(alone + together) / total, second / total, together / total, 0.0]


# of a product of three numbers in 0..1: E[Var(f | others)] / Var(f) = (1/12) (1/3)^2 / ((1/3)^3 - (1/4)^3)
PRODUCT = (1 / 12 / 9) / (1 / 27 - 1 / 64)
CLOSED = {"sum": [1 / 14, 4 / 14, 9 / 14, 0.0], "product": [PRODUCT, PRODUCT, PRODUCT, 0.0], "ishigami": ishigami()}


def indices(kind: str, designs: int, seed: int = 0) -> Tensor:
    with running(Run(seed=seed)):
        found = SOBOL(OfCells(kind).double(), torch.ones(1, 3, 4, 6, dtype=torch.float64), 0, cells=2, designs=designs)
    assert found.values.shape == (1, 1, 4, 6)
    cells = found.values[0, 0].unflatten(0, (2, 2)).unflatten(2, (2, 3))
    assert float((cells.amax((1, 3)) - cells.amin((1, 3))).max()) == 0
    return cells.mean((1, 3)).flatten()


@pytest.mark.parametrize("kind", CLOSED)
def test_the_indices_are_those_in_closed_form(kind: str) -> None:
    expected = torch.tensor(CLOSED[kind], dtype=torch.float64)
    errors = [float((indices(kind, n) - expected).abs().max()) for n in (32, 2048)]
    assert errors[1] < 0.01 and errors[1] < errors[0]
    assert float(indices(kind, 32)[3]) == 0


@pytest.mark.parametrize("kind", CLOSED)
def test_scipy_finds_the_same(kind: str) -> None:
    def of_points(points: np.ndarray) -> np.ndarray:
        white = torch.from_numpy(points.T.copy()).view(-1, 1, 2, 2)
        return OfCells(kind)(white)[:, 0].numpy()[None]

    uniform = [scipy.stats.uniform(0, 1)] * 4
    theirs = scipy.stats.sobol_indices(func=of_points, n=4096, dists=uniform, rng=np.random.default_rng(0))
    found = indices(kind, 4096)
    torch.testing.assert_close(found, torch.from_numpy(np.atleast_2d(theirs.total_order)[0]), rtol=0, atol=0.02)


def test_another_seed_scrambles_anew_and_the_same_seed_does_not() -> None:
    assert torch.equal(indices("sum", 16, seed=1), indices("sum", 16, seed=1))
    assert not torch.equal(indices("sum", 16, seed=1), indices("sum", 16, seed=2))
