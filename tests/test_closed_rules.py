"""Rules worked out by hand on two layers, where a peer silently has none, and what is named as without a rule."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.target import logit, scalar
from tests.networks import ACTIVATIONS, Chain, Net, picture, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # captum's imports
    from captum.attr import Deconvolution, GuidedBackprop, Saliency

from tests.formulas import Formula, explain, near, vector

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum", "ignore:.*torch.jit:DeprecationWarning")


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
        (lambda v: v * torch.sigmoid(v.sum(1, keepdim=True)), set()),
        (lambda v: v * torch.tanh(v.sum(1, keepdim=True)), {"mul", "tanh"}),
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
        "product with tanh",
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
