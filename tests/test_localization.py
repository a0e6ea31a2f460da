"""Maps against marked regions: every measure on hand-computed cases, by enumeration, and where it must refuse."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.checks import all_checks
from pellucid.checks.intersection_over_union import overlap
from pellucid.checks.pixel_auc import auroc, average_precision, expected_precision
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput, BadOption
from pellucid.trials.components import boxed, components, largest
from tests.given_maps import pictured, with_map

CHECKS = all_checks()
NAMES = (
    "pointing_game", "relevance_mass", "relevance_rank", "attribution_localization", "top_k_intersection",
    "intersection_over_union", "pixel_auc",
)  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def references(check) -> dict[str, float]:
    return dict(check.references)


def corner(height: int = 8, width: int = 8) -> torch.Tensor:
    """A mask of the upper left quarter."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[: height // 2, : width // 2] = True
    return mask


# --- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_itself_as_a_map_is_perfect_and_its_complement_the_worst(name):
    mask, options = corner(), {"k": 16} if name == "top_k_intersection" else {}
    if name == "pointing_game":
        options = {"tolerance": 0.0}
    perfect, worst = (CHECKS[name](pictured(m), mask=mask, **options) for m in (mask, ~mask))
    assert (perfect.value, worst.value) == (1.0, 0.0)
    assert perfect.verdict is Verdict.MEASURED and 0 < references(perfect)["chance"] < 1
    assert perfect.why.endswith(".") and perfect.passes == 0


@pytest.mark.parametrize("name", NAMES)
def test_samples_together_get_what_each_gets_alone(name):
    places = torch.randn(3, 9, 7, generator=seeded(1))
    masks = torch.rand(3, 9, 7, generator=seeded(2)) < 0.3
    together = CHECKS[name](pictured(*places), mask=masks)
    alone = [CHECKS[name](pictured(p), mask=m) for p, m in zip(places, masks, strict=True)]
    assert together.each == tuple(check.value for check in alone)
    assert together.value == pytest.approx(sum(together.each) / 3)
    for label, value in together.references:
        assert value == pytest.approx(sum(references(check)[label] for check in alone) / 3), label


@pytest.mark.parametrize("name", NAMES)
def test_flat_maps_and_missing_masks_are_not_told_and_bad_masks_refused(name):
    flat, mask = torch.zeros(8, 8), corner()
    assert CHECKS[name](pictured(torch.eye(8))).verdict is Verdict.UNKNOWN
    for level in (0.0, 2.0):
        found = CHECKS[name](pictured(flat + level), mask=mask)
        assert found.verdict is Verdict.UNKNOWN and math.isnan(found.value)
    some = CHECKS[name](pictured(flat, mask.float()), mask=mask)
    assert math.isnan(some.each[0]) and some.value == some.each[1] and "1 of 2 samples" in some.why
    with pytest.raises(BadInput, match="empty"):
        CHECKS[name](pictured(torch.eye(8)), mask=torch.zeros(8, 8))
    with pytest.raises(BadInput, match="mask is"):
        CHECKS[name](pictured(torch.eye(8)), mask=torch.eye(7))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 3, 12), (1, 2, 4, 5, 6), (1, 12)], ids=["series", "volume", "table"])
def test_other_inputs_than_pictures_have_places_too(name, shape):
    values = torch.rand(shape, generator=seeded(4))
    places = values.sum(1) if len(shape) == 5 else values.sum(2) if len(shape) == 3 else values
    mask = places == places.max()
    found = CHECKS[name](with_map(values), mask=mask, **({"k": 1} if name == "top_k_intersection" else {}))
    if name in ("pointing_game", "relevance_rank", "pixel_auc", "top_k_intersection"):
        assert found.value == 1.0
    assert ("center" in references(found)) == (len(shape) != 2)


def test_only_with_enough_samples_is_there_an_interval():
    places, mask = torch.rand(12, 6, 6, generator=seeded(0)), corner(6, 6)
    few = CHECKS["relevance_mass"](pictured(*places[:4]), mask=mask)
    many = CHECKS["relevance_mass"](pictured(*places), mask=mask)
    assert math.isnan(few.low) and min(many.each) < many.low < many.value < many.high < max(many.each)


# --- pointing game -----------------------------------------------------------------------------------------------


