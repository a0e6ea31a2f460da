"""The peers environment itself: torchvision can be imported beside a CPU torch, and the networks in it run."""

from __future__ import annotations

import warnings

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Raised while these are imported; `error` would end the collection.
    import timm
    import torchvision
    from pytorch_grad_cam import GradCAM
    from zennit.composites import EpsilonPlusFlat


def test_torchvision_networks_run_and_its_missing_operators_say_so():
    network = torchvision.models.resnet18().eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    if not torchvision.extension._has_ops():
        with pytest.raises((RuntimeError, NotImplementedError)):
            torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)


def test_timm_networks_run():
    assert timm.create_model("resnet10t", num_classes=7).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_zennit_and_grad_cam_explain_a_network():
    network = torchvision.models.resnet18().eval()
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    with EpsilonPlusFlat().context(network) as modified:
        (relevance,) = torch.autograd.grad(modified(x)[0, 3], x)
    assert relevance.shape == x.shape
    assert bool(relevance.abs().sum() > 0)
    with GradCAM(network, [network.layer4]) as cam:
        assert cam(x.detach(), targets=None).shape == (1, 64, 64)
