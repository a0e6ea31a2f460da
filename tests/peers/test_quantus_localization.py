"""Quantus's localization metrics on hand-computed maps: equal to ours where they are right, and shown where not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid.checks import all_checks
from pellucid.core.check import Check
from pellucid.core.errors import BadInput
from tests.given_maps import pictured

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

pytestmark = pytest.mark.filterwarnings("ignore:::quantus")

CHECKS = all_checks()
PLAIN = {"abs": False, "normalise": False, "return_aggregate": False, "disable_warnings": True}
SIDE = 12


def theirs(metric: quantus.Metric, places: Tensor, masks: Tensor) -> list[float]:
    """The metric's numbers for maps `[batch, height, width]`."""
    x = np.ones((len(places), 1, SIDE, SIDE), np.float32)
    given = {"a_batch": places[:, None].numpy(), "s_batch": masks[:, None].numpy(), "device": "cpu"}
    net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2)).eval()
    return [float(v) for v in metric(net, x, np.zeros(len(places), int), **given)]


def ours(name: str, places: Tensor, masks: Tensor, **options: object) -> Check:
    return CHECKS[name](pictured(*places), mask=masks, **options)


@pytest.fixture
def positive() -> tuple[Tensor, Tensor]:
    """Maps without ties, and a region of each."""
    seeded = torch.Generator().manual_seed(0)
    masks = torch.rand(4, SIDE, SIDE, generator=seeded) < torch.tensor([0.1, 0.3, 0.5, 0.7])[:, None, None]
    return torch.rand(4, SIDE, SIDE, generator=seeded) + 0.3 * masks, masks


@pytest.mark.parametrize(
    ("name", "options", "metric"),
    [
        ("pointing_game", {"tolerance": 0.0}, quantus.PointingGame(**PLAIN)),
        ("relevance_mass", {}, quantus.RelevanceMassAccuracy(**PLAIN)),
        ("relevance_rank", {}, quantus.RelevanceRankAccuracy(**PLAIN)),
        ("attribution_localization", {}, quantus.AttributionLocalisation(**PLAIN)),
        ("top_k_intersection", {"k": 20}, quantus.TopKIntersection(k=20, **PLAIN)),
        (
            "top_k_intersection",
            {"k": 20, "concept_influence": True},
            quantus.TopKIntersection(k=20, concept_influence=True, **PLAIN),
        ),
        ("pixel_auc", {}, quantus.AUC(**PLAIN)),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_where_there_are_no_ties_and_no_signs_both_have_the_same_number(name, options, metric, positive):
    places, masks = positive
    np.testing.assert_allclose(ours(name, places, masks, **options).each, theirs(metric, places, masks), atol=1e-5)


def test_an_empty_mask_is_a_hit_to_them_and_refused_here(positive):
    places, masks = positive
    nothing = masks.clone()
    nothing[0] = False
    assert theirs(quantus.PointingGame(**PLAIN), places, nothing)[0] == 1.0
    with pytest.raises(BadInput, match="empty"):
        ours("pointing_game", places, nothing)


def test_their_weight_depends_on_the_batch_and_ours_on_the_sample(positive):
    places, masks = positive
    metric = quantus.AttributionLocalisation(weighted=True, **PLAIN)
    three, four = theirs(metric, places[:3], masks[:3]), theirs(metric, places, masks)
    np.testing.assert_allclose(np.array(three), 2 * np.array(four[:3]), rtol=1e-5)  # over 1 and over 2 pictures
    weighted = ours("attribution_localization", places, masks, weighted=True)
    assert ours("attribution_localization", places[:3], masks[:3], weighted=True).each == weighted.each[:3]
    # The paper divides the share by the region's, which gives an even map 1; theirs multiplies by it.
    plain, area = theirs(quantus.AttributionLocalisation(**PLAIN), places, masks), masks.double().mean((1, 2))
    np.testing.assert_allclose(weighted.each, np.array(plain) / area.numpy(), rtol=1e-5)
    np.testing.assert_allclose(three, (np.array(plain) * area.numpy())[:3], rtol=1e-5)


def test_ties_go_to_whatever_is_stored_first_with_them():
    places = torch.zeros(2, SIDE, SIDE)
    places[:, 6, 6] = 1.0  # all else ties, and neither region holds the top
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    masks[0, :4], masks[1, 8:] = True, True
    rank = theirs(quantus.RelevanceRankAccuracy(**PLAIN), places, masks)
    assert rank[0] != pytest.approx(rank[1], abs=0.5)
    mine = ours("relevance_rank", places, masks)
    assert mine.each[0] == mine.each[1] == pytest.approx(47 * 48 / 143 / 48)


def test_evidence_against_makes_their_mass_more_than_all():
    places = torch.zeros(1, SIDE, SIDE)
    places[0, 0, 0], places[0, 11, 11] = 2.0, -1.0
    masks = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    masks[0, :6] = True
    assert theirs(quantus.RelevanceMassAccuracy(**PLAIN), places, masks) == pytest.approx([2.0])
    assert ours("relevance_mass", places, masks).each == (1.0,)


def test_their_weighted_pointing_game_does_not_run(positive):
    places, masks = positive
    with pytest.raises((TypeError, ValueError)):
        theirs(quantus.PointingGame(weighted=True, **PLAIN), places, masks)
