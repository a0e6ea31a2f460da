"""Zennit's relevance, with its canonizers, on the shapes of VGG-11 and ResNet-18; ours needs none."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import logit
from pellucid.methods import all_methods
from pellucid.rules.lrp import alpha_beta, box, epsilon, flat, gamma, lrp_rule, plus, squared

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchvision
    from zennit import rules as theirs
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import (
        EpsilonAlpha2Beta1,
        EpsilonGammaBox,
        EpsilonPlusFlat,
        LayerMapComposite,
        layer_map_base,
    )  # fmt: skip
    from zennit.torchvision import ResNetCanonizer
    from zennit.types import Convolution

pytestmark = pytest.mark.filterwarnings("ignore:::zennit")

lrp = all_methods()["lrp"]
CLASS = 2


@cache
def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "resnet18":
        net: nn.Module = torchvision.models.resnet18(num_classes=10)
    else:
        make = torchvision.models.vgg11_bn if name == "vgg11_bn" else torchvision.models.vgg11
        net = torchvision.models.VGG(make(init_weights=False).features, 10)
        net.classifier[0], net.classifier[3] = nn.Linear(512 * 7 * 7, 32), nn.Linear(32, 32)
        net.classifier[6] = nn.Linear(32, 10)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            module.eps = 1e-12  # zennit leaves it in the layer that it merged away, so that each still divides by a bit
    return net.eval().double()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 64, 64, dtype=torch.float64)


def canonizers(name: str) -> list:
    return [ResNetCanonizer()] if name == "resnet18" else [SequentialMergeBatchNorm()]


def relevance(name: str, composite: object, x: Tensor) -> Tensor:
    net, x = copy.deepcopy(network(name)), x.clone().requires_grad_()
    with composite.context(net) as modified:
        out = modified(x)
        start = torch.zeros_like(out)
        start[:, CLASS] = out.detach()[:, CLASS]
        return torch.autograd.grad(out, x, start)[0]


def same(a: Tensor, b: Tensor, limit: float = 1e-5) -> None:
    assert a.shape == b.shape and float(b.abs().max()) > 1e-9
    assert float((a - b).abs().max() / b.abs().max()) < limit


NETWORKS = ("vgg11", "vgg11_bn", "resnet18")
PRESETS: dict[str, Callable[[list], object]] = {
    "epsilon": lambda c: LayerMapComposite(
        [*layer_map_base(1e-6), (Convolution, theirs.Epsilon(1e-6)), (nn.Linear, theirs.Epsilon(1e-6))], canonizers=c
    ),
    "epsilon_plus_flat": lambda c: EpsilonPlusFlat(canonizers=c),
    "epsilon_gamma_box": lambda c: EpsilonGammaBox(
        low=-3 * torch.ones(1, 3, 1, 1).double(), high=3 * torch.ones(1, 3, 1, 1).double(), canonizers=c
    ),
    "alpha2_beta1": lambda c: EpsilonAlpha2Beta1(canonizers=c),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets(name: str, preset: str, x: Tensor) -> None:
    found = lrp(network(name), x, CLASS, preset=preset, low=-3.0, high=3.0)
    same(found.values, relevance(name, PRESETS[preset](canonizers(name)), x))
    assert found.without_rule == ()


RULES = {
    "epsilon": (epsilon, theirs.Epsilon(1e-6)),
    "gamma": (lambda step: gamma(step, 0.4), theirs.Gamma(0.4)),
    "z+": (plus, theirs.ZPlus()),
    "alpha-beta": (lambda step: alpha_beta(step, 1.5, 0.5), theirs.AlphaBeta(1.5, 0.5)),
    "w2": (squared, theirs.WSquare()),
    "flat": (flat, theirs.Flat()),
    "box": (lambda step: box(step, -2.0, 4.0), theirs.ZBox(torch.tensor(-2.0), torch.tensor(4.0))),
}
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 4), (3, 6)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, 1, groups=2), (2, 4, 9)),
    "conv2d": (lambda: nn.Conv2d(3, 4, 3, 2, 1, dilation=2), (2, 3, 9, 8)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2, bias=False), (2, 2, 4, 5, 3)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(2, 3, 3, 2), (2, 2, 5)),
    "transposed 2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 5, 4)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2), (2, 2, 3, 3, 2)),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rule", RULES)
def test_each_rule_on_each_layer(layer: str, rule: str) -> None:
    torch.manual_seed(1)
    make, shape = LAYERS[layer]
    module, x = make().double(), torch.randn(shape, dtype=torch.float64)
    net = nn.Sequential(module, nn.Flatten())
    ours, peer = RULES[rule]
    found = (
        Score(Network(net), logit(CLASS)).under(lrp_rule(rule, {"dense": ours, "convolution": ours})).grad({"input": x})
    )
    with LayerMapComposite([(type(module), peer)]).context(net) as modified:
        leaf = x.clone().requires_grad_()
        out = modified(leaf)
        start = torch.zeros_like(out)
        start[:, CLASS] = 1
        right = torch.autograd.grad(out, leaf, start)[0]
    same(found["input"], right, 1e-9)
