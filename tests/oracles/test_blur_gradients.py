"""Blur integrated gradients in closed form: linear and quadratic networks, and what does not change on the path."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput
from pellucid.methods import all_methods
from pellucid.probes.blur import blurred
from tests.networks import Net, picture, seeded

BLUR = all_methods()["blur_integrated_gradients"]


def start(x: Tensor, blur: float) -> Tensor:
    axes = tuple(range(2, x.ndim))
    return blurred(x, axes, blur * sum(x.shape[2:]) / len(axes))


@pytest.mark.parametrize("shape", [(2, 3, 7, 6), (2, 3, 9), (1, 2, 4, 5, 3)], ids=str)
@pytest.mark.parametrize("blur", [0.1, 0.4])
def test_in_a_linear_network_the_share_is_weight_times_what_the_blur_took(shape: tuple[int, ...], blur: float) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=seeded(0))
    net = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 2)).double()
    found = BLUR(net, x, 1, blur=blur, steps=128)
    expected = net[1].weight.detach()[1].view(x.shape[1:]) * (x - start(x, blur))
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-5)
    assert max(found.gap) < 1e-4


def test_in_a_quadratic_network_of_single_places_the_share_is_the_change_of_the_square() -> None:
    class Squares(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square().flatten(1).sum(1, keepdim=True)

    x = torch.randn(2, 3, 7, 6, dtype=torch.float64, generator=seeded(1))
    found = BLUR(Squares(), x, 0, steps=128).values
    torch.testing.assert_close(found, x**2 - start(x, 0.2) ** 2, rtol=0, atol=1e-5)


def test_the_gap_falls_with_the_points_and_is_that_of_the_sum() -> None:
    net, x = Net("module", "gelu", seed=5).double(), picture(4).double()
    with torch.no_grad():
        change = net(x)[:, 1] - net(start(x, 0.2))[:, 1]
    gaps = []
    for steps in (8, 16, 32):
        found = BLUR(net, x, 1, steps=steps)
        gap = (found.values.flatten(1).sum(1) - change).abs() / change.abs()
        torch.testing.assert_close(torch.tensor(found.gap, dtype=torch.float64), gap, rtol=1e-6, atol=1e-9)
        gaps.append(float(gap.max()))
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-3


def test_what_the_blur_does_not_change_gets_nothing() -> None:
    x = picture(0).double()
    x[:, 1] = 0.7  # an even channel
    found = BLUR(Net(seed=1).double(), x, 1).values
    assert float(found[:, 1].abs().max()) < 1e-12 < float(found[:, 0].abs().max())


def test_tables_have_no_neighbors() -> None:
    with pytest.raises(BadInput, match="no neighbors"):
        BLUR(nn.Linear(3, 1), torch.ones(1, 3), 0)
