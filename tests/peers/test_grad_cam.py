"""pytorch-grad-cam's maps where it is right, the closed form where it is not, and what each leaves on the model.

Its raw map (before min-max and resizing) is held against ours at its true size, and its finished picture against
ours under the same min-max: ours is enlarged linearly, and so is its.
"""

from __future__ import annotations

import copy
import warnings
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.methods import all_methods
from tests.traces import fingerprint, of_process

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchvision
    from pytorch_grad_cam import GradCAM, LayerCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

pytestmark = pytest.mark.filterwarnings("ignore:::pytorch_grad_cam")

METHODS = all_methods()
PEERS = {"grad_cam": GradCAM, "layer_cam": LayerCAM}
CLASS = 3
every_method = pytest.mark.parametrize("name", PEERS)


@cache
def network(name: str) -> nn.Module:
    """A torchvision network with random weights and lived-in batch normalization."""
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(weights=None, num_classes=10).eval()
    if name == "vgg11":  # 120 million weights of which a map of the convolutions needs none
        net.classifier[0], net.classifier[3] = nn.Linear(512 * 7 * 7, 32), nn.Linear(32, 32)
        net.classifier[6] = nn.Linear(32, 10)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return net


@cache
def out_of_place(name: str) -> nn.Module:
    """The same network, no ReLU of which writes over its input."""
    net = copy.deepcopy(network(name))
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 96, 96)


def ours(name: str, net: nn.Module, site: str, x: Tensor) -> Tensor:
    options = {"rectify": True} if name == "grad_cam" else {}
    found = METHODS[name](net, x, CLASS, site=site, **options).values
    assert isinstance(found, Tensor)
    return found


def theirs(name: str, net: nn.Module, site: str, x: Tensor) -> tuple[Tensor, np.ndarray]:
    """Their raw map, rectified as they rectify it and enlarged; and the picture that they hand out."""
    layer, targets = net.get_submodule(site), [ClassifierOutputTarget(CLASS)] * len(x)
    with PEERS[name](net, [layer]) as cam:
        picture = cam(x, targets)
        seen = cam.activations_and_grads
        raw = cam.get_cam_image(x, layer, targets, seen.activations[0].numpy(), seen.gradients[0].numpy(), False)
    net.zero_grad()  # what they leave on the parameters
    return enlarged(torch.from_numpy(np.maximum(raw, 0))[:, None]), picture


def enlarged(small: Tensor) -> Tensor:
    return F.interpolate(small, (96, 96), mode="bilinear", align_corners=False)


def as_a_picture(values: Tensor) -> np.ndarray:
    """Each sample's map between 0 and 1."""
    low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
    return ((values - low) / (high - low))[:, 0].numpy()


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest value, of the sample where that is worst."""
    assert a.shape == b.shape and bool((b.abs().amax((1, 2, 3)) > 1e-6).all())
    return float(((a - b).abs().amax((1, 2, 3)) / b.abs().amax((1, 2, 3))).max())


# Where both are right

SITES = [
    *(("resnet18", site) for site in ("layer3", "layer4", "layer4.1.conv2")),
    *(("vgg11", site) for site in ("features.15", "features.19", "features.20")),
]


@every_method
@pytest.mark.parametrize(("architecture", "site"), SITES)
def test_where_nothing_writes_over_the_layer_both_draw_the_same(
    name: str, architecture: str, site: str, x: Tensor
) -> None:
    raw, picture = theirs(name, network(architecture), site, x)
    mine = ours(name, network(architecture), site, x)
    assert apart(mine, raw) < 1e-4
    assert float(np.abs(as_a_picture(mine) - picture).max()) < 1e-4


@every_method
def test_a_network_without_writing_in_place_agrees_at_every_layer(name: str, x: Tensor) -> None:
    for site in ("features.11", "features.16", "features.18"):
        raw, _ = theirs(name, out_of_place("vgg11"), site, x)
        assert apart(ours(name, out_of_place("vgg11"), site, x), raw) < 1e-4


# Where the next operation writes over the layer's output


def by_hand(name: str, value: Tensor, score: Tensor) -> Tensor:
    """The papers' formulas, from a value and the score that was computed from it."""
    (slope,) = torch.autograd.grad(score.sum(), value)
    weights = slope.mean((2, 3), keepdim=True) if name == "grad_cam" else slope.relu()
    return enlarged((weights * value.detach()).sum(1, keepdim=True).relu())


def last_convolution_of_vgg(name: str, x: Tensor) -> Tensor:
    net = out_of_place("vgg11")
    value = net.features[:19](x).detach().requires_grad_()
    after = net.avgpool(net.features[19:](value)).flatten(1)
    return by_hand(name, value, net.classifier(after)[:, CLASS])


def last_norm_of_resnet(name: str, x: Tensor) -> Tensor:
    """Its next operation is `out += identity`."""
    net = out_of_place("resnet18")
    h = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    h = net.layer4[0](net.layer3(net.layer2(net.layer1(h)))).detach()
    block = net.layer4[1]
    value = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(h))))).detach().requires_grad_()
    after = net.avgpool(torch.relu(value + h)).flatten(1)
    return by_hand(name, value, net.fc(after)[:, CLASS])


@every_method
def test_before_an_operation_in_place_ours_is_the_closed_form(name: str, x: Tensor) -> None:
    assert apart(ours(name, network("vgg11"), "features.18", x), last_convolution_of_vgg(name, x)) < 1e-4
    assert apart(ours(name, network("resnet18"), "layer4.1.bn2", x), last_norm_of_resnet(name, x)) < 1e-4


@pytest.mark.parametrize(
    ("architecture", "site", "closed"),
    [("vgg11", "features.18", last_convolution_of_vgg), ("resnet18", "layer4.1.bn2", last_norm_of_resnet)],
)
def test_before_an_operation_in_place_their_grad_cam_is_silently_another_map(
    architecture: str, site: str, closed, x: Tensor
) -> None:
    raw, picture = theirs("grad_cam", network(architecture), site, x)
    right = closed("grad_cam", x)
    assert apart(raw, right) > 0.1
    assert float(np.abs(picture - as_a_picture(right)).max()) > 0.1


# What is left behind


def test_they_leave_gradients_and_evaluation_mode_and_we_leave_nothing(x: Tensor) -> None:
    net = copy.deepcopy(network("resnet18")).train()
    before, process = fingerprint(net, x), of_process()
    ours("grad_cam", net, "layer4", x)
    ours("layer_cam", net, "layer4", x)
    assert fingerprint(net, x) == before and of_process() == process

    for p in net.parameters():  # a training step that is still to be taken
        p.grad = torch.ones_like(p)
    before = fingerprint(net, x)
    ours("grad_cam", net, "layer4", x)
    assert fingerprint(net, x) == before
    with GradCAM(net, [net.layer4]) as cam:
        cam(x, [ClassifierOutputTarget(CLASS)] * len(x))
    assert not net.training and not any(m.training for m in net.modules())
    assert not any(bool((p.grad == 1).all()) for p in net.parameters())
    assert all(p.grad is not None for p in net.parameters())


def test_frozen_parameters_stop_them_and_not_us(x: Tensor) -> None:
    net = copy.deepcopy(network("resnet18")).requires_grad_(False)
    with pytest.raises(RuntimeError, match="does not require grad"), GradCAM(net, [net.layer4]) as cam:
        cam(x, [ClassifierOutputTarget(CLASS)] * len(x))
    raw, _ = theirs("grad_cam", network("resnet18"), "layer4", x)
    assert apart(ours("grad_cam", net, "layer4", x), raw) < 1e-4
