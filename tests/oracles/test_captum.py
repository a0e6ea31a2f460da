"""Captum's numbers, on networks where captum is right: the same map to 1e-4 of its largest value.

Where a method draws noise, captum's own code runs on our noise: its call of the random generator is replaced.  Once
it runs on its own, too, and has to agree within the standard error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from pellucid.probes.noise import fraction_of_range, gaussian
from tests.networks import Chain, randomized, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum import attr

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum", "ignore::DeprecationWarning:captum")

METHODS = all_methods()
CLASS = 2


class Residual(nn.Module):
    """Two residual blocks with batch normalization; each ReLU a module of its own, so that captum sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0, self.relu0 = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU()
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(6, 6, 3, 1, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU()
        self.conv2, self.norm2, self.relu2 = nn.Conv2d(6, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.skip, self.pool, self.head = nn.Conv2d(6, 8, 1, 2), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)
        self.last = "relu2"

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu0(self.norm0(self.stem(x)))
        x = self.relu1(self.norm1(self.conv1(x)) + x)
        x = self.relu2(self.norm2(self.conv2(x)) + self.skip(x))
        return self.head(self.pool(x).flatten(1))


class Pooled(nn.Sequential):
    """Convolutions, distinct ReLUs and max pooling, and two dense layers, as in VGG."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(54, 8), nn.ReLU(), nn.Linear(8, 4),
        )  # fmt: skip
        self.last = "4"


class Function(nn.Module):
    """A function where captum looks for a module."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)


class Dense(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(432, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))


NETWORKS = {kind.__name__: randomized(kind(), 5, 0.3) for kind in (Residual, Pooled, Dense)}
every_network = pytest.mark.parametrize("network", NETWORKS)
with_maps = pytest.mark.parametrize("network", ["Residual", "Pooled"])


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 3, 12, 12, generator=seeded(1))


def ours(name: str, network: str, x: Tensor, **options: Any) -> Tensor:
    found = METHODS[name](NETWORKS[network], x, CLASS, **options).values
    assert isinstance(found, Tensor)
    return found


def same(a: Tensor, b: Tensor) -> None:
    b = b.detach()
    assert float(b.abs().max()) > 1e-6
    assert float((a - b).abs().max() / b.abs().max()) < 1e-4


# One gradient


@every_network
@pytest.mark.parametrize("absolute", [True, False])
def test_saliency(network: str, x: Tensor, absolute: bool) -> None:
    same(
        ours("saliency", network, x, absolute=absolute),
        attr.Saliency(NETWORKS[network]).attribute(x.clone(), CLASS, abs=absolute),
    )


@every_network
def test_input_x_gradient(network: str, x: Tensor) -> None:
    same(ours("input_x_gradient", network, x), attr.InputXGradient(NETWORKS[network]).attribute(x.clone(), CLASS))


@every_network
@pytest.mark.parametrize(
    ("name", "peer"), [("guided_backprop", attr.GuidedBackprop), ("deconvolution", attr.Deconvolution)]
)
def test_rules_where_every_relu_is_a_module_of_its_own(network: str, name: str, peer: type, x: Tensor) -> None:
    same(ours(name, network, x), peer(NETWORKS[network]).attribute(x.clone(), CLASS))


# Paths and noise


@every_network
@pytest.mark.parametrize(("steps", "baseline"), [(1, 0.0), (5, 0.0), (50, 0.0), (32, -0.7)])
def test_integrated_gradients(network: str, steps: int, baseline: float, x: Tensor) -> None:
    theirs = attr.IntegratedGradients(NETWORKS[network]).attribute(
        x, torch.full_like(x, baseline), CLASS, n_steps=steps, method="gausslegendre"
    )
    same(ours("integrated_gradients", network, x, steps=steps, baseline=baseline), theirs)


SAMPLES, NOISE = 6, 0.2


@pytest.fixture
def our_noise(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tensor]:
    """Captum draws what we draw: `[samples * copies, ...]`, the copies of a sample in a row."""
    copies = gaussian({"x": x}, fraction_of_range({"x": x}, NOISE), SAMPLES)
    drawn = torch.stack([copies.at(i)["x"] - x for i in range(SAMPLES)], 1).flatten(0, 1)

    def normal(mean: float, std: Tensor) -> Tensor:
        assert std.shape == drawn.shape
        return drawn

    monkeypatch.setattr(torch, "normal", normal)
    return drawn


