"""Exported programs of torchvision and timm: the same numbers, and the same rules, as the models."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision

import pellucid as pl

SEEN = torch.linspace(-2, 2, 3 * 224 * 224).view(1, 3, 224, 224)
NETWORKS = ("torchvision:mobilenet_v3_small", "torchvision:swin_t", "timm:levit_128s")


@pytest.mark.parametrize("name", NETWORKS)
def test_an_exported_network_is_the_network(name: str, tmp_path: Path) -> None:
    package, _, architecture = name.partition(":")
    model = timm.create_model(architecture) if package == "timm" else torchvision.models.get_model(architecture)
    model.eval()
    torch.export.save(torch.export.export(model, (SEEN,)), tmp_path / "m.pt2")
    net = pl.open(tmp_path / "m.pt2")
    with torch.no_grad():
        assert torch.equal(net.model(SEEN), model(SEEN))
    found, wanted = (pl.methods.guided_backprop(m, SEEN, 1) for m in (net, model))
    assert torch.equal(found.values, wanted.values)