def test_a_miss_by_so_many_pixels_is_a_hit_with_that_tolerance():
    places, mask = torch.zeros(20, 20), torch.zeros(20, 20)
    places[10, 10], mask[10, 16] = 1.0, 1.0
    for tolerance, wanted in ((0, 0.0), (5.9, 0.0), (6, 1.0)):
        assert CHECKS["pointing_game"](pictured(places), mask=mask, tolerance=tolerance).value == wanted
    mask[13, 14] = 1.0  # five away: 3 down, 4 to the right
    assert CHECKS["pointing_game"](pictured(places), mask=mask, tolerance=5).value == 1.0
    assert CHECKS["pointing_game"](pictured(places), mask=mask, tolerance=4.9).value == 0.0


@pytest.mark.parametrize(("side", "away", "wanted"), [(224, 15, 1.0), (224, 16, 0.0), (112, 7, 1.0), (112, 8, 0.0)])
def test_the_papers_fifteen_pixels_are_scaled_with_the_picture(side, away, wanted):
    places, mask = torch.zeros(side, side + 9), torch.zeros(side, side + 9)
    places[50, 50], mask[50, 50 + away] = 1.0, 1.0
    assert CHECKS["pointing_game"](pictured(places), mask=mask).value == wanted


def test_places_that_tie_count_in_part_and_chance_is_the_mean_over_all_points():
    places, mask = torch.zeros(8, 8), corner()
    places[0, 0] = places[0, 1] = places[7, 7] = places[6, 7] = 2.0
    assert CHECKS["pointing_game"](pictured(places), mask=mask, tolerance=0).value == 0.5
    points = torch.eye(64).view(64, 8, 8)
    found = CHECKS["pointing_game"](pictured(*points), mask=mask, tolerance=1.5)
    assert found.value == pytest.approx(references(found)["chance"])
    assert references(CHECKS["pointing_game"](pictured(places), mask=mask, tolerance=0))["center"] == 0.25


def test_columns_have_no_neighbors():
    with pytest.raises(BadOption, match="no neighbors"):
        CHECKS["pointing_game"](with_map(torch.rand(1, 5)), mask=torch.arange(5) < 2, tolerance=1)
    for options in ({"part": "largest"}, {"boxes": True}):
        with pytest.raises(BadOption, match="no neighbors"):
            CHECKS["intersection_over_union"](with_map(torch.rand(1, 5)), mask=torch.arange(5) < 2, **options)


# --- shares of the evidence, shares of the highest places --------------------------------------------------------


def test_mass_of_a_mask_and_of_its_complement_is_one_and_a_rolled_maps_mean_is_chance():
    places, mask = torch.randn(6, 5, generator=seeded(3)), torch.rand(6, 5, generator=seeded(4)) < 0.3
    mass = CHECKS["relevance_mass"]
    inside, outside = (mass(pictured(places), mask=m).value for m in (mask, ~mask))
    assert inside + outside == pytest.approx(1.0)
    every = [places.roll((i, j), (0, 1)) for i in range(6) for j in range(5)]
    found = mass(pictured(*every), mask=mask)
    assert found.value == pytest.approx(references(found)["chance"])


def test_mass_by_pooling_on_a_hand_computed_case():
    values = torch.zeros(1, 2, 1, 2)
    values[0, :, 0, 0], values[0, :, 0, 1] = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 0.0])
    mask = torch.tensor([[True, False]])
    for pooling, wanted in (("sum", 2 / 3), ("max_norm", 3 / 4), ("l2_norm_squared", 10 / 11)):
        assert CHECKS["relevance_mass"](with_map(values), mask=mask, pooling=pooling).value == pytest.approx(wanted)
        assert CHECKS["relevance_rank"](with_map(values), mask=mask, pooling=pooling).value == 1.0
    assert CHECKS["relevance_mass"](with_map(-values), mask=mask, pooling="absolute").value == pytest.approx(2 / 3)


def test_weighted_attribution_localization_does_not_depend_on_the_batch_and_is_one_for_even_evidence():
    measure, mask = CHECKS["attribution_localization"], corner()
    places = torch.rand(4, 8, 8, generator=seeded(0))
    alone = measure(pictured(places[0]), mask=mask, weighted=True)
    assert measure(pictured(*places), mask=mask, weighted=True).each[0] == alone.value
    assert alone.value == pytest.approx(4 * measure(pictured(places[0]), mask=mask).value)
    every = [places[0].roll((i, j), (0, 1)) for i in range(8) for j in range(8)]
    even = measure(pictured(*every), mask=mask, weighted=True)
    assert even.value == pytest.approx(1.0) and references(even)["chance"] == 1.0


