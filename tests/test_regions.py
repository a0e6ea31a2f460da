"""Marked regions: reading masks and boxes, growing them, their connected parts, and where to cut a map."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pellucid.core.errors import BadInput
from pellucid.methods.input_x_gradient import input_x_gradient
from pellucid.methods.saliency import saliency
from pellucid.trials.components import boxed, components, largest, otsu
from pellucid.trials.layout import Layout
from pellucid.trials.regions import dilated, levels, marks, region, share_of_top
from tests.flood import flooded
from tests.given_maps import pictured, with_map

PICTURE = Layout("picture", "x", (2, 3), (6, 5))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_masks(shape: tuple[int, ...], share: float, seed: int) -> Tensor:
    return torch.rand(shape, generator=seeded(seed)) < share


# --- masks and boxes ---------------------------------------------------------------------------------------------


def test_boxes_are_left_top_right_bottom_for_all_samples_or_for_each():
    inside = torch.zeros(6, 5, dtype=torch.bool)
    inside[1:3, 2:4] = True
    both = region([(2, 1, 4, 3)], PICTURE, 2)
    assert torch.equal(both, inside.expand(2, -1, -1))
    each = region([[(2, 1, 4, 3)], [(0, 0, 1, 1), (4, 5, 9, 9)]], PICTURE, 2)
    assert torch.equal(each[0], inside) and each[1].nonzero().tolist() == [[0, 0], [5, 4]]


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (torch.zeros(6, 5), "empty"),
        (torch.ones(6, 5), "whole picture"),
        (torch.stack([torch.eye(6, 5), torch.zeros(6, 5)]), "empty"),
        (torch.eye(5, 6), r"mask is \(5, 6\); expected \(6, 5\) or \(2, 6, 5\)"),
        ([], "empty"),
        ([[(0, 0, 1, 1)]], "1 list of boxes was given for 2 samples"),
        ([(9, 9, 12, 12)], "empty"),
    ],
)
def test_masks_that_mark_nothing_or_do_not_fit_are_refused(mask, says):
    with pytest.raises(BadInput, match=says):
        region(mask, PICTURE, 2)


def test_samples_without_a_mark_are_allowed_only_beside_others():
    mask = torch.stack([torch.eye(6, 5), torch.zeros(6, 5)])
    assert region(mask, PICTURE, 2, empty=True)[1].sum() == 0
    with pytest.raises(BadInput, match="empty"):
        region(torch.zeros(2, 6, 5), PICTURE, 2, empty=True)


def test_boxes_in_anything_but_a_picture_are_refused():
    with pytest.raises(BadInput, match="series"):
        region([(0, 0, 1, 1)], Layout("series", "x", (2,), (7,)), 1)


def test_the_mask_chooses_among_several_inputs_and_pictures_come_first():
    class Two(nn.Module):
        def forward(self, a, b):
            return (a.flatten(1).sum(1) + b.flatten(1).sum(1))[:, None]

    why = input_x_gradient(Two(), (torch.rand(1, 7), torch.rand(1, 3, 4, 4)), 0)
    assert marks(why, torch.arange(7) < 2).layout.input == "a"
    assert marks(why, [(0, 0, 2, 2)]).layout.input == "b"
    with pytest.raises(BadInput, match=r"mask is \(9,\); expected \(4, 4\)"):
        marks(why, torch.arange(9) < 2)


def test_words_are_places_and_so_are_those_of_an_inner_site():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = nn.Embedding(50, 8), nn.Linear(8, 1)

        def forward(self, ids):
            return self.out(self.words(ids).sum(1))

    found = marks(saliency(Bag(), torch.tensor([[3, 4, 9, 9, 1]]), 0), torch.arange(5) < 2)
    assert found.layout.kind == "text" and found.maps.shape == (1, 5)

    net = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    inner = saliency(net, torch.rand(1, 1, 8, 8), 0, at="1")
    assert marks(inner, torch.eye(3)).maps.shape == (1, 3, 3)
    with pytest.raises(BadInput, match="the places at 1"):
        marks(inner, torch.eye(8))


def test_channels_are_taken_together_as_asked():
    values = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1) * torch.eye(2)
    why = with_map(values)
    mask = torch.tensor([[True, False], [False, False]])
    for pooling, wanted in (("sum", 2.0), ("absolute", 2.0), ("max_norm", 3.0), ("l2_norm_squared", 10.0)):
        assert marks(why, mask, pooling=pooling).maps[0].tolist() == [[wanted, 0], [0, wanted]], pooling
    assert marks(with_map(-values), mask, pooling="absolute").maps[0, 0, 0] == 2.0


# --- dilated, top shares, levels -----------------------------------------------------------------------------------


@given(st.integers(0, 99), st.floats(0, 4.5), st.sampled_from([(9,), (7, 6), (5, 4, 6)]))
def test_dilated_regions_are_all_places_within_the_distance(seed, radius, shape):
    mask = some_masks((2, *shape), 0.1, seed)
    where = torch.cartesian_prod(*[torch.arange(n) for n in shape]).view(-1, len(shape)).double()
    for one, wide in zip(mask, dilated(mask, radius), strict=True):
        marked = where[one.flatten()]
        near = (torch.cdist(where, marked) <= radius + 1e-12).any(1) if len(marked) else torch.zeros(len(where))
        assert torch.equal(wide.flatten(), near.bool())


@given(st.lists(st.integers(0, 2), min_size=5, max_size=5), st.integers(1, 5), st.integers(0, 31))
def test_ties_count_as_often_as_random_orders_would_put_them_on_top(values, count, bits):
    places, inside = torch.tensor(values).double(), torch.tensor([bool(bits >> i & 1) for i in range(5)])
    hits = []
    for order in itertools.permutations(range(5)):
        top = sorted(order, key=lambda i: -values[i])[:count]  # a stable sort: ties stay in this order
        hits.append(sum(bool(inside[i]) for i in top) / count)
    assert share_of_top(places, inside, count) == pytest.approx(sum(hits) / len(hits))


def test_levels_count_what_reaches_each_value():
    places, inside = torch.tensor([2.0, 5.0, 2.0, -1.0]), torch.tensor([True, False, False, True])
    hits, shown = levels(places, inside)
    for value, hit, all_shown in zip((5.0, 2.0, -1.0), hits.tolist(), shown.tolist(), strict=True):
        assert hit == int((inside & (places >= value)).sum()) and all_shown == int((places >= value).sum())


# --- connected parts ---------------------------------------------------------------------------------------------


@given(st.integers(0, 999), st.sampled_from([0.2, 0.45, 0.7]), st.sampled_from([(12,), (9, 11), (4, 5, 6)]))
def test_components_are_those_of_a_flood(seed, share, shape):
    masks = some_masks((3, *shape), share, seed)
    for mask, found in zip(masks, components(masks), strict=True):
        assert torch.equal(found, flooded(mask))


def test_a_long_winding_part_is_one():
    mask = torch.zeros(41, 41, dtype=torch.bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    assert components(mask[None]).max() == 1
    mask[20, 20] = False
    assert components(mask[None]).max() == 2


def test_largest_part_and_box_of_a_hand_drawn_mask():
    mask = torch.tensor([[1, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]).bool()
    assert largest(mask).nonzero().tolist() == [[0, 4], [1, 3]]  # two of two places: the first
    assert boxed(largest(mask)).nonzero().tolist() == [[0, 3], [0, 4], [1, 3], [1, 4]]
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    assert not largest(nothing).any() and not boxed(nothing).any()


@given(st.lists(st.integers(-5, 20), min_size=2, max_size=12).filter(lambda v: len(set(v)) > 1))
def test_otsu_finds_the_best_of_all_splits(values):
    v = torch.tensor(values).double()

    def between(cut: float) -> float:
        low, high = v[v < cut], v[v >= cut]
        return len(low) * len(high) * float(low.mean() - high.mean()) ** 2 if len(low) and len(high) else -1.0

    best = max(between(float(cut)) for cut in v)
    assert between(otsu(v)) == pytest.approx(best) and otsu(v) in values


def test_pictured_maps_are_what_was_given():
    places = torch.rand(2, 4, 3)
    found = marks(pictured(*places), torch.eye(4, 3))
    assert torch.equal(found.maps, places.double()) and found.layout.kind == "picture"
