"""DeepLIFT against a background as captum and the shap package compute it, on networks of distinct ReLU modules."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid.methods import all_methods
from tests.networks import randomized, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import shap
    from captum import attr

pytestmark = pytest.mark.filterwarnings(
    "ignore:::captum", "ignore:::shap", "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)

deep_shap = all_methods()["deep_shap"]
CLASS = 1


def dense() -> nn.Module:
    return randomized(nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3)), 1)


def pooled() -> nn.Module:
    return randomized(
        nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 4, 2), nn.ReLU(), nn.Flatten(),
                      nn.Linear(16, 3)), 2,
    )  # fmt: skip


def shaps(net: nn.Module, x: Tensor, background: Tensor) -> Tensor:
    return torch.as_tensor(np.asarray(shap.DeepExplainer(net, background).shap_values(x))[..., CLASS]).float()


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(a.abs().max()))


def test_what_captum_and_shap_find() -> None:
    net, x, background = dense(), torch.randn(3, 6, generator=seeded(3)), torch.randn(5, 6, generator=seeded(5))
    found = deep_shap(net, x, CLASS, background=background).values
    close(found, attr.DeepLiftShap(net).attribute(x, background, target=CLASS).detach())
    close(found, shaps(net, x, background))


def test_with_max_pooling_what_shap_finds_for_captum_does_not_add_up() -> None:
    net = pooled()
    x, background = (torch.randn(n, 2, 8, 8, generator=seeded(n)) for n in (3, 5))
    found = deep_shap(net, x, CLASS, background=background).values
    close(found, shaps(net, x, background))
    with torch.no_grad():
        change = net(x)[:, CLASS] - net(background)[:, CLASS].mean()
    captums = attr.DeepLiftShap(net).attribute(x, background, target=CLASS).detach()
    torch.testing.assert_close(found.flatten(1).sum(1), change, rtol=1e-4, atol=1e-5)
    assert float(((captums.flatten(1).sum(1) - change).abs() / change.abs()).max()) > 1