def test_large_regions_are_left_out_when_asked():
    masks = torch.stack([corner(), torch.zeros(8, 8, dtype=torch.bool).index_fill_(0, torch.arange(6), True)])
    places = torch.rand(8, 8, generator=seeded(0))
    found = CHECKS["attribution_localization"](pictured(places, places), mask=masks, max_size=0.25)
    assert not math.isnan(found.each[0]) and math.isnan(found.each[1])


def test_the_order_of_storage_is_no_advantage_among_ties():
    places = torch.zeros(8, 8)
    places[0, 0] = 1.0  # everything else ties
    for turned in (corner(), corner().flip(0), corner().flip(0, 1)):
        hit = float(turned[0, 0])
        rank = CHECKS["relevance_rank"](pictured(places), mask=turned).value
        top = CHECKS["top_k_intersection"](pictured(places), mask=turned, k=16).value
        assert rank == top == pytest.approx((hit + 15 * (16 - hit) / 63) / 16)


def test_top_k_with_concept_influence_and_more_places_than_are_marked():
    places, mask = torch.arange(64.0).view(8, 8), torch.zeros(8, 8, dtype=torch.bool)
    mask[7, 4:] = True  # the four highest
    plain = CHECKS["top_k_intersection"](pictured(places), mask=mask, k=8)
    influence = CHECKS["top_k_intersection"](pictured(places), mask=mask, k=8, concept_influence=True)
    assert (plain.value, references(plain)["best"], references(plain)["chance"]) == (0.5, 0.5, 4 / 64)
    assert (influence.value, references(influence)["best"], references(influence)["chance"]) == (8.0, 8.0, 1.0)
    assert "1 highest" in CHECKS["top_k_intersection"](pictured(places), mask=mask).why  # 2 % of 64
    with pytest.raises(BadOption, match="64 places"):
        CHECKS["top_k_intersection"](pictured(places), mask=mask, k=65)


# --- AUC ---------------------------------------------------------------------------------------------------------

LISTS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=3, max_size=14).filter(
    lambda pairs: 0 < sum(b for _, b in pairs) < len(pairs)
)


@given(LISTS)
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs):
    marked, others = ([v for v, b in pairs if b is wanted] for wanted in (True, False))
    right = sum((m > o) + 0.5 * (m == o) for m in marked for o in others) / (len(marked) * len(others))
    values, inside = torch.tensor([v for v, _ in pairs]).double(), torch.tensor([b for _, b in pairs])
    assert auroc(values, inside) == pytest.approx(right)
    assert auroc(-values, inside) == pytest.approx(1 - right)


@given(LISTS)
def test_average_precision_is_the_mean_precision_at_the_marked_places(pairs):
    def precision(at: int) -> float:
        above = [b for v, b in pairs if v >= at]
        return sum(above) / len(above)

    marked = [v for v, b in pairs if b]
    values, inside = torch.tensor([v for v, _ in pairs]).double(), torch.tensor([b for _, b in pairs])
    assert average_precision(values, inside) == pytest.approx(sum(map(precision, marked)) / len(marked))


@pytest.mark.parametrize("marked", [1, 2, 5])
def test_chance_of_average_precision_is_the_mean_over_all_orders(marked):
    inside = torch.arange(6) < marked
    orders = [torch.tensor(order).double() for order in itertools.permutations(range(6))]
    mean = sum(average_precision(order, inside) for order in orders) / len(orders)
    assert expected_precision(inside) == pytest.approx(mean)


def test_the_drawn_curves_are_the_best_within_each_rate():
    places = torch.randperm(32, generator=seeded(0)).double().view(4, 8)
    mask = torch.zeros(32, dtype=torch.bool)
    mask[torch.randperm(32, generator=seeded(1))[:12]] = True  # 20 others: each rate is a whole number of them
    mask = mask.view(4, 8)
    (_, rates), (_, found) = CHECKS["pixel_auc"](pictured(places), mask=mask).curves
    cuts = [places >= v for v in range(33)]
    for rate, hit in zip(rates, found, strict=True):
        allowed = [c for c in cuts if float((c & ~mask).sum()) / 20 <= rate + 1e-9]
        assert hit == pytest.approx(max(float((c & mask).sum()) / 12 for c in allowed))
    check = CHECKS["pixel_auc"](pictured(places), mask=mask, area_under="precision_recall")
    assert check.curves[1][1][-1] == pytest.approx(12 / float((places >= places[mask].min()).sum()))
    assert check.value == pytest.approx(average_precision(places, mask))


