"""Agreement between maps: hand-computed cases after Krishna et al. 2022, ties, and the map of the disagreement."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadOption
from pellucid.core.explanation import Explanation
from pellucid.methods.input_x_gradient import input_x_gradient
from pellucid.methods.saliency import saliency
from pellucid.trials.disagreement import Disagreement, disagreement
from tests.given_maps import with_map


def given(*rows: list[float], signed: bool = True) -> list[Explanation]:
    return [with_map(torch.tensor([row]).float(), signed=signed) for row in rows]


def pair(found: Disagreement, name: str) -> float:
    matrix = found.matrices[name]
    assert torch.equal(matrix.nan_to_num(9), matrix.T.nan_to_num(9))
    return float(matrix[0, 1])


def test_the_measures_on_a_hand_computed_case():
    # Sizes rank the columns 0 1 2 3 4 in the first map, and 0 2 1 4 3 in the second; column 2 changes its sign.
    found = disagreement(given([9, -8, 7, 2, 1], [5, -3, -4, 1, 2]), top=3)
    assert pair(found, "feature") == pytest.approx(1.0)  # columns 0, 1, 2 in both
    assert pair(found, "sign") == pytest.approx(2 / 3)  # not column 2
    assert pair(found, "rank") == pytest.approx(1 / 3)  # column 0 alone
    assert pair(found, "signed_rank") == pytest.approx(1 / 3)
    # Values rank as 4 0 3 2 1 and 4 1 0 2 3: differences 0 1 3 0 2, and 1 - 6 * 14 / (5 * 24).
    assert pair(found, "spearman") == pytest.approx(1 - 6 * 14 / 120)
    two = disagreement(given([9, -8, 7, 2, 1], [5, -3, -4, 1, 2]), top=2)
    assert pair(two, "feature") == pytest.approx(1 / 2) and pair(two, "sign") == pytest.approx(1 / 2)


def test_the_same_map_agrees_with_itself_also_in_ties_and_the_opposite_does_not():
    row = [3.0, 0.0, 0.0, 0.0, -1.0, 2.0]
    same = disagreement(given(row, row), top=4)
    for name in ("spearman", "feature", "sign", "rank", "signed_rank"):
        assert pair(same, name) == pytest.approx(1.0), name
    assert same.places.abs().max() == 0
    opposite = disagreement(given(row, [-v for v in row]), top=3)
    assert pair(opposite, "spearman") == pytest.approx(-1.0) and pair(opposite, "feature") == pytest.approx(1.0)
    assert pair(opposite, "rank") == pytest.approx(1.0)


def test_ties_for_the_last_place_count_in_part():
    tied, told = [1.0, 1.0, 1.0, 1.0], [4.0, 3.0, 2.0, 1.0]
    nearly = [5.0, 1.0, 1.0, 1.0]
    found = disagreement(given(nearly, told), top=2)
    assert pair(found, "feature") == pytest.approx((1 + 1 / 3) / 2)
    flat = disagreement(given(tied, told, nearly), top=2)
    assert torch.isnan(flat.feature[0, 0]).all() and torch.isnan(flat.spearman[0, 0, 1])
    assert torch.equal(flat.places, disagreement(given(told, nearly), top=2).places)


def test_maps_without_signs_have_no_sign_to_agree_on():
    one, other = given([1, 2, 3, 4])[0], given([1, 2, 4, 3], signed=False)[0]
    found = disagreement([one, other, one], top=2)
    assert torch.isnan(found.sign[0, 0, 1]) and torch.isnan(found.signed_rank[0, 1, 2])
    assert found.sign[0, 0, 2] == 1.0 and found.feature[0, 0, 1] == 1.0


@pytest.mark.parametrize("count", [2, 4, 6])
def test_the_disagreement_is_one_where_half_say_first_and_half_last(count):
    up = [float(v) for v in range(9)]
    rows = [up if i % 2 else up[::-1] for i in range(count)]
    found = disagreement(given(*rows)).places[0]
    wanted = (torch.arange(9) - 4).abs() / 4.0
    torch.testing.assert_close(found, wanted.double())


def test_places_are_twice_the_deviation_of_the_ranks():
    maps = [torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    found = disagreement([with_map(m) for m in maps])
    assert found.places.shape == (2, 5, 4) and found.top == 2
    flat = torch.stack([m.sum(1).double().flatten(1) for m in maps])
    ranked = (flat[..., None] > flat[..., None, :]).sum(-1).double() / 19
    torch.testing.assert_close(found.places.flatten(1), 2 * ranked.std(0, correction=0))
    assert found.places.min() >= 0 and found.places.max() <= 1
    alone = disagreement([with_map(m[:1]) for m in maps])
    assert torch.equal(alone.places[0], found.places[0]) and torch.equal(alone.rank[0], found.rank[0])


def test_random_maps_agree_by_chance():
    maps = [with_map(torch.randn(1, 1, 60, 60, generator=torch.Generator().manual_seed(i))) for i in range(2)]
    found = disagreement(maps)
    assert abs(pair(found, "spearman")) < 4 / 60 and pair(found, "feature") == pytest.approx(0.1, abs=0.06)
    # The deviation of two uniform ranks: E|u - v| / 2 doubled, which is 1/3.
    assert float(found.places.mean()) == pytest.approx(1 / 3, abs=0.02)


def test_blocks_can_be_compared_in_place_of_pixels():
    places = torch.rand(1, 1, 28, 28)
    found = disagreement([with_map(places), with_map(places.roll(1, 3))], cells=7)
    means = [nn.functional.avg_pool2d(v, 4).flatten() for v in (places, places.roll(1, 3))]
    plain = disagreement([with_map(m[None]) for m in means])
    assert found.places.shape == (1, 7, 7)
    torch.testing.assert_close(found.spearman, plain.spearman)


def test_real_methods_and_words():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = nn.Embedding(50, 8), nn.Linear(8, 2)

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.words(ids).sum(1))

    net, ids = Bag(), torch.tensor([[3, 4, 9, 12, 1, 30]])
    found = disagreement([saliency(net, ids, 0), input_x_gradient(net, ids, 0), input_x_gradient(net, ids, 0)], top=2)
    assert found.names == ("saliency", "input_x_gradient (1)", "input_x_gradient (2)")
    assert found.places.shape == (1, 6) and found.spearman[0, 1, 2] == pytest.approx(1.0)


def test_what_is_not_one_prediction_is_refused():
    one, other = given([1, 2, 3], [3, 2, 1])
    with pytest.raises(BadInput, match="takes two"):
        disagreement([one])
    with pytest.raises(BadInput, match="on another input"):
        disagreement([one, replace(other, x={k: v + 1 for k, v in other.x.items()})])
    with pytest.raises(BadInput, match="Compare explanations"):
        disagreement([one, replace(other, target="logit of class 1")])
    with pytest.raises(BadInput, match="no common input"):
        disagreement([one, replace(other, maps={"elsewhere": torch.ones(1, 3)})])
    with pytest.raises(BadOption, match="3 places"):
        disagreement([one, other], top=4)
