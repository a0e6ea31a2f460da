"""Networks small enough to work out by hand: what every method must find there, and where a peer silently does not."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.errors import BadModel
from pellucid.core.explanation import Explanation
from pellucid.core.target import logit, scalar
from pellucid.methods import all_methods
from tests.networks import ACTIVATIONS, Chain, Net, picture, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # captum's imports
    from captum.attr import Deconvolution, GuidedBackprop, Saliency

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum", "ignore:.*torch.jit:DeprecationWarning")

# methods that read attention are held to all of this in test_attention_methods.py, on networks that have some
METHODS = {n: m for n, m in all_methods().items() if m.family != "attention"}
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


def explain(name: str, net: nn.Module, x: Tensor, target: object = 0, **options: object) -> Explanation:
    return METHODS[name](net, x, target, **options)  # type: ignore[arg-type]


class Formula(nn.Module):
    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(x)


def score(formula: Callable[[Tensor], Tensor]) -> nn.Module:
    """A network that computes one number a sample, as its only class."""
    return Formula(lambda x: formula(x)[:, None])


def vector(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def near(a: Tensor, b: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(a, b.to(a.dtype).expand_as(a), rtol=0, atol=tolerance)


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


# Rules, worked out on two layers; W1 x = (-1, 4, 5), and the upper weights are 1, -1 and 2


def two_layers(activation: Callable[[Tensor], Tensor] = torch.relu) -> Chain:
    net = Chain(2, 3, 1, activation=activation).double()
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.tensor([[1.0, -1], [2, 1], [-1, 3]]))
        net.layers[1].weight.copy_(torch.tensor([[1.0, -1, 2]]))
        for layer in net.layers:
            layer.bias.zero_()
    return net


def test_rules_on_two_layers() -> None:
    net, x = two_layers(), vector(1, 2)
    near(explain("saliency", net, x, absolute=False).values, vector(-4, 5))  # -(2, 1) + 2 (-1, 3)
    near(explain("guided_backprop", net, x).values, vector(-2, 6))  # 2 (-1, 3): active, and positive from above
    near(explain("deconvolution", net, x).values, vector(-1, 5))  # (1, -1) + 2 (-1, 3): positive from above


@pytest.mark.parametrize(
    "activation", [F.silu, F.gelu, F.hardswish, F.softplus, F.elu, F.leaky_relu, F.mish, F.selu, F.relu6]
)
def test_the_guided_rule_rectifies_then_goes_the_plain_way(activation: Callable[[Tensor], Tensor]) -> None:
    net, x = two_layers(activation), vector(0.3, -0.8)
    before = net.layers[0](x).detach().requires_grad_()
    slope = torch.autograd.grad(activation(before).sum(), before)[0]
    upper = vector(1, 0, 2)  # what flows down from the upper layer, rectified
    found = explain("guided_backprop", net, x)
    near(found.values, (upper * slope) @ net.layers[0].weight.detach())
    assert found.without_rule == ()
    near(explain("deconvolution", net, x).values, upper @ net.layers[0].weight.detach())


def test_the_guided_rule_on_silu_in_numbers() -> None:
    net, x = two_layers(F.silu), vector(1, 2)
    z, sigmoid = vector(-1, 4, 5), torch.sigmoid(vector(-1, 4, 5))
    slope = sigmoid * (1 + z * (1 - sigmoid))
    near(explain("guided_backprop", net, x).values, slope[:, :1] * vector(1, -1) + 2 * slope[:, 2:] * vector(-1, 3))


# Where a peer gives the plain gradient without a word


@pytest.mark.parametrize(("name", "peer"), [("guided_backprop", GuidedBackprop), ("deconvolution", Deconvolution)])
@pytest.mark.parametrize("case", ["relu6 module", "functional relu", "clamped"])
def test_captum_takes_the_plain_gradient_for_a_rule_where_the_rule_has_a_closed_form(
    name: str, peer: type, case: str
) -> None:
    net = two_layers({"relu6 module": nn.ReLU6(), "functional relu": F.relu, "clamped": lambda v: v.clamp(min=0)}[case])
    x = vector(1, 2)
    closed_form = vector(-2, 6) if name == "guided_backprop" else vector(-1, 5)
    near(explain(name, net, x).values, closed_form)
    theirs = peer(net).attribute(x.clone().requires_grad_(), target=0).detach()
    assert torch.equal(theirs, Saliency(net).attribute(x.clone().requires_grad_(), target=0, abs=False))
    assert float((theirs - closed_form).abs().max()) > 0.9


def test_captum_takes_the_plain_gradient_on_a_relu6_picture_network() -> None:
    net, x = Net("module", "relu6", "residual", 3), picture(0)
    ours = explain("guided_backprop", net, x, 1).values
    theirs = GuidedBackprop(net).attribute(x.clone().requires_grad_(), target=1).detach()
    gradient = explain("saliency", net, x, 1, absolute=False).values
    near(theirs, gradient, 1e-6)
    assert float((ours - theirs).abs().max()) > 0.05 * float(theirs.abs().max())


# What a rule does not speak of is named


class Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clamp(min=0) / 2

    @staticmethod
    def backward(ctx: object, *up: Tensor) -> Tensor:
        return up[0] / 2


class Scripted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x)


@pytest.mark.parametrize("name", ["guided_backprop", "deconvolution"])
@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (lambda v: v * torch.sigmoid(v.sum(1, keepdim=True)), {"mul", "sigmoid"}),
        (lambda v: v.softmax(1), {"softmax"}),
        (torch.tanh, {"tanh"}),
        (Halve.apply, {"Halve"}),
        (lambda v: F.layer_norm(v, (4,)), {"normalization"}),
        (lambda v: v.exp(), {"exp"}),
        (lambda v: v @ v.mT @ v, {"mm"}),
        (lambda v: v / v.abs().sum(1, keepdim=True), {"abs", "div"}),
        (lambda v: F.max_pool1d(v[:, None], 2)[:, 0].repeat(1, 2), set()),
        (lambda v: F.avg_pool1d(v[:, None], 2)[:, 0].repeat(1, 2), set()),
        (lambda v: F.batch_norm(v, torch.zeros(4).double(), torch.ones(4).double()), set()),
        (lambda v: 3 * v - v.flip(1), set()),
    ],
    ids=[
        "gate",
        "softmax",
        "tanh",
        "function",
        "layer-norm",
        "exp",
        "product",
        "normalized",
        "max-pool",
        "mean-pool",
        "batch-norm",
        "linear",
    ],
)  # fmt: skip
def test_operations_without_rule_are_named(name: str, operation: Callable[[Tensor], Tensor], named: set[str]) -> None:
    net = nn.Sequential(nn.Linear(4, 4), Formula(operation), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.randn(3, 4, dtype=torch.float64, generator=seeded(0))
    assert set(explain(name, net, x, 1).without_rule) == named


def silenced(v: Tensor) -> Tensor:
    out = v.clone()
    out[out < 0] = 0
    return out


SPELLED_BY_COMPARISON = {
    "product": lambda v: v * (v > 0),
    "where": lambda v: torch.where(v > 0, v, 0.0),
    "masked_fill": lambda v: v.masked_fill(v < 0, 0.0),
    "index": silenced,
}


@pytest.mark.parametrize("spelling", SPELLED_BY_COMPARISON)
def test_a_rectifier_that_is_spelled_by_comparison_has_the_rule_or_is_named(spelling: str) -> None:
    net, x = two_layers(SPELLED_BY_COMPARISON[spelling]), vector(1, 2)
    found = explain("guided_backprop", net, x)
    assert found.without_rule or torch.allclose(found.values, vector(-2, 6))


@pytest.mark.parametrize("clip", [lambda v: v.clip(min=0), lambda v: torch.clip(v, 0), lambda v: v.clip_(0)])
def test_clip_is_another_name_of_clamp(clip: Callable[[Tensor], Tensor]) -> None:
    near(explain("guided_backprop", two_layers(clip), vector(1, 2)).values, vector(-2, 6))


@pytest.mark.parametrize("name", ["guided_backprop", "deconvolution"])
def test_attention_is_named_whatever_kernel_runs_it(name: str) -> None:
    for block in (Net(block="attention"), Net(block="attention").double()):
        named = explain(name, block, picture(0), 1).without_rule
        assert "attention" in named or any("softmax" in n for n in named)


@pytest.mark.parametrize("name", ["guided_backprop", "deconvolution"])
def test_activations_hidden_in_scripted_code_are_named(name: str) -> None:
    hidden = nn.Sequential(nn.Linear(4, 4), torch.jit.script(Scripted()), nn.Linear(4, 2))
    assert explain(name, hidden, torch.randn(2, 4), 1).without_rule == ("relu",)
    seen = nn.Sequential(nn.Linear(4, 4), Scripted(), nn.Linear(4, 2))
    assert explain(name, seen, torch.randn(2, 4), 1).without_rule == ()


@pytest.mark.parametrize("name", ["guided_backprop", "deconvolution"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("block", ["plain", "residual", "pool"])
def test_in_an_ordinary_network_every_rectifier_has_the_rule(name: str, activation: str, block: str) -> None:
    assert explain(name, Net("module", activation, block), picture(0), 1).without_rule == ()


def test_methods_without_rules_name_nothing() -> None:
    for name in ("saliency", "integrated_gradients", "occlusion", "grad_cam"):
        assert explain(name, Net(block="gate"), picture(0), 1).without_rule == ()


def test_targets_that_are_sums_of_the_same_class_cancel() -> None:
    found = explain("input_x_gradient", Net(), picture(0), logit(1) - logit(1))
    assert not found.values.any()
    whole = explain("input_x_gradient", Net(), picture(0), scalar(lambda out: out[:, 1]))
    near(whole.values, explain("input_x_gradient", Net(), picture(0), 1).values)
