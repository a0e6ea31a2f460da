"""ROAD, IROF and performance information curves: planted regions, and small cases worked out by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.irof import irof
from pellucid.checks.pic import _area, _curve, _information, pic
from pellucid.checks.road import road
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.trials.ordered import counts_of
from tests.networks import randomized
from tests.test_imputation import solved
from tests.traces import fingerprint

SIDE = 20
PATCH = (slice(3, 8), slice(11, 16))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Patch(nn.Module):
    """Class 1 wins where the patch is bright: 0 against a steep function of its mean over all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.steep = nn.Parameter(torch.tensor(30.0))

    def forward(self, x: Tensor) -> Tensor:
        bright = x[:, :, PATCH[0], PATCH[1]].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(bright), self.steep * (bright - 0.55)], 1)


def lit(seed: int = 0) -> Tensor:
    """Gray noise with the patch bright."""
    x = 0.4 * torch.rand(1, 3, SIDE, SIDE, generator=seeded(seed))
    x[:, :, PATCH[0], PATCH[1]] += 0.6
    return x


def having(why: Explanation, values: Tensor) -> Explanation:
    return replace(why, maps={"x": values})


def planted(*seeds: int) -> Explanation:
    """Exact contributions, with a little of everything else so that no places tie."""
    x = torch.cat([lit(s) for s in seeds or (0,)])
    why = pl.methods.input_x_gradient(Patch(), x, 1)
    small = 1e-4 * torch.rand(why.values.shape, generator=seeded(1))
    return having(why, why.values + small)


# ROAD


def by_hand(net: nn.Module, x: Tensor, places: Tensor, counts: tuple[int, ...]) -> list[float]:
    """Keeps its class?  The most relevant places imputed by a dense solution, one picture after another."""
    kept = []
    for count in counts:
        hole = torch.zeros(SIDE * SIDE, dtype=torch.bool)
        hole[places.flatten().argsort(descending=True)[:count]] = True
        z = net(solved(x[0], hole.view(SIDE, SIDE)).float()[None])[0]
        kept.append(float(z[1] > z[0]))
    return kept


def test_road_of_a_color_picture_is_what_dense_imputation_says() -> None:
    net, why = Patch(), planted()
    found = road(why, steps=19)
    counts = counts_of(SIDE * SIDE, 19, ends=False)
    places = why.values[0].sum(0)
    curves = dict(found.curves)
    assert curves["places"] == tuple(map(float, counts))
    most, least = (by_hand(net, why.x["x"], m, counts) for m in (places, -places))
    assert curves["most relevant first"] == tuple(most) and curves["least relevant first"] == tuple(least)
    assert found.value == pytest.approx(sum(most) / 19) == found.each[0]
    assert found.value < 0.1 < 0.9 < sum(least) / 19 == pytest.approx(dict(found.references)["least relevant first"])
    assert found.passes == 3 * 19 + 1


def test_road_leaves_out_what_the_network_does_not_choose() -> None:
    x = torch.cat([lit(0), torch.zeros(1, 3, SIDE, SIDE)])
    why = pl.methods.input_x_gradient(Patch(), x, 1)
    why = having(why, why.values + torch.rand(why.values.shape, generator=seeded(1)))
    found = road(why)
    assert math.isfinite(found.each[0]) and math.isnan(found.each[1]) and "1 of 2" in found.why
    nothing = road(having(pl.methods.input_x_gradient(Patch(), x[1:], 1), why.values[1:]))
    assert nothing.verdict is Verdict.UNKNOWN and "does not choose" in nothing.why


def test_road_of_a_series() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv1d(1, 1, 1, bias=False)
            self.one.weight.data.fill_(1.0)

        def forward(self, x: Tensor) -> Tensor:
            return 10 * self.one(x)[:, :, 30:40].mean(2) - 5

    x = torch.zeros(1, 1, 60)
    x[..., 30:40] = 1.0
    found = road(pl.methods.input_x_gradient(Late(), x, 0), steps=5)
    assert found.value == 0.0 and dict(found.references)["least relevant first"] == 1.0


@pytest.mark.parametrize("shape", [(1, 6), (1, 1, 3, 3, 3)])
def test_road_refuses_what_has_no_neighbors_to_fill_from(shape: tuple[int, ...]) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2))
    with pytest.raises(BadInput, match="ROAD fills places from their neighbors"):
        road(pl.methods.input_x_gradient(net, torch.randn(shape), 0))


# IROF


def quarters() -> Tensor:
    half = torch.arange(6) // 3
    return 2 * half[:, None] + half


@pytest.mark.parametrize("outputs", [1, 3])
def test_irof_worked_out_by_hand(outputs: int) -> None:
    """Four quarters, each replaced by 0.3: p after every one of them in the order of their means, by trapezoids."""
    net = randomized(nn.Sequential(nn.Flatten(), nn.Linear(72, outputs)), 3)
    x = torch.randn(2, 2, 6, 6, generator=seeded(4))
    why = pl.methods.input_x_gradient(net, x, 0)
    found = irof(why, mask=quarters(), fill="constant", value=0.3)
    for i in range(2):
        v = x[i : i + 1].clone()
        means = [float(why.values[i, :, quarters() == s].sum(0).mean()) for s in range(4)]

        @torch.no_grad()
        def p(v: Tensor) -> float:
            z = net(v)
            return float((z.sigmoid() if outputs == 1 else z.softmax(1))[0, 0])

        left = [1.0]
        start = p(v)
        for s in sorted(range(4), key=lambda s: -means[s]):
            v[:, :, quarters() == s] = 0.3
            left.append(p(v) / start)
        area = sum((a + b) / 2 for a, b in itertools.pairwise(left)) / 4
        assert found.each[i] == pytest.approx(1 - area, rel=1e-4)
    assert found.value == pytest.approx(sum(found.each) / 2)
    assert found.passes == 2 * (2 * 3 + 2)


