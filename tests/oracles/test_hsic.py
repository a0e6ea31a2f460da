"""HSIC in closed form for a score of two values, its chance level by shuffling, and independence."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from tests.networks import seeded

HSIC = all_methods()["hsic"]
WHITE = torch.ones(1, 1, 6, 6, dtype=torch.float64)


class OfCells(nn.Module):
    """A score of nine cells, each seen (1) or not (0)."""

    def __init__(self, weights: Tensor, power: float = 1.0) -> None:
        super().__init__()
        self.weights, self.power = weights.double(), power

    def forward(self, x: Tensor) -> Tensor:
        cells = x[:, 0, ::2, ::2].flatten(1)
        return ((cells @ self.weights.to(cells)) ** self.power)[:, None]


def cells_of(found: Tensor) -> Tensor:
    return found[0, 0, ::2, ::2].flatten()


def test_for_a_score_that_is_one_cell_the_value_is_known() -> None:
    """Given that the score is 0 or 1, L is 1 where the cell agrees and exp(-1/2) where not: L = const + c K."""
    masks = 400
    found = HSIC(OfCells(torch.eye(9)[4]), WHITE, 0, masks=masks, cells=3)
    cells = cells_of(found.values)
    # K = (1 + s s^T) / 2 and HKH = (Hs)(Hs)^T / 2: the trace is (1 - e^{-1/2}) |Hs|^4 / 4, and |Hs|^2 = n (1 - mean^2)
    seen = found.facts["masks"]
    exact = (1 - math.exp(-0.5)) / 4 * (seen / (seen - 1)) ** 2
    assert float(cells[4]) == pytest.approx(exact, rel=4 * 2 / seen)  # mean^2 is about 1 / n
    others = cells[torch.arange(9) != 4]
    assert float(others.max()) < float(cells[4]) / 20


def test_cells_that_do_not_matter_get_about_the_chance_level_which_vanishes() -> None:
    weights = torch.tensor([1.0, -2.0, 3.0, 0.5, 0, 0, 0, 0, 0])
    levels = []
    for masks in (100, 1600):
        idle, chance = [], []
        for seed in range(12):
            with running(Run(seed=seed)):
                found = HSIC(OfCells(weights), WHITE, 0, masks=masks, cells=3)
            cells = cells_of(found.values)
            idle.append(cells[4:])
            chance.append(found.facts["by chance"][0])
            assert float(cells[2]) > 3 * float(cells[4:].max())
        every = torch.stack(idle).flatten()
        level = sum(chance) / len(chance)
        assert abs(float(every.mean()) - level) < 4 * float(every.std()) / len(every) ** 0.5
        levels.append(level)
    assert levels[1] == pytest.approx(levels[0] / 16, rel=0.1)


def test_the_chance_level_is_the_mean_over_shuffled_scores() -> None:
    from pellucid.methods.hsic import _dependence

    generator = seeded(0)
    signs = 2 * (torch.rand(40, 6, generator=generator, dtype=torch.float64) < 0.5).double() - 1
    scores = torch.randn(40, generator=generator, dtype=torch.float64) + signs[:, 0]
    shuffled = [_dependence(signs, scores[torch.randperm(40, generator=generator)], 0.0)[0] for _ in range(3000)]
    every = torch.stack(shuffled).mean(1)
    _, chance = _dependence(signs, scores, 0.0)
    assert abs(float(every.mean()) - chance) < 4 * float(every.std()) / len(every) ** 0.5


def test_a_dependence_without_correlation_is_found() -> None:
    """Cell 0 spreads the score and leaves its mean: the covariance, which RISE maps, is nothing."""

    class Spread(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            cells = x[:, 0, ::2, ::2].flatten(1)
            return (cells[:, 2] * (1 + 4 * cells[:, 0]) - 2 * cells[:, 0])[:, None]

    found = HSIC(Spread(), WHITE, 0, masks=2000, cells=3)
    cells = cells_of(found.values)  # with cell 0: -2 or 3, evenly; without: 0 or 1: the means are equal
    assert float(cells[0]) > 10 * found.facts["by chance"][0]
    rise = all_methods()["rise"](Spread(), WHITE, 0, masks=2000, cells=3).values
    assert float(rise[0, 0, 1, 1].abs()) < 6 * 3 / 2000**0.5


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_unit_of_the_score_does_not_matter(scale: float) -> None:
    weights = torch.randn(9, generator=seeded(1))
    base = HSIC(OfCells(weights), WHITE, 0, masks=200, cells=3).values
    scaled = HSIC(OfCells(scale * weights), WHITE, 0, masks=200, cells=3).values
    torch.testing.assert_close(scaled, base, rtol=1e-6, atol=1e-9)
