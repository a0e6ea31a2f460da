"""Class activation maps over several sites, and those that are made of more than a gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel, BadOption
from pellucid.core.target import probability
from pellucid.methods import all_methods
from tests.networks import Net, picture

METHODS = all_methods()


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam", "eigen_cam"])
def test_maps_of_several_sites_count_equally_and_the_finest_is_the_resolution(name: str) -> None:
    net, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 3, 1), nn.Flatten()), picture(0)
    fused = METHODS[name](net, x, 0, site="0, 3")
    low = [METHODS[name](net, x, 0, site=site) for site in ("0", "3")]
    assert fused.resolution == low[0].resolution == (4, 3) and low[1].resolution == (2, 1)
    assert fused.facts["site"] == "0, 3"
    # the largest place of a map lies between those of the picture, so that its size shows at the map's own size only
    weights = torch.stack([e.values.flatten(1) for e in low], 2).double()
    shares = torch.linalg.lstsq(weights, fused.values.flatten(1)[..., None].double()).solution[..., 0]
    rebuilt = (weights * shares[:, None]).sum(2)
    torch.testing.assert_close(rebuilt, fused.values.flatten(1).double(), rtol=0, atol=1e-5)
    assert float(fused.values.max()) <= 1


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.family == "class activation"])
def test_every_map_takes_several_sites_and_one_of_them_twice_is_that_one(name: str) -> None:
    net, x = Net(seed=3), picture(1)
    one, twice = (METHODS[name](net, x, 1, site=site).values for site in ("conv2", "conv2,conv2"))
    if name != "guided_grad_cam":  # that shows strokes, whose sizes are the gradient's
        scale = one.abs().amax((1, 2, 3), keepdim=True) / twice.abs().amax((1, 2, 3), keepdim=True)
        torch.testing.assert_close(twice * scale, one, rtol=1e-4, atol=1e-6)
    both = METHODS[name](net, x, 1, site="conv1, conv2")
    assert both.values.shape == one.shape and both.facts["site"] == "conv1, conv2"
    with pytest.raises(BadInput, match="nowhere"):
        METHODS[name](net, x, 1, site="conv1, nowhere")


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.family == "class activation"])
def test_with_asterisks_maps_are_multiplied(name: str) -> None:
    if name == "guided_grad_cam":
        pytest.skip("that shows strokes, whose sizes are the gradient's")
    net, x = Net(seed=3), picture(1)  # both maps have the picture's size, so that nothing is enlarged
    apart = [METHODS[name](net, x, 1, site=site).values.relu() for site in ("conv1", "conv2")]
    scales = [
        METHODS[name](net, x, 1, site=site).values.abs().amax((1, 2, 3), keepdim=True) for site in ("conv1", "conv2")
    ]
    both = METHODS[name](net, x, 1, site="conv1 * conv2")
    want = [torch.where(s > 0, v / s, v) for v, s in zip(apart, scales, strict=True)]
    torch.testing.assert_close(both.values, want[0] * want[1], rtol=1e-4, atol=1e-6)
    assert not both.signed and both.facts["site"] == "conv1 * conv2"
    with pytest.raises(BadOption, match="commas and asterisks"):
        METHODS[name](net, x, 1, site="conv1 * conv2, conv1")


@pytest.mark.parametrize("centered", [False, True])
def test_seg_eigen_cam_does_not_see_the_sign_of_the_score_and_finds_a_planted_place(centered: bool) -> None:
    class Two(nn.Module):
        """Reads two channels at two places: the first speaks for the class, the second more strongly against it."""

        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            v = self.map(x)
            score = v[:, 0, 1, 1] - 2 * v[:, 1, 3, 2]
            return torch.stack([score, -score], 1)

    x = 1 + torch.rand(1, 2, 6, 5, dtype=torch.float64)
    found, other = (METHODS["seg_eigen_cam"](Two(), x, c, site="map", centered=centered).values[0, 0] for c in (0, 1))
    torch.testing.assert_close(found, other)
    assert found.argmax() == 3 * 5 + 2


def test_a_score_that_is_linear_in_pieces_has_no_second_derivative() -> None:
    net, x = Net(seed=3).double(), picture(1).double()
    options: dict[str, Any] = {"site": "conv2", "rectify": False}
    corrected, plain = (METHODS[name](net, x, 1, **options).values for name in ("shapley_cam", "grad_cam"))
    assert torch.equal(corrected, plain)
    bent, straight = (METHODS[n](net, x, probability(1), **options).values for n in ("shapley_cam", "grad_cam"))
    assert not torch.allclose(bent, straight, rtol=1e-2)


def test_of_a_quadratic_score_shapley_cam_is_the_shapley_share() -> None:
    class Quadratic(nn.Module):
        """One place, two channels: a a + 3 a b + 5 b."""

        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.map(x)[:, :, 0, 0].T
            return (a * a + 3 * a * b + 5 * b)[:, None]

    x = torch.tensor([2.0, 7.0]).view(1, 2, 1, 1).double()
    found = METHODS["shapley_cam"](Quadratic(), x, 0, site="map", rectify=False).values
    # the map adds up both channels' shares: the whole change of the score
    assert float(found) == pytest.approx(4 + 42 + 35)
    assert float(METHODS["grad_cam"](Quadratic(), x, 0, site="map", rectify=False).values) == pytest.approx(8 + 84 + 35)


def test_what_can_be_differentiated_only_once_is_refused() -> None:
    class Far(nn.Module):
        """The distance of each channel to those of a flat map, which torch differentiates once."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            channels = self.conv(x).flatten(2)
            return torch.cdist(channels, torch.ones_like(channels)).square().sum(2)

    with pytest.raises(BadModel, match="cannot differentiate twice"):
        METHODS["shapley_cam"](Far(), picture(0), 1, site="conv")


def test_fem_marks_where_a_channel_stands_out_by_its_mean() -> None:
    x = torch.ones(1, 2, 6, 6)
    x[0, 0, 1, 2], x[0, 1, 4, 4] = 30.0, 60.0
    net = nn.Sequential(nn.Identity(), nn.Conv2d(2, 3, 1), nn.Flatten())
    found = METHODS["fem"](net, x, 0, site="0").values[0, 0]
    expected = torch.zeros(6, 6)
    expected[1, 2], expected[4, 4] = 65 / 36, 95 / 36
    torch.testing.assert_close(found, expected)
