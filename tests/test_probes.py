"""Masks, infill and measures of agreement against hand-computed cases."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.core.errors import BadInput, BadOption
from pellucid.probes.infill import blur, constant, mean, pull_push
from pellucid.probes.masks import blobs, spans, subsets
from pellucid.trials.agreement import entropy, interval, pearson, ranks, spearman
from tests.planted import seeded

# --- masks -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 24), st.integers(2, 24), st.floats(0.01, 0.99), st.integers(0, 9))
def test_every_mask_removes_exactly_the_same_share(height, width, area, seed):
    masks = blobs(5, height, width, area, seeded(seed))
    expected = min(max(round(area * height * width), 1), height * width - 1)
    assert masks.flatten(1).sum(1).tolist() == [expected] * 5


def test_sequences_and_tables_have_fixed_shares_too():
    assert spans(6, 33, 0.2, seeded(0)).sum(1).tolist() == [7] * 6
    assert subsets(6, 11, 0.2, seeded(0)).sum(1).tolist() == [2] * 6


def test_no_place_is_likelier_to_be_removed_than_another():
    share = blobs(2000, 16, 16, 0.3, seeded(0)).float().mean(0)
    # Under stationarity each share is a mean of 2000 Bernoulli(.3) draws; 5 sigma over 256 places.
    assert float((share - 0.3).abs().max()) < 5 * math.sqrt(0.21 / 2000)


def test_blobs_are_made_of_patches_and_not_of_dust():
    def border(masks):
        return float((masks != masks.roll(1, -1)).float().mean())

    dust = subsets(64, 64 * 64, 0.3, seeded(0)).view(64, 64, 64)
    assert border(blobs(64, 64, 64, 0.3, seeded(0))) < border(dust) / 4


@pytest.mark.parametrize("area", [0.0, 1.0, -0.2, float("nan")])
def test_an_area_outside_0_to_1_is_refused(area):
    with pytest.raises(BadOption, match="area="):
        blobs(2, 8, 8, area, seeded(0))


# --- infill ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 41), st.integers(3, 41), st.floats(-2, 2))
def test_pull_push_keeps_kept_pixels_and_constant_pictures(height, width, level):
    masks = blobs(3, height, width, 0.3, seeded(height * 50 + width))
    x = torch.randn(3, 2, height, width, generator=seeded(1))
    kept = ~masks[:, None].expand_as(x)
    assert torch.equal(pull_push(x, masks)[kept], x[kept])
    flat = torch.full_like(x, level)
    torch.testing.assert_close(pull_push(flat, masks), flat)


def test_pull_push_fills_within_the_range_of_what_is_kept_and_never_sees_what_is_removed():
    masks = blobs(4, 37, 50, 0.4, seeded(0))
    x = torch.rand(4, 1, 37, 50, generator=seeded(1))
    filled = pull_push(x, masks)
    for one, kept in zip(filled, ~masks, strict=True):
        low, high = one[0][kept].aminmax()
        assert low - 1e-6 <= one.min() and one.max() <= high + 1e-6
    other = torch.where(masks[:, None], torch.randn(x.shape, generator=seeded(2)), x)
    torch.testing.assert_close(pull_push(other, masks), filled)


@pytest.mark.parametrize("size", [(64, 64), (61, 45)])
def test_pull_push_nearly_reproduces_a_slope_inside_the_picture(size):
    down, right = torch.meshgrid(*(torch.linspace(0, 1, n) for n in size), indexing="ij")
    slope = (down + right)[None, None] / 2
    hole = torch.zeros(1, *size, dtype=torch.bool)
    hole[:, 20:34, 17:31] = True
    away = (pull_push(slope, hole) - slope)[0, 0][hole[0]].abs()
    by_mean = (mean(slope, hole[:, None]) - slope)[0, 0][hole[0]].abs()
    assert float(away.mean()) < 0.25 * float(by_mean.mean())
    assert float(away.max()) < 0.06  # of a slope from 0 to 1


def test_mean_and_constant_against_a_hand_computed_case():
    x = torch.tensor([[[1.0, 3.0, 9.0], [0.0, 4.0, -7.0]]])
    mask = torch.tensor([[[False, False, True]]])
    assert mean(x, mask).tolist() == [[[1.0, 3.0, 2.0], [0.0, 4.0, 2.0]]]
    assert constant(x, mask, 5.0).tolist() == [[[1.0, 3.0, 5.0], [0.0, 4.0, 5.0]]]


def test_blur_is_the_identity_on_constants_and_smooths_the_rest():
    x = torch.rand(1, 1, 20, 30, generator=seeded(0))
    mask = torch.ones(1, 20, 30, dtype=torch.bool)
    torch.testing.assert_close(blur(torch.ones_like(x), mask), torch.ones_like(x))
    assert float(blur(x, mask).std()) < 0.5 * float(x.std())


def test_a_mask_that_leaves_nothing_is_refused():
    with pytest.raises(BadInput, match="whole input"):
        pull_push(torch.ones(1, 1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool))


# --- agreement ---------------------------------------------------------------------------------------------------


def test_pearson_on_a_hand_computed_case():
    # Deviations (-1, 0, 1) and (-1, 1, 0): product 1, lengths sqrt(2) each.
    assert float(pearson(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1.0, 3.0, 2.0]))) == pytest.approx(0.5)
    assert math.isnan(float(pearson(torch.full((1, 3), 0.1), torch.tensor([1.0, 3.0, 2.0]))))


def test_pearson_agrees_with_the_standard_library():
    a, b = torch.randn(2, 40, generator=seeded(0), dtype=torch.double)
    assert float(pearson(a, b)) == pytest.approx(statistics.correlation(a.tolist(), b.tolist()), abs=1e-12)


def test_ranks_share_the_average_place_of_ties():
    assert ranks(torch.tensor([5.0, 1.0, 5.0, 0.0, 5.0])).tolist() == [3.0, 1.0, 3.0, 0.0, 3.0]
    # Spearman without ties is 1 - 6 sum d^2 / (n (n^2 - 1)); here the places differ by (0, 1, -1, 0).
    swapped = spearman(torch.tensor([0.1, 0.2, 0.3, 9.0]), torch.tensor([1.0, 3.0, 2.0, 4.0]))
    assert swapped == pytest.approx(1 - 6 * 2 / 60)


def test_entropy_of_equally_filled_bins_and_interval_of_known_quantiles():
    assert entropy(torch.arange(100.0)) == pytest.approx(math.log(100))
    assert interval(torch.linspace(0, 100, 101)) == pytest.approx((2.5, 97.5))