def test_a_network_that_looks_at_nothing_loses_nothing() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    net[1].weight.data.zero_()
    why = pl.methods.saliency(net, torch.randn(1, 3, 4, 4, generator=seeded(1)), 0)
    found = irof(replace(why, maps={"input": torch.randn(1, 1, 4, 4, generator=seeded(2))}), mask=quarters()[1:5, 1:5])
    assert found.value == pytest.approx(0.0, abs=1e-6)


def test_irof_favors_the_true_map() -> None:
    why = planted(0, 1)
    found = irof(why, by="grid", cells=4)
    assert found.value > 0.9 > 0.8 > irof(having(why, why.values.roll(9, 2)), by="grid", cells=4).value
    assert found.value > dict(found.references)["random"]


def test_pictures_are_divided_into_superpixels_when_nothing_is_said() -> None:
    """Three flat stripes are three segments: 3 passes a map, of which first and last are shared."""
    pytest.importorskip("skimage")
    x = torch.cat([torch.full((1, 3, 12, 24), v) for v in (0.0, 1.0, 0.3)], 3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 72, 2))
    why = pl.methods.input_x_gradient(net, x, 0)
    found = irof(
        replace(why, maps={"input": torch.rand(1, 1, 12, 72, generator=seeded(1))}), by="felzenszwalb", cells=2
    )
    assert found.passes == 2 * 2 + 2
    slic = irof(replace(why, maps={"input": torch.rand(1, 1, 12, 72, generator=seeded(1))}), cells=2)
    assert slic.passes == irof(replace(why, maps={"input": why.values}), cells=2, by="slic").passes > 2


def test_irof_needs_a_class() -> None:
    why = pl.methods.input_x_gradient(Patch(), lit(), pl.scalar(lambda z: z[:, 1]))
    for check in (irof, road, pic):
        with pytest.raises(BadInput, match="scalar"):
            check(why)


# PIC


@pytest.mark.parametrize("of", ["softmax", "accuracy"])
def test_pic_of_the_true_map_is_high_and_of_a_shifted_one_low(of: str) -> None:
    why = planted(0, 1, 2)
    found = pic(why, of=of)
    shifted = pic(having(why, why.values.roll((9, 9), (2, 3))), of=of)
    assert all(0 <= v <= 1 for v in (*found.each, *shifted.each))
    assert found.value > 0.75 > 0.45 > shifted.value
    assert found.passes == 3 * (2 * 13 + 2)
    curves = dict(found.curves)
    assert curves["map"][-1] == 1.0 and list(curves["map"]) == sorted(curves["map"])
    places = why.values.double().sum(1, keepdim=True)
    assert pic(having(why, places**3), of=of).each == pic(having(why, places), of=of).each == found.each


def test_the_curve_is_the_running_maximum_over_information() -> None:
    """Points (0, 0), (.2, .3), (.5, .1 lifted to .3), (1, 1): .03 + .09 + .325."""
    line = _curve(np.array([0.5, 0.2]), np.array([0.1, 0.3]))
    assert _area(line) == pytest.approx(0.445, abs=1e-6)
    assert line[200] == pytest.approx(0.3) and line[500] == pytest.approx(0.3) and line[750] == pytest.approx(0.65)


def test_information_grows_with_what_is_shown() -> None:
    for channels in (1, 2, 3):
        noise = torch.rand(1, channels, 32, 32, generator=seeded(3))
        shown = [torch.where(torch.arange(32) < n, noise, 0.5) for n in (0, 8, 16, 24, 32)]
        sizes = _information(shown, noise)
        assert list(sizes) == sorted(sizes) and len(set(sizes)) == 5
        assert sizes[-1] > 0.9 * channels * 32 * 32  # noise cannot be compressed


def test_samples_that_pic_cannot_judge_are_left_out() -> None:
    x = torch.cat([lit(0), 0.4 * torch.rand(1, 3, SIDE, SIDE, generator=seeded(5))])
    why = pl.methods.input_x_gradient(Patch(), x, 1)
    found = pic(why)
    assert math.isfinite(found.each[0]) and math.isnan(found.each[1])
    assert pic(having(why, torch.ones_like(why.values))).verdict is Verdict.UNKNOWN
    with pytest.raises(BadInput, match="table"):
        pic(pl.methods.input_x_gradient(nn.Linear(200, 1), torch.ones(1, 200), 0))


# All of them


@pytest.mark.parametrize("check", [road, irof, pic])
def test_samples_measure_together_as_alone_and_nothing_is_left_behind(check: Callable[..., Check]) -> None:
    options = {"cells": 3, "by": "grid"} if check is irof else {}
    why = planted(0, 1)
    assert why.net is not None
    before = fingerprint(why.net.model, why.x)
    together = check(why, **options)
    assert fingerprint(why.net.model, why.x) == before
    assert together.each == check(why, **options).each
    for i in range(2):
        alone = having(pl.methods.input_x_gradient(Patch(), why.x["x"][i : i + 1], 1), why.values[i : i + 1])
        assert check(alone, **options).each[0] == pytest.approx(together.each[i], rel=1e-5)
