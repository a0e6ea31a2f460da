"""Sparseness, entropy and effective complexity on maps that are counted by hand and networks that read few places."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.complexity import complexity, spread
from pellucid.checks.effective_complexity import effective_complexity
from pellucid.checks.sparseness import gini, sparseness
from pellucid.core.check import Verdict
from pellucid.core.explanation import Explanation
from tests.networks import randomized

METHODS = pl.methods


def with_map(values: Tensor) -> Explanation:
    why = METHODS.saliency(Sum(), torch.ones_like(values), 0)
    return replace(why, maps={"x": values})


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1, keepdim=True)


def test_the_gini_index_by_hand() -> None:
    assert gini(torch.tensor([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.25)  # (-3 - 2 + 3 + 12) / (4 * 10)
    assert gini(torch.tensor([-4.0, 3.0, -2.0, 1.0])) == pytest.approx(0.25)
    assert gini(torch.full((7,), 3.0)) == pytest.approx(0.0)
    for n in (2, 5, 100):
        assert gini(torch.eye(n)[0]) == pytest.approx(1 - 1 / n)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=12), st.floats(0.01, 100))
def test_gini_is_the_mean_difference_of_pairs_and_knows_no_unit(values: list[float], unit: float) -> None:
    v = torch.tensor(values, dtype=torch.double)
    pairs = float((v[:, None] - v).abs().mean() / (2 * v.mean()))
    assert gini(v) == pytest.approx(pairs, abs=1e-9)
    assert gini(unit * v) == pytest.approx(pairs, abs=1e-9)
    assert gini(torch.cat([v, v])) == pytest.approx(pairs, abs=1e-9)  # cloning (Hurley and Rickard)


def test_the_entropy_by_hand() -> None:
    assert spread(torch.ones(16)) == pytest.approx(math.log(16))
    assert spread(torch.eye(9)[3]) == 0.0
    assert spread(torch.tensor([0.5, -0.25, 0.25, 0.0])) == pytest.approx(1.5 * math.log(2))


def test_measures_sum_channels_first_and_average_samples() -> None:
    values = torch.zeros(2, 3, 4, 5)
    values[0, :, 1, 1] = torch.tensor([2.0, -1.0, -1.0])  # takes itself back
    values[0, 0, 0, 0] = 1.0
    values[1] = 1.0
    found = complexity(with_map(values))
    assert found.each == pytest.approx((0.0, math.log(20)))
    assert dict(found.references)["effective share"] == pytest.approx((1 / 20 + 1) / 2)
    assert sparseness(with_map(values)).each == pytest.approx((0.95, 0.0), abs=1e-9)
    assert found.passes == 0 and found.verdict is Verdict.MEASURED


def test_maps_alone_will_do(tmp_path) -> None:
    saved = METHODS.input_x_gradient(randomized(nn.Linear(9, 2), 1), torch.randn(2, 9), 0)
    loaded = pl.load(saved.save(tmp_path / "why.pellucid"))
    assert sparseness(loaded).each == pytest.approx(sparseness(saved).each)
    words = randomized(nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 2)), 1)
    assert "5 places" in complexity(METHODS.input_x_gradient(words, torch.arange(5)[None], 0)).why


def test_a_zero_map_has_no_shape() -> None:
    for measure in (sparseness, complexity):
        both = measure(with_map(torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])))
        assert math.isnan(both.each[0]) and both.value == pytest.approx(both.each[1]) and "1 of 2 samples" in both.why
        none = measure(with_map(torch.zeros(1, 3, 4, 4)))
        assert none.verdict is Verdict.UNKNOWN and math.isnan(none.value)


# What the network needs


def reads(*places: int, width: int = 20) -> nn.Module:
    """A linear network that reads some columns, each as strongly."""
    net = nn.Linear(width, 1)
    net.weight.data.zero_()[0, list(places)] = 1.0
    return net


X = torch.rand(1, 20, generator=torch.Generator().manual_seed(1)) + 0.5


@pytest.mark.parametrize("places", [(3,), (1, 4, 17), tuple(range(10))])
def test_as_many_places_are_needed_as_the_network_reads(places: tuple[int, ...]) -> None:
    why = METHODS.input_x_gradient(reads(*places), X, 0)
    found = effective_complexity(why, allowed=1e-9, steps=200, draws=4)
    assert found.value == pytest.approx(len(places) / 20)
    curve = dict(zip(*(dict(found.curves)[k] for k in ("kept", "change left")), strict=True))
    assert curve[0] == 1.0 and curve[len(places)] == 0.0
    assert dict(found.references)["random order"] >= found.value


def test_a_map_that_points_elsewhere_needs_more() -> None:
    net = reads(1, 4, 17)
    wrong = replace(METHODS.input_x_gradient(net, X, 0), maps={"input": 1 - net.weight.detach()})
    # the three that it needs are its last, so at most two of them stand outside of the first 19
    assert effective_complexity(wrong, allowed=1e-9, steps=200).value == 1.0


def test_what_is_left_of_a_linear_networks_change_is_the_variance_of_what_is_random() -> None:
    net = reads(0, 1, 2, 3)
    net.weight.data[0, :4] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    x = torch.full((1, 20), 0.5)
    x[0, 10:12] = torch.tensor([0.0, 1.0])  # unread; they fix the range, whose middle the others lie at
    found = effective_complexity(METHODS.input_x_gradient(net, x, 0), draws=400, steps=200)
    left = dict(zip(*(dict(found.curves)[k] for k in ("kept", "change left")), strict=True))
    for kept, squares in ((1, 14), (2, 5), (3, 1)):
        assert left[kept] == pytest.approx(squares / 30, rel=0.3)
    assert found.value == pytest.approx(3 / 20)  # 1/30 is below a tenth, 5/30 is not


def test_a_network_that_does_not_look_needs_nothing() -> None:
    found = effective_complexity(replace(METHODS.input_x_gradient(reads(), X, 0), maps={"input": X}))
    assert found.verdict is Verdict.UNKNOWN and "does not change" in found.why
    assert effective_complexity(METHODS.input_x_gradient(reads(3), X, 0), steps=5, draws=2).passes <= 2 * 6 * 2 + 2
