"""Guided integrated gradients: closed forms, the straight path, and what its path obeys."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pellucid.methods import all_methods
from pellucid.methods.guided_integrated_gradients import _moved
from tests.networks import Net, picture, seeded

GUIDED = all_methods()["guided_integrated_gradients"]


@pytest.mark.parametrize("apart", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("baseline", [0.0, -0.7])
def test_in_a_linear_network_every_path_gives_weight_times_difference(apart: float, baseline: float) -> None:
    net, x = nn.Linear(9, 2).double(), torch.randn(3, 9, dtype=torch.float64, generator=seeded(0))
    found = GUIDED(net, x, 1, steps=7, apart=apart, baseline=baseline)
    torch.testing.assert_close(found.values, net.weight.detach()[1] * (x - baseline), rtol=0, atol=1e-12)
    assert max(found.gap) < 1e-9


@pytest.mark.parametrize("apart", [0.1, 1.0])
def test_in_an_additive_network_every_path_gives_each_values_own_change(apart: float) -> None:
    class Squares(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square().sum(1, keepdim=True)

    x = torch.randn(3, 30, dtype=torch.float64, generator=seeded(1))
    found = GUIDED(Squares(), x, 0, steps=20, apart=apart)  # the mean of both ends is exact for a square
    torch.testing.assert_close(found.values, x**2, rtol=0, atol=1e-12)


def test_on_the_straight_path_it_is_integrated_gradients() -> None:
    net, x = Net("module", "gelu", seed=2).double(), picture(3).double()
    found = GUIDED(net, x, 1, steps=150, apart=0.0).values
    straight = all_methods()["integrated_gradients"](net, x, 1, steps=64).values
    torch.testing.assert_close(found, straight, rtol=0, atol=1e-3 * float(straight.abs().max()))


@pytest.mark.parametrize("apart", [0.1, 1.0])
def test_the_gap_falls_with_the_steps(apart: float) -> None:
    net, x = Net("module", "gelu", "gate", seed=4).double(), picture(5).double()
    gaps = [max(GUIDED(net, x, 1, steps=steps, apart=apart).gap) for steps in (8, 32, 128)]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-2


def test_the_least_steep_values_move_first_as_far_as_they_may_and_the_length_is_kept() -> None:
    x = torch.rand(4, 50, dtype=torch.float64, generator=seeded(6)) + 0.5
    start, steep = torch.zeros_like(x), torch.rand(x.shape, dtype=torch.float64, generator=seeded(7))
    at = 0.3
    moved = _moved(start, x, start, steep, start, x, at)  # anywhere between start and x
    torch.testing.assert_close((x - moved).sum(1), (1 - at) * x.sum(1))
    share = moved / x
    for b in range(4):
        along = share[b, steep[b].argsort()]
        assert bool((along[:-1] - along[1:] > -1e-12).all()), "nothing steeper is further ahead"
        assert int(((along > 1e-12) & (along < 1 - 1e-12)).sum()) <= 6, "only one group of a tenth is under way"
    bound = _moved(start, x, start, steep, 0.2 * x, 0.4 * x, at)
    torch.testing.assert_close((x - bound).sum(1), (1 - at) * x.sum(1))
    assert bool((bound >= 0.2 * x - 1e-12).all()) and bool((bound <= 0.4 * x + 1e-12).all())
