"""Networks small enough to work out by hand: what every method must find there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.errors import BadModel
from tests.formulas import METHODS, Formula, explain, near, vector
from tests.networks import Net, picture

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum", "ignore:.*torch.jit:DeprecationWarning")
DIFFERENCES = {  # the methods that measure against a baseline, and how it is said
    "integrated_gradients": "baseline",
    "gradient_shap": "baseline",
    "feature_ablation": "baseline",
    "shapley_values": "baseline",
    "kernel_shap": "baseline",
    "shapley_sampling": "baseline",
    "lime": "baseline",
    "occlusion": "value",
}
OF_PICTURES = (  # or other things that have places
    *("extremal_perturbation", "blur_integrated_gradients", "xrai"),
    *("wavelet_gradients", "wavelet_integrated_gradients"),
)


def score(formula: Callable[[Tensor], Tensor]) -> nn.Module:
    """A network that computes one number a sample, as its only class."""
    return Formula(lambda x: formula(x)[:, None])


# Linear and constant networks


@pytest.mark.parametrize("name", DIFFERENCES)
@pytest.mark.parametrize("start", [0.0, 0.75, -2.0])
@pytest.mark.parametrize("steps", [None, 1, 7])
def test_in_a_linear_network_shares_are_weight_times_difference(name: str, start: float, steps: int | None) -> None:
    net = nn.Linear(6, 3).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    known = {
        "integrated_gradients": {"steps": steps},
        "gradient_shap": {"noise": 0.0},
        "occlusion": {"window": 1, "stride": 1},
    }
    found = explain(name, net, x, 2, **known.get(name, {}), **{DIFFERENCES[name]: start})
    near(found.values, net.weight[2] * (x - start))
    if found.gap is not None:
        assert max(found.gap) < 1e-9


def test_in_a_linear_network_without_offset_gradient_times_input_is_the_contribution() -> None:
    net, x = nn.Linear(5, 2, bias=False).double(), torch.randn(3, 5, dtype=torch.float64)
    found = explain("input_x_gradient", net, x, 1).values
    near(found, net.weight[1] * x)
    near(found.sum(1), net(x)[:, 1].detach())


@pytest.mark.parametrize("name", ["saliency", "smooth_grad", "guided_backprop", "deconvolution"])
def test_in_a_linear_network_every_slope_is_the_weight(name: str) -> None:
    net, x = nn.Linear(5, 2).double(), torch.randn(3, 5, dtype=torch.float64)
    signed = {"saliency": {"absolute": False}, "smooth_grad": {"kind": "mean"}}
    found = explain(name, net, x, 1, **signed.get(name, {})).values
    near(found, net.weight[1].expand(3, 5))


def test_occlusion_one_place_wide_takes_all_channels_of_a_place() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 2)).double()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    share = (net[1].weight[1].view(3, 4, 5) * (x - 0.5)).sum(1, keepdim=True)
    near(explain("occlusion", net, x, 1, window=1, stride=1, value=0.5).values, share)


# by their definitions these show the feature map even when nothing depends on it (softmax of equal scores is equal)
@pytest.mark.parametrize(
    "name", [name for name in METHODS if name not in ("eigen_cam", "fem", "kpca_cam", "score_cam")]
)
def test_a_constant_network_gives_a_zero_map_that_says_so(name: str) -> None:
    net = Net()
    with torch.no_grad():
        net.head.weight.zero_()
    found = explain(name, net, picture(0), 1)
    assert not found.values.any()
    assert "The map is zero everywhere: the method found no evidence." in found.notes


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if m.family in ("gradient", "relevance") and n not in OF_PICTURES]
)
def test_a_score_apart_from_the_input_is_refused_where_a_gradient_is_needed(name: str) -> None:
    with pytest.raises(BadModel, match="does not depend differentiably"):
        explain(name, score(lambda x: x.detach().sum(1)), vector(1, 2))


def test_occlusion_needs_no_gradient() -> None:
    near(
        explain("occlusion", score(lambda x: x.detach().sum(1)), vector(1, 2), window=1, stride=1).values, vector(1, 2)
    )


# Toys with a kink, a product, a maximum


@pytest.mark.parametrize("x", [(0.9, 0.4), (2.0, 1.0), (3.0, -1.0)])
def test_integrated_gradients_of_a_rectified_sum(x: tuple[float, float]) -> None:
    # relu(x1 + x2 - 1) wakes up a fraction 1/s of the way, s = x1 + x2
    total = sum(x)
    found = explain("integrated_gradients", score(lambda v: F.relu(v.sum(1) - 1)), vector(*x), steps=128)
    near(found.values, vector(*x) * max(0.0, 1 - 1 / total), 2e-2)


def test_integrated_gradients_do_not_see_how_a_function_is_written() -> None:
    # the pair of Sundararajan, Taly, Yan 2017, figure 7: equal functions, other networks; at (3, 1) both wake half way
    one = score(lambda v: F.relu(F.relu(v[:, 0]) - 1 - F.relu(v[:, 1])))
    other = score(lambda v: F.relu(F.relu(v[:, 0] - 1) - F.relu(v[:, 1])))
    for net in (one, other):
        near(explain("integrated_gradients", net, vector(3, 1), steps=128).values, vector(1.5, -0.5), 2e-2)


@pytest.mark.parametrize(
    ("formula", "x", "integrated", "occluded", "slope"),
    [
        (lambda v: v.amax(1), (2.0, 1.0), (2, 0), (1, 0), (1, 0)),
        (lambda v: v.amin(1), (2.0, 1.0), (0, 1), (1, 1), (0, 1)),
        (lambda v: v[:, 0] * v[:, 1], (1.0, 1.0), (0.5, 0.5), (1, 1), (1, 1)),  # and
        (lambda v: v.sum(1) - v[:, 0] * v[:, 1], (1.0, 1.0), (0.5, 0.5), (0, 0), (0, 0)),  # or
        (lambda v: v[:, 0] * v[:, 1] ** 2, (3.0, 2.0), (4, 8), (12, 12), (4, 12)),
    ],
    ids=["maximum", "minimum", "and", "or", "cubic"],
)
def test_toys(
    formula: Callable[[Tensor], Tensor],
    x: tuple[float, float],
    integrated: tuple[float, float],
    occluded: tuple[float, float],
    slope: tuple[float, float],
) -> None:
    net, v = score(formula), vector(*x)
    near(explain("integrated_gradients", net, v, steps=8).values, vector(*integrated))
    near(explain("integrated_gradients", net, v).values, vector(*integrated))
    near(explain("occlusion", net, v, window=1, stride=1).values, vector(*occluded))
    near(explain("saliency", net, v).values, vector(*slope))
    near(explain("input_x_gradient", net, v).values, vector(*slope) * v)


def test_overlapping_windows_are_averaged() -> None:
    # windows {0,1}, {1,2}, {2}: the sum falls by 3, 5 and 3
    found = explain("occlusion", score(lambda v: v.sum(1)), vector(1, 2, 3), window=2, stride=1)
    near(found.values, vector(3, 4, 5))
    assert found.facts["windows"] == 2
    cut = explain("occlusion", score(lambda v: v.sum(1)), vector(1, 2, 3), window=2, stride=2)
    near(cut.values, vector(3, 3, 3))


# Noise, in expectation


SAMPLES = 400


@pytest.mark.parametrize("kind", ["mean", "squared", "variance"])
def test_smooth_gradients_of_a_square_and_a_cube(kind: str) -> None:
    x, sigma = vector(1.0, -2.0, 0.5), 0.2 * 3.0  # the noise is a fraction of the range
    if kind == "mean":  # (x^3)' = 3 x^2, and E (x + e)^2 = x^2 + sigma^2
        found = explain("smooth_grad", score(lambda v: (v**3).sum(1)), x, samples=SAMPLES, noise=0.2, kind=kind)
        truth, spread = 3 * (x**2 + sigma**2), 3 * (4 * x**2 * sigma**2 + 2 * sigma**4).sqrt()
    else:  # (x^2)' = 2 x
        found = explain("smooth_grad", score(lambda v: (v**2).sum(1)), x, samples=SAMPLES, noise=0.2, kind=kind)
        truth = 4 * x**2 * (kind == "squared") + 4 * sigma**2
        spread = 4 * (4 * x**2 * sigma**2 * (kind == "squared") + 2 * sigma**4).sqrt()
    assert bool(((found.values - truth).abs() < 5 * spread / SAMPLES**0.5).all())
    assert found.signed == (kind == "mean")


def test_expected_gradients_of_a_square_are_stratified() -> None:
    # the share of x^2 is x times the mean of 2 t x: with a point in each n-th of the path, its error falls as n^-3/2
    x, points = vector(1.0, -2.0, 0.5), 64
    found = explain("gradient_shap", score(lambda v: (v**2).sum(1)), x, samples=points, noise=0.0).values
    error = ((found - x**2) / x**2).abs().max()
    assert float(error) < 2 * 5 / (12 * points**3) ** 0.5


# Class activation maps, worked out on two channels of two by two


class TwoChannels(nn.Module):
    """Channels x and 1 - x, each place with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.head = nn.Conv2d(1, 2, 1), nn.Linear(8, 1, bias=False)
        with torch.no_grad():
            self.map.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.map.bias.copy_(torch.tensor([0.0, 1.0]))
            self.head.weight.copy_(torch.tensor([[1.0, 0, 0, 1, 2, -2, 4, 0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.map(x).flatten(1))


def grid(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 2, 2)


def test_maps_of_two_channels() -> None:
    net, x = TwoChannels(), grid(1, 2, 3, 4)
    # the channels are x and 1 - x, with mean slopes 1/2 and 1: their weighted sum is 1 - x/2
    near(explain("grad_cam", net, x, rectify=False).values, grid(0.5, 0, -0.5, -1))
    near(explain("grad_cam", net, x).values, grid(0.5, 0, 0, 0))
    # positive slopes 1 0 / 0 1 and 2 0 / 4 0, times the channels: 1 0 / 0 4 and 0 0 / -8 0
    near(explain("layer_cam", net, x).values, grid(1, 0, 0, 4))


def test_maps_are_enlarged_linearly_between_the_centers_of_cells() -> None:
    class Pooled(TwoChannels):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.avg_pool2d(x, 2))

    x = grid(1, 2, 3, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = explain("grad_cam", Pooled(), x, rectify=False)
    along = torch.tensor([[1.0, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    near(found.values, along @ grid(0.5, 0, -0.5, -1) @ along.T)
    assert found.resolution == (2, 2)