@every_network
@pytest.mark.parametrize(
    ("kind", "theirs"), [("mean", "smoothgrad"), ("squared", "smoothgrad_sq"), ("variance", "vargrad")]
)
def test_smooth_grad_on_equal_noise(network: str, kind: str, theirs: str, x: Tensor, our_noise: Tensor) -> None:
    tunnel = attr.NoiseTunnel(attr.Saliency(NETWORKS[network]))
    found = tunnel.attribute(x.clone(), nt_type=theirs, nt_samples=SAMPLES, stdevs=1.0, target=CLASS, abs=False)
    same(ours("smooth_grad", network, x, samples=SAMPLES, noise=NOISE, kind=kind), found)


@every_network
@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_gradient_shap_on_equal_noise(
    network: str, baseline: float, x: Tensor, our_noise: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Run().uniform(x)
    at = torch.stack([(i + where(i)) / SAMPLES for i in range(SAMPLES)], 1).flatten()
    monkeypatch.setattr(np.random, "uniform", lambda low, high, size: at.numpy())
    theirs = attr.GradientShap(NETWORKS[network]).attribute(
        x.clone(), torch.full((1, *x.shape[1:]), baseline), n_samples=SAMPLES, stdevs=1.0, target=CLASS
    )
    same(ours("gradient_shap", network, x, samples=SAMPLES, noise=NOISE, baseline=baseline), theirs)


def test_smooth_grad_and_gradient_shap_agree_with_captum_on_noise_of_its_own() -> None:
    net, x, samples = Chain(4, 12, 2, seed=1), torch.tensor([[0.6, -0.4, 0.2, 0.1]]), 1500
    sigma = float(0.2 * (x.max() - x.min()))
    at = x + sigma * torch.randn(4000, 4, generator=seeded(3))
    slopes = attr.Saliency(net).attribute(at, 0, abs=False)
    theirs = attr.NoiseTunnel(attr.Saliency(net)).attribute(
        x.clone(), nt_type="smoothgrad", nt_samples=samples, stdevs=sigma, target=0, abs=False
    )
    found = METHODS["smooth_grad"](net, x, 0, samples=samples, noise=0.2, kind="mean").values
    assert bool(((found - theirs).abs() <= 5 * slopes.std(0) * (2 / samples) ** 0.5 + 1e-6).all())

    along = torch.rand(4000, 1, generator=seeded(4)) * at
    shares = attr.Saliency(net).attribute(along, 0, abs=False) * at
    theirs = attr.GradientShap(net).attribute(x.clone(), torch.zeros(1, 4), n_samples=samples, stdevs=sigma, target=0)
    found = METHODS["gradient_shap"](net, x, 0, samples=samples, noise=0.2).values
    assert bool(((found - theirs).abs() <= 5 * shares.std(0) * (2 / samples) ** 0.5 + 1e-6).all())


# Class activation maps


@with_maps
@pytest.mark.parametrize("rectify", [True, False])
def test_grad_cam(network: str, rectify: bool, x: Tensor) -> None:
    net = NETWORKS[network]
    site = str(net.last)
    theirs = attr.LayerGradCam(net, net.get_submodule(site)).attribute(x.clone(), CLASS, relu_attributions=rectify)
    theirs = attr.LayerAttribution.interpolate(theirs, (12, 12), "bilinear")
    same(ours("grad_cam", network, x, site=site, rectify=rectify), theirs)


@with_maps
def test_guided_grad_cam(network: str, x: Tensor) -> None:
    net = NETWORKS[network]
    site = str(net.last)
    theirs = attr.GuidedGradCam(net, net.get_submodule(site)).attribute(x.clone(), CLASS, interpolate_mode="bilinear")
    same(ours("guided_grad_cam", network, x, site=site), theirs)


@with_maps
def test_layer_cam_from_captums_layer_gradient(network: str, x: Tensor) -> None:
    """Captum has no LayerCAM, but its gradient times activation is the same product where the gradient is positive."""
    net = NETWORKS[network]
    layer = net.get_submodule(str(net.last))
    product = attr.LayerGradientXActivation(net, layer).attribute(x.clone(), CLASS)
    value = attr.LayerActivation(net, layer).attribute(x.clone())
    assert bool((value >= 0).all())  # after a ReLU, so that the product has the gradient's sign
    theirs = F.interpolate(product.clamp(min=0).sum(1, keepdim=True), (12, 12), mode="bilinear", align_corners=False)
    same(ours("layer_cam", network, x, site=str(net.last)), theirs)


# DeepLIFT


class Placed(nn.Module):
    """What follows sees where it is, so that a constant baseline has no ties that captum would break by rounding."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.where = net, nn.Buffer(torch.randn(3, 12, 12, generator=seeded(8)))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + self.where)


class Apart(nn.Sequential):
    """Max pooling with no ReLU next to it: there captum's shares add up."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 5, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 8), nn.ReLU(), nn.Linear(8, 4),
        )  # fmt: skip


