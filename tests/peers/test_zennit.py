"""Zennit's numbers where its rules reach: on `nn.ReLU` modules, and wherever only the plain gradient is asked for.

Where they do not reach (ReLU6, functions in place of modules) zennit returns the plain gradient and says nothing;
there ours is held against the definition, written out by hand.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from pellucid.methods import all_methods
from pellucid.probes.noise import fraction_of_range, gaussian
from tests.networks import STYLES, Net, picture, randomized

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import timm
    import torchvision
    from zennit.attribution import Gradient, IntegratedGradients, SmoothGrad
    from zennit.composites import BetaSmooth, GuidedBackprop

pytestmark = pytest.mark.filterwarnings("ignore:::zennit")

METHODS = all_methods()
CLASS = 2


def one_hot(outputs: Tensor) -> Tensor:
    """What flows back from the outputs when one class is explained."""
    return torch.zeros_like(outputs).index_fill_(1, torch.tensor([CLASS]), 1.0)


def theirs(net: nn.Module, x: Tensor, kind: Callable = Gradient, **options) -> Tensor:
    return kind(net, attr_output=one_hot, **options)(x)[1].detach()


def ours(name: str, net: nn.Module, x: Tensor, **options) -> Tensor:
    found = METHODS[name](net, x, CLASS, **options).values
    assert isinstance(found, Tensor)
    return found


def same(a: Tensor, b: Tensor, limit: float = 1e-5) -> None:
    assert a.shape == b.shape and float(b.abs().max()) > 1e-6
    assert float((a - b).abs().max() / b.abs().max()) < limit


NETWORKS = {
    "vgg11_bn": lambda: torchvision.models.VGG(torchvision.models.vgg11_bn(init_weights=False).features, 10),
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),  # each block uses one ReLU twice, in place
    "resnet10t": lambda: timm.create_model("resnet10t", num_classes=10),
    "lite0": lambda: timm.create_model("tf_efficientnet_lite0", num_classes=10),
}
DISTINCT = ("plain", "residual", "pool")


@cache
def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    if isinstance(getattr(net, "classifier", None), nn.Sequential):
        net.classifier[0], net.classifier[3] = nn.Linear(512 * 7 * 7, 32), nn.Linear(32, 32)
        net.classifier[6] = nn.Linear(32, 10)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.05, 0.2)  # so that values grow past 6, where ReLU6 is flat again
    return net


@cache
def exact(name: str) -> nn.Module:
    """The network in double precision: where a rectifier's input is within rounding of zero, single gradients jump."""
    return copy.deepcopy(network(name)).double()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 64, 64)


# The plain gradient


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient(name: str, x: Tensor) -> None:
    net, x = exact(name), x.double()
    slope = theirs(net, x.clone())
    same(ours("saliency", net, x, absolute=False), slope)
    same(ours("input_x_gradient", net, x), x * slope)


@pytest.mark.parametrize("activation", ["relu6", "silu", "gelu", "hardswish"])
@pytest.mark.parametrize("style", STYLES)
def test_the_gradient_however_a_network_is_written(style: str, activation: str) -> None:
    net, x = Net(style, activation, "residual", seed=4), picture(4)
    same(ours("saliency", net, x, absolute=False), theirs(net, x.clone()))


# Noise and paths


