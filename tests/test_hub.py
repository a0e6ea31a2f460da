"""torchvision and timm by name; they are not installed here, so their interfaces are stood in for."""

from __future__ import annotations

import sys
import types
import urllib.error
from collections.abc import Callable

import numpy as np
import pytest
from torch import nn

from pellucid.core.errors import BadModel, Missing
from pellucid.doors import hub
from pellucid.doors.open import open as open_network

# ---- torchvision and timm, which are not installed here: their interfaces are stood in for


def small() -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))


def stand_in_torchvision(build: Callable[[], nn.Module]) -> dict[str, types.ModuleType]:
    """The part of torchvision 0.29 that the door uses, with the shapes of its answers."""
    models = types.ModuleType("torchvision.models")
    stated = types.SimpleNamespace(
        crop_size=[24],
        resize_size=[28],
        mean=[0.1] * 3,
        std=[0.5] * 3,
        interpolation=types.SimpleNamespace(value="bilinear"),
    )
    best = types.SimpleNamespace(transforms=lambda: stated, meta={"categories": ["no", "yes"]})
    models.list_models = lambda: ["resnet18", "resnet50"]  # type: ignore[attr-defined]
    models.get_model_weights = lambda name: types.SimpleNamespace(DEFAULT=best)  # type: ignore[attr-defined]
    models.get_model = lambda name, weights: build()  # type: ignore[attr-defined]
    return {"torchvision": types.ModuleType("torchvision"), "torchvision.models": models}


def test_torchvision_states_preparation_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in stand_in_torchvision(small).items():
        monkeypatch.setitem(sys.modules, name, module)
    net = open_network("torchvision:resnet18")
    assert net.labels == ("no", "yes") and net.preparation is not None
    assert (net.preparation.size, round(net.preparation.size / net.preparation.crop)) == (24, 28)
    assert net.preparation.interpolation == "bilinear" and net.read(np.zeros((30, 40, 3), np.uint8)).shape[-1] == 24
    with pytest.raises(Missing, match="Did you mean torchvision:resnet50"):
        open_network("torchvision:resnet5")


def test_no_network_is_said_and_other_failures_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def far() -> nn.Module:
        raise urllib.error.URLError("Name or service not known")

    def broken() -> nn.Module:
        raise RuntimeError("size mismatch")

    for build, error, says in ((far, Missing, "could not be downloaded"), (broken, BadModel, "size mismatch")):
        for name, module in stand_in_torchvision(build).items():
            monkeypatch.setitem(sys.modules, name, module)
        with pytest.raises(error, match=says):
            open_network("torchvision:resnet18")


@pytest.mark.parametrize("name", ["torchvision:resnet50", "timm:mobilenetv3_small_100"])
def test_an_absent_package_is_named_with_its_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = name.partition(":")[0]

    def absent(module: str) -> types.ModuleType:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(hub.importlib, "import_module", absent)
    with pytest.raises(Missing) as caught:
        open_network(name)
    assert caught.value.hint == f"pip install {package}"


def test_a_package_built_for_another_torch_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: str) -> types.ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(hub.importlib, "import_module", broken)
    with pytest.raises(Missing, match=r"nms does not exist.*--no-deps torchvision"):
        open_network("torchvision:resnet50")
