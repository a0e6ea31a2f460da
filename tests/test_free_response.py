"""FROC on hand-drawn maps, and against a slow count of its own, part by part."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pellucid.checks.free_response import RATES, free_response
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput, BadOption
from pellucid.trials.components import above, components
from tests.flood import flooded
from tests.given_maps import pictured, with_map


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def curve(check: Check, name: str) -> tuple[float, ...]:
    return dict(check.curves)[name]


def points(check: Check) -> list[tuple[float, float, float]]:
    """Every threshold with its false alarms and the share found there."""
    return list(zip(*(curve(check, k) for k in ("threshold", "false alarms", "share found")), strict=True))


def spots(*at: tuple[int, int, float], side: int = 12) -> Tensor:
    """A map of single places and their strength."""
    places = torch.zeros(side, side)
    for row, column, value in at:
        places[row, column] = value
    return places


def test_two_pictures_by_hand():
    # Objects: two in the first picture, one in the second; what is found at each strength, and the false alarms.
    first, second = spots((2, 2, 9.0), (8, 8, 5.0), (2, 9, 7.0)), spots((5, 5, 3.0), (0, 0, 8.0), (11, 11, 1.0))
    masks = torch.zeros(2, 12, 12, dtype=torch.bool)
    masks[0, 1:4, 1:4] = masks[0, 7:10, 7:10] = masks[1, 4:7, 4:7] = True
    found = free_response(pictured(first, second), mask=masks)
    rows = {}
    for threshold, alarms, share in points(found):
        rows[threshold] = (alarms, pytest.approx(share))
    assert rows == {
        9.0: (0.0, 1 / 3), 8.0: (0.5, 1 / 3), 7.0: (1.0, 1 / 3), 5.0: (1.0, 2 / 3), 3.0: (1.0, 1.0), 1.0: (1.5, 1.0),
    }  # fmt: skip
    wanted = (1 / 3, 1 / 3, 1 / 3, 1.0, 1.0, 1.0, 1.0)  # at 1/8, 1/4, 1/2, 1, 2, 4, 8
    assert curve(found, "share found at rate") == pytest.approx(wanted) and curve(found, "rate") == RATES
    assert found.value == pytest.approx(sum(wanted) / 7) and found.verdict is Verdict.MEASURED
    # The first picture's two objects: one of them at the three low rates; the second picture's: none at those.
    assert found.each == pytest.approx(((3 * 0.5 + 4) / 7, 4 / 7))
    assert dict(found.references)["chance"] < found.value


def test_a_map_that_lights_up_everywhere_finds_nothing():
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[2:6, 2:6] = True
    bright = torch.rand(12, 12, generator=seeded(0)) * 1e-3 + 1.0
    bright[11, 11] = 2.0
    found = free_response(pictured(bright), mask=mask, thresholds=2)
    assert found.value == 0.0
    assert free_response(pictured(mask.float()), mask=mask).value == 1.0


def test_pictures_without_objects_add_false_alarms_only():
    mask = torch.zeros(2, 12, 12, dtype=torch.bool)
    mask[0, 1:4, 1:4] = True
    healthy = spots((0, 0, 2.0), (5, 5, 2.0), (9, 9, 2.0))
    found = free_response(pictured(spots((2, 2, 1.0)), healthy), mask=mask)
    assert curve(found, "false alarms") == (1.5, 1.5) and curve(found, "share found") == (0.0, 1.0)
    assert found.each[0] == pytest.approx(3 / 7) and math.isnan(found.each[1])
    relative = free_response(pictured(spots((2, 2, 1.0)), healthy), mask=mask, scale="maximum")
    assert curve(relative, "share found") == (1.0,)


def test_how_much_of_a_part_must_be_marked():
    places, mask = torch.zeros(12, 12), torch.zeros(12, 12, dtype=torch.bool)
    places[5, 2:10], mask[5, :5] = 1.0, True  # three of eight
    for overlap, wanted in ((0.3, 1.0), (0.375, 1.0), (0.4, 0.0)):
        assert free_response(pictured(places), mask=mask, overlap=overlap).value == wanted


@pytest.mark.parametrize("seed", range(4))
def test_every_threshold_against_a_slow_count(seed):
    places = torch.randn(3, 10, 9, generator=seeded(seed))
    masks = torch.rand(3, 10, 9, generator=seeded(seed + 50)) < 0.2
    found = free_response(pictured(*places), mask=masks, thresholds=12)
    objects = [flooded(m) for m in masks]
    total = sum(int(o.max()) for o in objects)
    for threshold, alarms, share in points(found):
        false, right = 0, set()
        for sample, (p, o) in enumerate(zip(places, objects, strict=True)):
            parts = flooded(p >= threshold)
            for number in range(1, int(parts.max()) + 1):
                reached = o[parts == number]
                if float((reached > 0).double().mean()) >= 0.5:
                    right |= {(sample, int(k)) for k in reached if k > 0}
                else:
                    false += 1
        assert (alarms, share) == (pytest.approx(false / 3), pytest.approx(len(right) / total))


@pytest.mark.parametrize("shape", [(40,), (13, 17), (5, 6, 7)])
@pytest.mark.parametrize("steps", [3, 1000])  # many places that tie, and none
def test_parts_above_falling_levels_are_those_of_each_level_alone(shape, steps):
    places = (steps * torch.rand(shape, generator=seeded(1))).round()
    levels = places.unique().flip(0)[1::3].tolist()  # the highest places lie above the first of them
    found = list(above(places, levels))
    for level, parts in zip(levels, found, strict=True):
        assert torch.equal(parts, components((places >= level)[None])[0])


def test_chance_is_that_of_maps_that_know_nothing():
    places = torch.randn(20, 12, 12, generator=seeded(0))
    masks = torch.zeros(20, 12, 12, dtype=torch.bool)
    masks[:, 3:7, 3:7] = True
    found = free_response(pictured(*places), mask=masks, thresholds=20)
    assert abs(found.value - dict(found.references)["chance"]) < 0.1 and found.low <= found.value <= found.high


def test_other_inputs_and_refusals():
    series = with_map(torch.tensor([[[0.0, 2.0, 0.0, 0.0, 1.0, 0.0]]]).transpose(1, 2))
    assert free_response(series, mask=torch.arange(6) == 1).value == 1.0
    assert free_response(pictured(torch.eye(4))).verdict is Verdict.UNKNOWN
    assert free_response(pictured(-torch.eye(4)), mask=torch.eye(4)).verdict is Verdict.UNKNOWN
    with pytest.raises(BadOption, match="no neighbors"):
        free_response(with_map(torch.rand(1, 5)), mask=torch.arange(5) < 2)
    with pytest.raises(BadInput, match="empty"):
        free_response(pictured(torch.eye(4)), mask=torch.zeros(1, 4, 4))
