"""Dummy, non-sensitivity and linearity on networks of which it is known what they read, and maps that are wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.dummy import dummy
from pellucid.checks.linearity import linearity
from pellucid.checks.non_sensitivity import non_sensitivity
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.method import Promise, method
from pellucid.core.target import logit, scalar
from pellucid.trials.layout import Layout
from pellucid.trials.sample import samples
from pellucid.trials.touched import cells_of, over_cells, random_values, read
from tests.networks import randomized

METHODS = pl.methods


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Left(nn.Module):
    """A small convolutional network that is shown the left half only."""

    def __init__(self) -> None:
        super().__init__()
        self.body = randomized(
            nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(96, 3)), 2
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x[..., :4])


X = torch.randn(2, 2, 6, 8, generator=seeded(3))


def with_map(why: Explanation, change: object) -> Explanation:
    return replace(why, maps={k: change(v) for k, v in why.maps.items()})


# Dummy


@pytest.mark.parametrize("name", ["saliency", "input_x_gradient", "integrated_gradients", "smooth_grad"])
def test_methods_give_nothing_to_what_is_never_read(name: str) -> None:
    found = dummy(getattr(METHODS, name)(Left(), X, 1))
    assert found.verdict is Verdict.HOLDS and found.each == (0.0, 0.0)
    assert dict(found.references)["unread"] == pytest.approx(0.5)


def test_a_map_that_spills_over_is_caught_and_measured() -> None:
    why = with_map(METHODS.input_x_gradient(Left(), X, 1), torch.ones_like)
    found = dummy(why)
    assert found.verdict is Verdict.FAILS and found.value == pytest.approx(0.5)
    spilled = torch.zeros(2, 1, 6, 8)
    spilled[:, :, 0, 0], spilled[0, :, 0, 7] = 3.0, -1.0  # a quarter of one sample's; a negative value is a value
    one = dummy(with_map(why, lambda _: spilled))
    assert one.each == pytest.approx((0.25, 0.0)) and one.verdict is Verdict.FAILS


def test_a_network_that_reads_everything_cannot_be_tested() -> None:
    found = dummy(METHODS.saliency(randomized(nn.Linear(6, 1), 1), torch.randn(1, 6), 0))
    assert found.verdict is Verdict.UNKNOWN and math.isnan(found.value)


def test_cells_that_are_read_in_part_hide_what_is_unread_in_them() -> None:
    why = METHODS.saliency(Left(), X, 1)
    assert dict(dummy(why, side=3).references)["unread"] == pytest.approx(0.25)  # of three columns, one is clear


def test_reading_is_found_place_by_place() -> None:
    net = nn.Linear(12, 1)
    net.weight.data.zero_()[0, [2, 7]] = torch.tensor([1.0, -1e-3])
    with samples(METHODS.saliency(net, torch.randn(1, 12, generator=seeded(0)), 0)) as (sample,):
        assert read(sample, cells_of(sample.layout, 12), 2).nonzero().flatten().tolist() == [2, 7]


def test_random_values_fill_the_range_and_leave_a_constant_input() -> None:
    x = torch.cat([torch.randn(1, 4000, generator=seeded(0)), torch.full((1, 4000), 2.0)])
    with samples(METHODS.saliency(nn.Linear(4000, 1), x, 0)) as found:
        drawn, constant = (random_values(s, 0) for s in found)
    low, high = x[0].aminmax()
    assert low <= drawn.min() and drawn.max() <= high and constant.min() >= 1.5 and constant.max() <= 2.5
    assert float(drawn.mean()) == pytest.approx(float((low + high) / 2), abs=4 * float(high - low) / math.sqrt(48000))


def test_cells_divide_each_axis_into_nearly_equal_blocks() -> None:
    cells = cells_of(Layout("picture", "x", (2, 3), (7, 10)), 3)
    assert cells[:, 0].tolist() == [0, 0, 0, 3, 3, 6, 6] and cells[0].tolist() == [0] * 4 + [1] * 3 + [2] * 3
    assert cells_of(Layout("picture", "x", (2, 3), (2, 3)), 99).flatten().tolist() == list(range(6))
    assert over_cells(torch.arange(70.0).view(7, 10), cells).tolist() == [23, 26, 29, 43, 46, 49, 63, 66, 69]


# Non-sensitivity


def test_the_exact_map_agrees_everywhere_and_errors_are_counted_apart() -> None:
    net = nn.Linear(8, 1)
    net.weight.data = torch.tensor([[1.0, -2.0, 0.0, 3.0, 0.0, 0.0, 1.0, -1.0]])  # reads five of eight
    why = METHODS.input_x_gradient(net, torch.ones(1, 8), 0)
    assert non_sensitivity(why).value == 0.0
    wrong = torch.tensor([[1.0, -2.0, 0.5, 0.0, 0.0, -0.5, 0.0, 0.0]])
    found = non_sensitivity(with_map(why, lambda _: wrong))
    assert found.value == pytest.approx(5 / 8)
    assert dict(found.references) == pytest.approx({"zero, yet it matters": 3 / 8, "a value, yet nothing": 2 / 8})


def test_pictures_and_several_samples() -> None:
    found = non_sensitivity(METHODS.input_x_gradient(Left(), X, 1))
    assert found.each == (0.0, 0.0) and found.passes == 2 * (3 * 48 + 1)
    halves = with_map(METHODS.input_x_gradient(Left(), X, 1), lambda v: v.flip(3))  # the wrong half
    assert non_sensitivity(halves).value == pytest.approx(1.0)


# Linearity


@method(title="Bent", family="none", paper="", promises=Promise.LINEAR)
def promises_too_much(f, x):
    return {k: v.abs() for k, v in f.grad(x).items()}


@pytest.mark.parametrize("name", ["input_x_gradient", "integrated_gradients", "occlusion", "shapley_sampling"])
def test_linear_methods_are_found_linear(name: str) -> None:
    found = linearity(getattr(METHODS, name)(Left(), X, 1), a=2.0, b=-3.0)
    assert found.verdict is Verdict.HOLDS and found.value < 1e-4


def test_absolute_values_are_not_linear_by_what_a_linear_network_says() -> None:
    net = randomized(nn.Linear(30, 3), 4)
    w = net.weight.detach()
    found = linearity(METHODS.saliency(net, torch.ones(1, 30), logit(2)), a=1.0, b=-0.5)  # the next class is the first
    miss = (w[2] - 0.5 * w[0]).abs() - w[2].abs() + 0.5 * w[0].abs()
    assert found.value == pytest.approx(float(miss.norm() / (w[2].norm() + 0.5 * w[0].norm())), rel=1e-4)
    assert found.verdict is Verdict.MEASURED
    assert linearity(promises_too_much(net, torch.ones(1, 30), 2)).verdict is Verdict.FAILS


def test_the_other_target_may_be_given_and_each_sample_keeps_its_class() -> None:
    net = Left()
    both = linearity(METHODS.saliency(net, X, logit((2, 0))))
    for i, own in enumerate((2, 0)):
        alone = linearity(METHODS.saliency(net, X[i : i + 1], own))
        assert both.each[i] == pytest.approx(alone.value, rel=1e-4)
    squares = scalar(lambda out: out.square().sum(1))
    assert linearity(METHODS.input_x_gradient(net, X, 1), other=squares).value < 1e-4
    with pytest.raises(BadInput, match="no other target"):
        linearity(METHODS.input_x_gradient(net, X, squares))
    with pytest.raises(BadInput, match="one class"):
        linearity(METHODS.input_x_gradient(randomized(nn.Linear(4, 1), 1), torch.ones(1, 4), 0))