# --- intersection over union -------------------------------------------------------------------------------------


def test_each_cut_on_a_hand_computed_case():
    places = torch.tensor([[10.0, 9.0, 4.0, 1.0, 0.0, -5.0]])
    mask = torch.tensor([[True, False, True, True, False, False]])
    iou = CHECKS["intersection_over_union"]
    for options, wanted in (
        ({"threshold": "otsu"}, 1 / 4),  # 10 and 9 against the others
        ({"threshold": "area"}, 2 / 4),  # the three highest
        ({"threshold": "area", "at": 1 / 6}, 1 / 3),
        ({"threshold": "level"}, 2 / 4),  # from 2 up
        ({"threshold": "level", "at": 0.05}, 3 / 4),
        ({"threshold": "value", "at": 9.5}, 1 / 3),
        ({"threshold": "value", "at": 11.0}, 0.0),
        ({"threshold": "area", "figure": "dice"}, 4 / 6),
    ):
        assert iou(pictured(places), mask=mask, **options).value == pytest.approx(wanted), options
    found = iou(pictured(places), mask=mask)
    assert references(found)["best threshold"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("figure", ["iou", "dice"])
@pytest.mark.parametrize(("shown", "marked"), [(1, 2), (3, 3), (5, 4)])
def test_chance_is_the_mean_over_all_sets_of_as_many_places(figure, shown, marked):
    mask, places = torch.arange(7) < marked, torch.arange(7).flip(0).float()
    every = [torch.isin(torch.arange(7), torch.tensor(c)) for c in itertools.combinations(range(7), shown)]
    mean = sum(overlap(one, mask, figure) for one in every) / len(every)
    found = CHECKS["intersection_over_union"](
        pictured(places[None]), mask=mask[None], threshold="area", at=shown / 7, figure=figure
    )
    assert references(found)["chance"] == pytest.approx(mean)


def test_the_best_threshold_is_the_best_of_all_cuts():
    places, mask = torch.randn(6, 7, generator=seeded(5)), torch.rand(6, 7, generator=seeded(6)) < 0.4
    cuts = [overlap(places >= v, mask) for v in places[places > 0].tolist()]
    found = CHECKS["intersection_over_union"](pictured(places), mask=mask)
    assert references(found)["best threshold"] == pytest.approx(max(cuts)) and found.value <= max(cuts)
    shares, drawn = (numbers for _, numbers in found.curves)
    for share, value in zip(shares, drawn, strict=True):
        keep = (places >= places.flatten().topk(round(share * 42)).values[-1]) & (places > 0)
        assert value == pytest.approx(overlap(keep, mask))


def test_boxes_around_the_largest_part_and_their_chance_by_trying_every_place():
    places, mask = torch.zeros(7, 6), torch.zeros(7, 6, dtype=torch.bool)
    places[1, 1] = places[2, 2] = places[2, 1] = 1.0  # a part of three, and one of one
    places[6, 5] = 1.0
    mask[1:3, 1:4] = True  # 2 x 3, and another object
    mask[5:7, 0:1] = True
    iou = CHECKS["intersection_over_union"]
    part = iou(pictured(places), mask=mask, part="largest")
    assert part.value == pytest.approx(3 / 8)
    found = iou(pictured(places), mask=mask, boxes=True)
    assert found.value == pytest.approx(4 / 6)
    objects = components(mask[None])[0]
    moved = []
    for i, j in itertools.product(range(6), range(5)):  # a box of 2 x 2
        box = torch.zeros(7, 6, dtype=torch.bool)
        box[i : i + 2, j : j + 2] = True
        moved.append(max(overlap(box, boxed(objects == n)) for n in (1, 2)))
    assert references(found)["chance"] == pytest.approx(sum(moved) / len(moved))
    assert torch.equal(largest(places > 0), (places > 0) & (torch.arange(7)[:, None] < 4))


@pytest.mark.parametrize(
    "options", [{"threshold": "value"}, {"at": 0.5}, {"threshold": "area", "at": 1.5}, {"threshold": "level", "at": 0}]
)
def test_cuts_that_cannot_be_are_refused(options):
    with pytest.raises(BadOption, match=r"at=|value"):
        CHECKS["intersection_over_union"](pictured(torch.eye(4)), mask=torch.eye(4), **options)