def test_smooth_grad_on_equal_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs counts the input itself as one more copy, so n copies and one are n of ours and the gradient."""
    net, x, samples, level = Net("module", "silu", "residual", seed=1), picture(1), 6, 0.2
    sigma = fraction_of_range({"x": x}, level)
    copies = gaussian({"x": x}, sigma, samples)
    drawn = iter([(copies.at(i)["x"] - x) / sigma["x"] for i in range(samples)])
    monkeypatch.setattr(torch, "randn_like", lambda _: next(drawn))
    found = theirs(net, x.clone(), SmoothGrad, noise_level=level, n_iter=samples + 1)
    assert next(drawn, None) is None
    mine = ours("smooth_grad", net, x, samples=samples, noise=level, kind="mean")
    same((samples * mine + theirs(net, x.clone())) / (samples + 1), found)


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_integrated_gradients_are_the_limit_of_their_sums(baseline: float) -> None:
    """Theirs are right Riemann sums: the error halves with every doubling, so it can be taken away."""
    net, x = Net("module", "silu", "residual", seed=2), picture(2)

    def riemann(points: int) -> Tensor:
        fill = lambda v: torch.full_like(v, baseline)  # noqa: E731  # an attribute of theirs, not a function of ours
        return theirs(net, x.clone(), IntegratedGradients, n_iter=points, baseline_fn=fill)

    mine = ours("integrated_gradients", net, x, steps=32, baseline=baseline)
    same(mine, 2 * riemann(256) - riemann(128), 1e-4)


def test_where_the_gradient_is_the_same_along_the_path_one_point_is_enough_for_both() -> None:
    """Without biases a ReLU network is homogeneous: its integrated gradient from zero is input times gradient."""
    layers = (nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3, bias=False))
    net, x = randomized(nn.Sequential(*layers), 3), picture(3)
    same(ours("integrated_gradients", net, x, steps=1), theirs(net, x.clone(), IntegratedGradients, n_iter=1))
    same(ours("integrated_gradients", net, x), x * theirs(net, x.clone()))


# The guided rule


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18", "resnet10t"])
def test_guided_backpropagation_through_relu_modules(name: str, x: Tensor) -> None:
    net, x = exact(name), x.double()
    found = METHODS["guided_backprop"](net, x, CLASS)
    same(found.values, theirs(net, x.clone(), composite=GuidedBackprop()))
    assert not found.without_rule


@pytest.mark.parametrize("block", DISTINCT)
@pytest.mark.parametrize("style", STYLES)
def test_ours_is_their_map_of_relu_modules_however_the_network_is_written(style: str, block: str) -> None:
    x = picture(5)
    right = theirs(Net("module", "relu", block, seed=5), x.clone(), composite=GuidedBackprop())
    same(ours("guided_backprop", Net(style, "relu", block, seed=5), x), right)


def test_their_rule_does_not_see_functions() -> None:
    net, x = Net("functional", "relu", "plain", seed=5), picture(5)
    assert torch.equal(theirs(net, x.clone(), composite=GuidedBackprop()), theirs(net, x.clone()))
    with pytest.raises(AssertionError):
        same(ours("guided_backprop", net, x), theirs(net, x.clone()), 0.1)


class GuidedReLU6(nn.Module):
    """ReLU6 with the guided rule as its derivative, written out."""

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.clamp(0, 6)

        @staticmethod
        def backward(ctx, *upstream: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return upstream[0].clamp(min=0) * ((x > 0) & (x < 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.Rule.apply(x)


def with_guided_relu6(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, GuidedReLU6())
    return net


def test_through_relu6_theirs_is_the_plain_gradient_and_ours_the_rule(x: Tensor) -> None:
    net, flat = network("lite0"), []
    hooks = [
        m.register_forward_hook(lambda _m, _i, y: flat.append(bool((y == 6).any())))
        for m in net.modules()
        if isinstance(m, nn.ReLU6)
    ]
    slope = theirs(net, x.clone())
    for hook in hooks:
        hook.remove()
    assert len(hooks) > 30 and any(flat)
    assert torch.equal(theirs(net, x.clone(), composite=GuidedBackprop()), slope)
    right = theirs(with_guided_relu6(net), x.clone())
    found = METHODS["guided_backprop"](net, x, CLASS)
    same(found.values, right)
    assert not found.without_rule
    with pytest.raises(AssertionError):
        same(slope, right, 0.1)


def test_relu6_between_two_layers_in_matrix_form() -> None:
    net = randomized(nn.Sequential(nn.Linear(8, 40), nn.ReLU6(), nn.Linear(40, 3)), 6, 2.0)
    x, (first, last) = torch.randn(4, 8), (net[0], net[2])
    before = first(x).detach()
    assert bool((before > 6).any()) and bool((before < 0).any())
    right = (last.weight[CLASS].clamp(min=0) * ((before > 0) & (before < 6))) @ first.weight
    same(ours("guided_backprop", net, x), right.detach())
    assert torch.equal(theirs(net, x.clone(), composite=GuidedBackprop()), theirs(net, x.clone()))


@pytest.mark.parametrize("sharpness", [1.0, 10.0])
def test_beta_smooth_through_relu_modules(sharpness: float, x: Tensor) -> None:
    net = network("vgg11_bn")
    found = METHODS["beta_smooth"](net, x, CLASS, sharpness=sharpness)
    apart = copy.deepcopy(net)
    for module in apart.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # zennit keeps a rectifier's input, which one in place has written over by then
    same(found.values, theirs(apart, x.clone(), composite=BetaSmooth(beta_smooth=sharpness)), 1e-4)
