"""Zennit's excitation backpropagation on the shape of VGG-11, and pytorch-grad-cam's FullGrad where it is right."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid.methods import all_methods
from tests.peers.test_lrp import network, relevance, same

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchvision
    from pytorch_grad_cam import FullGrad
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from zennit.composites import ExcitationBackprop

pytestmark = pytest.mark.filterwarnings("ignore:::zennit", "ignore:::pytorch_grad_cam")

METHODS = all_methods()
CLASS = 2


def test_zennits_excitation() -> None:
    """Theirs starts from the score and ours from a probability of 1, of which nearly all arrives."""
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    found = METHODS["excitation_backprop"](network("vgg11"), x, CLASS)
    theirs = relevance("vgg11", ExcitationBackprop(), x)
    arrived = torch.tensor(found.facts["probability that arrived"], dtype=torch.float64)
    assert 0.99 < float(arrived.min()) <= float(arrived.max()) < 1 + 1e-9
    part = arrived / theirs.sum((1, 2, 3))
    same(found.values, theirs * part[:, None, None, None], 1e-3)  # stabilizers


def cut_off(found: Tensor) -> np.ndarray:
    """The finished picture of pytorch-grad-cam: between 0 and 1."""
    v = found - found.amin((1, 2, 3), keepdim=True)
    return (v / v.amax((1, 2, 3), keepdim=True))[:, 0].numpy()


@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
def test_full_grad_of_rectified_networks(name: str) -> None:
    """Where rectifiers are the only bends, so that there are no biases but those of layers.

    Theirs divides by the largest value plus 1e-7, so the score is made large; and it reads gradients at modules, so no
    ReLU may write over what it reads.
    """
    torch.manual_seed(0)
    net: nn.Module = torchvision.models.resnet18(num_classes=10)
    if name == "vgg11":
        net = nn.Sequential(torchvision.models.vgg11(init_weights=False).features, nn.Flatten(), nn.Linear(2048, 10))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        if isinstance(module, nn.ReLU):
            module.inplace = False
    last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(1e6)
    net.eval()
    x = torch.randn(2, 3, 64, 64)
    found = METHODS["full_grad"](net, x, CLASS, kind="channels")
    theirs = FullGrad(copy.deepcopy(net), [])(x, [ClassifierOutputTarget(CLASS)] * 2)
    np.testing.assert_allclose(cut_off(found.values), theirs, rtol=0, atol=1e-4)
    assert max(found.gap) < 1e-4
