"""Quantus's curves of removal beside ours: equal where they are right, and the closed form where they are not."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.deletion import deletion
from pellucid.checks.irof import irof
from pellucid.checks.pixel_flipping import pixel_flipping
from pellucid.checks.road import road
from pellucid.core.explanation import Explanation
from pellucid.probes.imputation import linear
from pellucid.probes.masks import highest, landscapes
from tests.networks import randomized

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus
    from quantus.functions.perturb_func import noisy_linear_imputation

pytestmark = pytest.mark.filterwarnings("ignore:::quantus")

PLAIN: dict[str, Any] = {"abs": False, "normalise": False, "return_aggregate": False, "disable_warnings": True}
SIDE = 20


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def asked(metric: Any, why: Explanation, target: int = 0, softmax: bool = True) -> Any:
    """What a metric says of the explanation's map."""
    ((_, x),) = why.x.items()
    assert why.net is not None
    labels = np.full(len(x), target)
    return metric(why.net.model.eval(), x.numpy(), labels, a_batch=why.values.numpy(), device="cpu", softmax=softmax)


@pytest.fixture
def gray() -> Explanation:
    """Exact contributions of a linear network with two outputs to a gray picture."""
    net = randomized(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), 1).eval()
    return pl.methods.input_x_gradient(net, torch.randn(2, 1, 6, 8, generator=seeded(2)), pl.logit(0))


def test_flipping_pixels_of_a_gray_picture_is_the_same(gray: Explanation) -> None:
    metric = quantus.PixelFlipping(features_in_step=3, perturb_baseline=0.0, **PLAIN)
    theirs = np.array(asked(metric, gray, softmax=False)).mean(0)
    ours = dict(deletion(gray, steps=16, fill="constant", unit="explained").curves)
    np.testing.assert_allclose(ours["map"][1:], theirs, rtol=1e-4, atol=1e-5)  # they leave out the start


def test_regions_of_a_pixel_from_both_ends_are_the_same(gray: Explanation) -> None:
    curves = dict(pixel_flipping(gray, steps=47, fill="constant", unit="explained").curves)
    assert gray.net is not None
    with torch.no_grad():
        start = float(gray.net.model(gray.x["input"])[:, 0].mean())
    for order, name in (("morf", "most relevant first"), ("lerf", "least relevant first")):
        metric = quantus.RegionPerturbation(
            patch_size=1, regions_evaluation=47, order=order, perturb_baseline=0.0, **PLAIN
        )
        theirs = start - np.array(asked(metric, gray, softmax=False)).mean(0)
        np.testing.assert_allclose(curves[name], theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_the_imputation_itself_is_the_same(channels: int, share: float) -> None:
    x = torch.randn(1, channels, 15, 22, generator=seeded(3), dtype=torch.double)
    hole = highest(landscapes(1, (15, 22), seeded(4)), share)
    theirs = noisy_linear_imputation(x[0].numpy(), hole.flatten().nonzero()[:, 0].numpy(), noise=0.0)
    np.testing.assert_allclose(linear(x, hole, tolerance=1e-10)[0].numpy(), theirs, atol=1e-7)


class Bright(nn.Module):
    """Class 1 wins where the middle is bright."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x[:, :, 8:13, 7:12].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(bright), 40 * (bright - 0.5)], 1)


def lit(channels: int) -> Explanation:
    x = 0.3 * torch.rand(1, channels, SIDE, SIDE, generator=seeded(5))
    x[:, :, 8:13, 7:12] += 0.7
    why = pl.methods.input_x_gradient(Bright(), x, 1)
    places = why.values.sum(1, keepdim=True) + 1e-3 * torch.rand(1, 1, SIDE, SIDE, generator=seeded(6))
    return replace(why, maps={"x": places})


def test_road_is_the_same_on_gray_and_fails_there_on_color() -> None:
    metric = quantus.ROAD(percentages=[10 * i for i in range(1, 10)], **PLAIN)
    for why in (lit(1), replace(lit(1), maps={"x": 10 - lit(1).values})):
        theirs = list(asked(metric, why, 1).values())
        ours = dict(road(why).curves)["most relevant first"]
        np.testing.assert_array_equal(ours, np.array(theirs, dtype=float).ravel())
    with pytest.raises(IndexError):
        asked(quantus.ROAD(percentages=[10, 50], **PLAIN), lit(3), 1)
    found = road(lit(3))
    assert found.value == 0.0 and dict(found.references)["least relevant first"] == 1.0


@pytest.mark.parametrize("channels", [1, 3])
def test_the_area_of_a_network_that_looks_at_nothing_is_none(channels: int, monkeypatch: Any) -> None:
    """p never changes, so nothing lies over the curve: 0.  Theirs leaves out the start: 1, however many segments.

    And of a picture in color with one map for all of them theirs fails.
    """
    pytest.importorskip("skimage")
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # gone since NumPy 2.4, and theirs asks for it
    net = nn.Sequential(nn.Flatten(), nn.Linear(channels * 32 * 32, 2)).eval()
    net[1].weight.data.zero_()
    x = landscapes(channels, (32, 32), seeded(7))[None] * 3
    why = pl.methods.saliency(net, x, 0)
    why = replace(why, maps={"input": torch.randn(1, 1, 32, 32, generator=seeded(8))})
    if channels == 1:
        assert float(np.mean(asked(quantus.IROF(**PLAIN), why))) == pytest.approx(1.0, abs=1e-4)
    else:
        with pytest.raises(AssertionError, match="same as the mask shape"):
            asked(quantus.IROF(**PLAIN), why)
    found = irof(why)
    assert found.value == pytest.approx(0.0, abs=1e-6) and math.isfinite(dict(found.references)["random"])
