"""Captum's layer and neuron attribution, on networks where captum is right: the same map to 1e-4 of its largest."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.methods import all_methods
from tests.networks import randomized, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum import attr

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum", "ignore::DeprecationWarning:captum")

METHODS = all_methods()
CLASS = 2


def convolutions(activation: type[nn.Module]) -> nn.Sequential:
    """Convolutions and dense layers; modules 1 and 4 are maps, 7 is a row of neurons."""
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), activation(), nn.AvgPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1), activation(), nn.Flatten(),
        nn.Linear(96, 8), activation(), nn.Linear(8, 4),
    )  # fmt: skip
    randomized(net, 3, 0.3)
    return net.double()


def picture(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 8, 8, generator=seeded(5), dtype=torch.float64)


def same(ours: Tensor, theirs: Any, tolerance: float = 1e-4) -> None:
    theirs = (theirs[0] if isinstance(theirs, tuple) else theirs).detach()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * float(theirs.abs().max()))


every_site = pytest.mark.parametrize("site", ["1", "4", "7"])
both = pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])


@every_site
@both
def test_what_a_site_holds_and_its_gradient(site: str, activation: type[nn.Module]) -> None:
    net, x = convolutions(activation), picture()
    layer = net[int(site)]
    found = METHODS["input_x_gradient"](net, x, CLASS, site)
    same(found.explained[site], attr.LayerActivation(net, layer).attribute(x))
    same(found.values, attr.LayerGradientXActivation(net, layer).attribute(x, CLASS))


@every_site
def test_integrated_gradients_from_what_the_baseline_input_gives(site: str) -> None:
    net, x = convolutions(nn.Tanh), picture()
    theirs = attr.LayerIntegratedGradients(net, net[int(site)])
    base = 0.1 * torch.randn(1, 3, 8, 8, generator=seeded(1), dtype=torch.float64)
    same(
        METHODS["integrated_gradients"](net, x, CLASS, site, steps=48, start="input", baseline=0.25).values,
        theirs.attribute(x, torch.full_like(x, 0.25), CLASS, n_steps=48),
    )
    same(
        METHODS["integrated_gradients"](net, x, CLASS, site, steps=48, baselines=base).values,
        theirs.attribute(x, base.expand_as(x), CLASS, n_steps=48),
    )


@every_site
def test_conductance_and_internal_influence(site: str) -> None:
    net, x = convolutions(nn.Tanh), picture()
    layer = net[int(site)]
    conductance = METHODS["conductance"](net, x, CLASS, site, steps=32)
    same(conductance.values, attr.LayerConductance(net, layer).attribute(x, target=CLASS, n_steps=4000,
         method="riemann_middle", internal_batch_size=500), 1e-3)  # fmt: skip
    assert max(conductance.gap or ()) < 1e-5, "everything flows through the site"
    same(
        METHODS["internal_influence"](net, x, CLASS, site, steps=48).values,
        attr.InternalInfluence(net, layer).attribute(x, target=CLASS, n_steps=48),
    )


@pytest.mark.parametrize("site", ["0", "3", "6"])
def test_deep_lift(site: str) -> None:
    net, x = convolutions(nn.ReLU), picture()
    found = METHODS["deep_lift"](net, x, CLASS, site, baseline=0.0)
    with torch.no_grad():  # captum's baseline is the input's: one that gives zeros at the site
        flat = nn.Sequential(*list(net)[int(site) + 1 :])
        want = attr.DeepLift(flat).attribute(found.explained[site], torch.zeros_like(found.explained[site]), CLASS)
    same(found.values, want)


def test_ablating_channels_and_neurons() -> None:
    net, x = convolutions(nn.ReLU), picture()
    same(METHODS["feature_ablation"](net, x, CLASS, "7").values,
         attr.LayerFeatureAblation(net, net[7]).attribute(x, target=CLASS))  # fmt: skip
    channels = torch.arange(6)[:, None, None]
    same(METHODS["feature_ablation"](net, x, CLASS, "4", mask=channels).values,
         attr.LayerFeatureAblation(net, net[4]).attribute(x, target=CLASS, layer_mask=channels.expand(1, 6, 4, 4)),
         )  # fmt: skip


def test_a_neuron_as_the_target() -> None:
    net, x = convolutions(nn.Tanh), picture()
    target = pl.neuron("4", 2, 1, 3)
    layer, unit = net[4], (2, 1, 3)
    same(METHODS["saliency"](net, x, target, absolute=False).values,
         attr.NeuronGradient(net, layer).attribute(x, unit))  # fmt: skip
    same(METHODS["integrated_gradients"](net, x, target, steps=48).values,
         attr.NeuronIntegratedGradients(net, layer).attribute(x, unit, n_steps=48))  # fmt: skip
    whole = torch.zeros_like(x[:1], dtype=torch.long)
    ablated = METHODS["occlusion"](net, x, target, window=8, stride=8).values
    same(ablated.expand_as(x), attr.NeuronFeatureAblation(net, layer).attribute(x, unit, feature_mask=whole))
