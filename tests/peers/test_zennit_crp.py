"""Zennit-crp's conditional relevance, on the shape of VGG-11: whole, and through one channel at a time."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

import pellucid as pl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchvision
    from zennit.composites import EpsilonPlusFlat

    attribution = pytest.importorskip("crp.attribution", reason="zennit-crp is not installed")
    concepts = pytest.importorskip("crp.concepts")

CLASS, SITE = 2, "features.8"


def network() -> nn.Module:
    torch.manual_seed(0)
    net = torchvision.models.VGG(torchvision.models.vgg11(init_weights=False).features, 10)
    net.classifier[0], net.classifier[3] = nn.Linear(512 * 7 * 7, 32), nn.Linear(32, 32)
    net.classifier[6] = nn.Linear(32, 10)
    return net.eval().double()


def test_maps_and_channels_are_zennit_crps() -> None:
    net, x = network(), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    score = net(x)[0, CLASS]
    ours = pl.concepts.relevance(net, x, CLASS, SITE, [3, 40, 200], preset="epsilon_plus_flat")
    crp = attribution.CondAttribution(copy.deepcopy(net))
    for n, channel in enumerate(ours.chosen):
        found = crp(
            x.clone().requires_grad_(), [{"y": [CLASS], SITE: [channel]}], EpsilonPlusFlat(), record_layer=[SITE],
            mask_map=concepts.ChannelConcept.mask,
        )  # fmt: skip
        theirs = found.heatmap[0] * 1.0
        assert float((ours.maps[n] - theirs).abs().max() / theirs.abs().max()) < 1e-4
    whole = crp(x.clone().requires_grad_(), [{"y": [CLASS]}], EpsilonPlusFlat(), record_layer=[SITE])
    each = concepts.ChannelConcept().attribute(whole.relevances[SITE], abs_norm=False)[0]
    assert float((ours.channels - each).abs().max() / each.abs().max()) < 1e-4
    assert float(score) == pytest.approx(ours.score)