LIFTED = {kind.__name__: Placed(randomized(kind(), 5, 0.3)) for kind in (Residual, Dense, Apart)}


@pytest.mark.parametrize("network", LIFTED)
@pytest.mark.parametrize("baseline", [0.0, -0.7])
def test_deep_lift_where_every_relu_and_pool_is_a_module_of_its_own(network: str, baseline: float, x: Tensor) -> None:
    net = LIFTED[network]
    theirs = attr.DeepLift(net).attribute(x.clone(), torch.full_like(x, baseline), CLASS)
    found = METHODS["deep_lift"](net, x, CLASS, baseline=baseline)
    same(found.values, theirs)
    assert found.without_rule == () and max(found.gap) < 1e-4


def test_deep_lift_of_a_pool_next_to_a_relu_adds_up_with_us_and_not_with_captum(x: Tensor) -> None:
    net = NETWORKS["Pooled"]
    found = METHODS["deep_lift"](net, x, CLASS)
    change = torch.tensor(found.facts["change of the score"])
    assert max(found.gap) < 1e-4
    theirs = attr.DeepLift(net).attribute(x.clone(), torch.zeros_like(x), CLASS).detach().flatten(1).sum(1)
    assert float(((theirs - change) / change).abs().max()) > 0.01


@pytest.mark.parametrize("activation", [nn.ReLU6(), nn.Hardswish(), nn.SiLU(), Function(F.relu), Function(torch.tanh)])
def test_deep_lift_where_captum_takes_the_plain_gradient(activation: nn.Module) -> None:
    """The closed form, w2 (a - a0) / (z - z0) W1 (x - x0), and captum's input times gradient."""
    first, last = nn.Linear(8, 40), nn.Linear(40, 4)
    net, x = randomized(nn.Sequential(first, activation, last), 6, 2.0), torch.randn(4, 8, generator=seeded(2))
    with torch.no_grad():
        z, z0 = first(x), first(torch.zeros_like(x))
        right = (last.weight[CLASS] * (activation(z) - activation(z0)) / (z - z0)) @ first.weight * x
    found = METHODS["deep_lift"](net, x, CLASS)
    same(found.values, right)
    theirs = attr.DeepLift(net).attribute(x.clone(), torch.zeros_like(x), CLASS)
    same(attr.InputXGradient(net).attribute(x.clone(), CLASS).detach(), theirs)
    assert float((theirs.detach() - right).abs().max() / right.abs().max()) > 0.1


# Occlusion


@every_network
@pytest.mark.parametrize(
    ("window", "stride", "value"), [(4, 4, 0.0), (3, 2, 0.0), (5, 3, 0.5), (7, 4, -1.0), (12, 5, 0.0), (5, 5, 0.0)]
)
def test_occlusion_with_windows_that_divide_the_input_and_others(
    network: str, window: int, stride: int, value: float, x: Tensor
) -> None:
    theirs = attr.Occlusion(NETWORKS[network]).attribute(
        x, (3, window, window), (3, stride, stride), baselines=value, target=CLASS
    )
    assert torch.equal(theirs[:, :1].expand_as(theirs), theirs)
    same(ours("occlusion", network, x, window=window, stride=stride, value=value), theirs[:, :1])


def test_both_draw_the_same_picture_whatever_the_seed_of_ours(x: Tensor) -> None:
    with running(Run(seed=9)):
        found = ours("saliency", "Residual", x)
    same(found, attr.Saliency(NETWORKS["Residual"]).attribute(x.clone(), CLASS))


# Games between the parts of an input

MASK = torch.arange(144).view(12, 12) // 13 % 7


@every_network
@pytest.mark.parametrize("baseline", [0.0, -0.6])
def test_feature_ablation(network: str, baseline: float, x: Tensor) -> None:
    theirs = attr.FeatureAblation(NETWORKS[network]).attribute(
        x, baselines=baseline, target=CLASS, feature_mask=MASK.expand(1, 3, 12, 12)
    )
    same(ours("feature_ablation", network, x, mask=MASK, baseline=baseline), theirs[:, :1])
