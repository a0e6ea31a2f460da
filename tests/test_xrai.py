"""XRAI: its greedy order by brute force, planted regions, and the sum that it keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.score import Score
from pellucid.core.target import logit
from pellucid.methods import all_methods
from pellucid.methods.xrai import SCALES, gathered
from pellucid.probes.baselines import mean_change
from pellucid.probes.segments import of_all_scales
from tests.networks import seeded

METHODS = all_methods()


@pytest.mark.parametrize("seed", range(6))
def test_gathering_is_greedy(seed: int) -> None:
    """On random overlapping segments: each step's part is the densest of all that could be added."""
    draw = seeded(seed)
    segments = torch.rand(12, 9, 8, generator=draw) < 0.3
    density = torch.randn(9, 8, generator=draw, dtype=torch.float64)
    found, added = gathered(segments, density)
    covered, want, steps = torch.zeros(9, 8, dtype=torch.bool), torch.zeros_like(density), 0
    while bool((segments & ~covered).any()):
        parts = [s & ~covered for s in segments if bool((s & ~covered).any())]
        best = max(parts, key=lambda part: float(density[part].mean()))
        want[best] = density[best].mean()
        covered, steps = covered | best, steps + 1
    want[~covered] = density[~covered].mean() if not bool(covered.all()) else 0.0
    torch.testing.assert_close(found, want)
    assert added == steps
    torch.testing.assert_close(found.sum(), density.sum())


def test_values_fall_as_the_area_grows() -> None:
    """Of segments that do not overlap, the map is each one's mean, and the densest come first."""
    label = torch.arange(6).repeat_interleave(4).view(4, 6)
    segments = torch.stack([label == i for i in range(6)])
    density = torch.randn(4, 6, generator=seeded(1), dtype=torch.float64)
    found, added = gathered(segments, density)
    assert added == 6
    torch.testing.assert_close(found, torch.stack([density[label == i].mean() for i in range(6)])[label])


class Square(nn.Module):
    """Sees the light square alone: how much brighter it is than the rest."""

    def forward(self, x: Tensor) -> Tensor:
        inside = x[:, :, 8:20, 10:24].mean((1, 2, 3))
        return torch.stack([inside, -inside], 1)


def scene() -> Tensor:
    """A light square and a light bar on a dark ground."""
    x = torch.full((1, 3, 40, 40), 0.1)
    x[:, :, 8:20, 10:24] = 0.9
    x[:, :, 28:36, 4:36] = 0.8
    return x + 0.01 * torch.rand(1, 3, 40, 40, generator=seeded(0))


def test_a_planted_thing_is_found_whole() -> None:
    x = scene()
    found = METHODS["xrai"](Square(), x, 0, steps=4).values[0, 0]
    inside = torch.zeros(40, 40, dtype=torch.bool)
    inside[8:20, 10:24] = True
    top = torch.zeros(1600, dtype=torch.bool)
    top[found.flatten().argsort(descending=True, stable=True)[: int(inside.sum())]] = True
    top = top.view(40, 40)
    assert float((top & inside).sum() / (top | inside).sum()) > 0.75


def test_the_sum_is_the_mean_change_from_black_and_white() -> None:
    x = scene()
    plain = METHODS["xrai"](Square(), x, 0, steps=4)
    low, high = x.amin(), x.amax()
    f = Score(Network(Square()), logit(0))
    change = mean_change(f, {"x": x}, [{"x": torch.full_like(x, float(v))} for v in (low, high)])
    torch.testing.assert_close(plain.values.sum(), change[0], rtol=1e-4, atol=1e-5)
    assert max(plain.gap or ()) < 1e-3
    prepared = Network(Square(), preparation=Preparation(40, mean=(0.5,) * 3, std=(0.25,) * 3))
    black, white = (torch.full_like(x, v) for v in (-2.0, 2.0))
    change = mean_change(Score(prepared, logit(0)), {"x": x}, [{"x": black}, {"x": white}])
    torch.testing.assert_close(METHODS["xrai"](prepared, x, 0, steps=4).values.sum(), change[0], rtol=1e-4, atol=1e-5)


def test_segments_of_all_scales_cover_the_picture_and_are_not_small() -> None:
    found = of_all_scales(scene()[0], SCALES)
    assert bool(found.any(0).all()) and int(found.flatten(1).sum(1).min()) >= 0.003 * 1600
