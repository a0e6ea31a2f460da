"""DeepLIFT adds up, and LRP covers everything, on the networks of torchvision and timm (random weights)."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pellucid.methods import all_methods
from tests.test_deep_lift import lively

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import timm
    import torchvision

pytestmark = pytest.mark.filterwarnings("ignore:::torchvision", "ignore:::timm")

METHODS = all_methods()
CLASS, SIDE = 3, 64


def vgg16() -> nn.Module:
    """Its trunk and a small head: the weights of its own hold half a gigabyte."""
    net = torchvision.models.VGG(torchvision.models.vgg16(init_weights=False).features, 10, init_weights=False)
    net.classifier[0], net.classifier[3] = nn.Linear(512 * 7 * 7, 32), nn.Linear(32, 32)
    net.classifier[6] = nn.Linear(32, 10)
    return net


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "vgg16": vgg16,
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(num_classes=10),
    "mobilenet_v3_large": lambda: torchvision.models.mobilenet_v3_large(num_classes=10),
    "efficientnet_b0": lambda: torchvision.models.efficientnet_b0(num_classes=10),
    "torchvision's vit": lambda: torchvision.models.VisionTransformer(SIDE, 16, 4, 4, 64, 128, num_classes=10),
    "timm's vit": lambda: timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=SIDE),
    "swin": lambda: torchvision.models.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10),
    "convnext": lambda: timm.create_model("convnext_atto", num_classes=10),
    "mixer": lambda: timm.create_model("mixer_s32_224", num_classes=10, img_size=SIDE),
}


def network(name: str) -> nn.Module:
    """With weights that keep a signal alive to its end."""
    return lively(NETWORKS[name]())


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("name", NETWORKS)
def test_deep_lift_adds_up(name: str, rule: str) -> None:
    # from a gray picture, not a black one: layer normalization over channels cannot be compared with an empty map
    net, x = network(name).double(), torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64)
    found = METHODS["deep_lift"](net, x, CLASS, baseline=0.1, rule=rule, strict=True)
    with torch.no_grad():
        change = (net(x) - net(torch.full_like(x, 0.1)))[0, CLASS]
    assert abs(float((found.values.sum() - change) / change)) < 1e-4 and found.values.abs().max() > 1e-9


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "mobilenet_v3_small", "efficientnet_b0", "torchvision's vit"])
def test_deep_lift_adds_up_in_single_precision(name: str) -> None:
    found = METHODS["deep_lift"](network(name), torch.randn(1, 3, SIDE, SIDE), CLASS)
    assert max(found.gap) <= 1e-4 and found.without_rule == ()


@pytest.mark.parametrize("name", NETWORKS)
def test_lrp_has_a_rule_for_everything(name: str) -> None:
    found = METHODS["lrp"](network(name), torch.randn(1, 3, SIDE, SIDE), CLASS, preset="attention", strict=True)
    assert found.values.any()


@pytest.mark.parametrize("name", NETWORKS)
def test_full_grad_is_complete(name: str) -> None:
    found = METHODS["full_grad"](network(name).double(), torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64), CLASS)
    assert max(found.gap) < 1e-8
