"""RISE against the covariance of its masks in closed form: over all shifts, and over all cells by their variance."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from pellucid.probes.cells import Soft
from tests.networks import Net, picture, seeded

RISE = all_methods()["rise"]


def weights_of_cells(height: int, width: int, cells: int) -> list[Tensor]:
    """For every shift, `[places, cells]`: how much of each cell a place sees."""
    grid = (cells, cells)
    masks = Soft(grid, 0.5, torch.zeros(1, 1, height, width, dtype=torch.float64))
    each_cell = torch.eye(cells * cells, dtype=torch.float64).view(-1, 1, *grid)
    large = masks.enlarged(each_cell)[:, 0]
    tall, wide = math.ceil(height / cells), math.ceil(width / cells)
    shifts = [(down, right) for down in range(tall) for right in range(wide)]
    return [large[:, d : d + height, r : r + width].flatten(1).T for d, r in shifts]


def linear(height: int, width: int, channels: int = 2) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear score of a picture, and each place's contribution to it."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 2)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(net[1].weight.shape, generator=seeded(0), dtype=torch.float64))
    x = torch.randn(2, channels, height, width, dtype=torch.float64, generator=seeded(1))
    return net, x, (net[1].weight.detach()[1].view(channels, height, width) * x).sum(1).flatten(1)


@pytest.mark.parametrize(("cells", "keep", "shape"), [(3, 0.5, (6, 5)), (2, 0.2, (7, 8)), (4, 0.7, (9, 9))])
def test_for_a_linear_score_the_map_is_the_covariance_of_the_masks(
    cells: int, keep: float, shape: tuple[int, int]
) -> None:
    net, x, shares = linear(*shape)
    weights = weights_of_cells(*shape, cells)
    assert all(torch.allclose(w.sum(1), torch.ones(1, dtype=torch.float64)) for w in weights)
    # given the shift, cells are independent with variance p (1 - p), and every place's mean is p
    covariance = keep * (1 - keep) * sum(w @ w.T for w in weights) / len(weights)
    expected = (shares @ covariance / keep).view(2, 1, *shape)
    errors = []
    for masks in (250, 4000):
        found = RISE(net, x, 1, masks=masks, cells=cells, keep=keep)
        away = (found.values - expected).flatten(1)
        largest = torch.tensor(found.facts["standard error"], dtype=torch.float64)
        assert bool((away.abs().amax(1) < 4 * largest).all())
        errors.append(float(away.square().mean().sqrt()))
    assert errors[1] < errors[0] / 2  # a sixteenth of the variance: a quarter, on average


def test_the_standard_error_is_the_spread_over_seeds() -> None:
    net, x = Net("module", "silu", seed=3).double(), picture(4, 1).double()
    maps, claimed = [], []
    for seed in range(60):
        with running(Run(seed=seed)):
            found = RISE(net, x, 1, masks=120, cells=3)
        maps.append(found.values)
        claimed.append(found.facts["standard error"][0])
    spread = float(torch.stack(maps).std(0).max())
    assert sum(claimed) / len(claimed) == pytest.approx(spread, rel=0.25)


def test_without_the_constant_the_map_is_the_papers_less_the_mean_score_and_less_noisy() -> None:
    net, x, _ = linear(6, 6)
    net[1].bias.data += 50
    centered, paper = (RISE(net, x, 1, masks=4000, cells=3, centered=c) for c in (True, False))
    mean = net(x * 0.5)[:, 1].detach()  # of a linear score: every place is seen half of the time
    largest = torch.tensor(paper.facts["standard error"], dtype=torch.float64)
    away = (paper.values - centered.values - mean[:, None, None, None]).flatten(1).abs().amax(1)
    assert bool((away < 4 * largest).all())
    assert max(centered.facts["standard error"]) < max(paper.facts["standard error"]) / 3


def test_too_few_masks_say_so() -> None:
    net, x, _ = linear(6, 6)
    assert any("take more masks" in note for note in RISE(net, x, 1, masks=3, cells=3).notes)
    assert not any("take more masks" in note for note in RISE(net, x, 1, masks=2000, cells=3).notes)
