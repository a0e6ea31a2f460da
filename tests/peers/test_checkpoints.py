"""Weights of torchvision and timm: recognised to the last name, or given to the architecture that is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

import pellucid as pl

SEEN = torch.linspace(-2, 2, 3 * 224 * 224).view(1, 3, 224, 224)
KNOWN = ("resnet18", "resnet50", "vgg11", "alexnet", "densenet121", "mobilenet_v2", "efficientnet_b0", "vit_b_16")


@pytest.mark.parametrize("name", KNOWN)
def test_a_well_known_network_is_recognised(name: str, tmp_path: Path) -> None:
    model = torchvision.models.get_model(name, weights=None).eval()
    state = {f"module.{k}": v for k, v in model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    net = pl.open(tmp_path / "w.pt")
    assert net.name == name and any("recognised as torchvision" in note for note in net.notes)
    with torch.no_grad():
        assert torch.equal(net.model(SEEN), model(SEEN))


def test_the_number_of_classes_follows_the_file(tmp_path: Path) -> None:
    model = torchvision.models.resnet18(num_classes=7).eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    net = pl.open(tmp_path / "w.pt", architecture="torchvision:resnet18")
    assert any("7 classes" in note for note in net.notes) and net.model(SEEN).shape == (1, 7)


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "vit_tiny_patch16_224"])
def test_timms_weights_open_by_name_and_state_no_preparation(name: str, tmp_path: Path) -> None:
    model = timm.create_model(name).eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    net = pl.open(tmp_path / "w.pt", architecture=f"timm:{name}")
    assert torch.equal(net.model(SEEN), model(SEEN)) and net.preparation is None
    assert any("timm's own weights of this network are prepared with size=224" in note for note in net.notes)


def test_timms_configuration_beside_the_file_states_everything(tmp_path: Path) -> None:
    model = timm.create_model("resnet18", num_classes=3).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    pretrained = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.25] * 3, "crop_pct": 0.8}
    said = {"architecture": "resnet18", "num_classes": 3, "label_names": ["a", "b", "c"], "pretrained_cfg": pretrained}
    (tmp_path / "config.json").write_text(json.dumps(said))
    net = pl.open(tmp_path / "model.safetensors")
    assert net.labels == ("a", "b", "c") and torch.equal(net.model(SEEN), model(SEEN))
    source = "config.json beside the weights"
    assert net.preparation == pl.Preparation(64, 0.8, (0.5,) * 3, (0.25,) * 3, source=source)
