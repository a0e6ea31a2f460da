"""Deletion, insertion and pixel flipping against closed forms: linear networks, enumerated orders, planted ties."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.deletion import deletion
from pellucid.checks.insertion import insertion
from pellucid.checks.pixel_flipping import pixel_flipping
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput, BadOption
from pellucid.core.explanation import Explanation
from pellucid.core.measure import Measure
from pellucid.core.run import Run, running
from pellucid.trials.ordered import counts_of, first, order_of
from tests.networks import randomized
from tests.traces import fingerprint

MANY = 4096


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def curve(check: Check, name: str) -> list[float]:
    return list(dict(check.curves)[name])


class Words(nn.Module):
    """Adds up a number for each word and place: linear in the words' vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 4)
        self.weight = nn.Parameter(torch.randn(7, 4, generator=seeded(3)))

    def forward(self, x: Tensor) -> Tensor:
        return (self.table(x) * self.weight).sum((1, 2))[:, None]


def flat_line(*shape: int) -> nn.Module:
    return randomized(nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 1)), 1)


class Series(nn.Module):
    """[batch, channels, time], as a Conv1d says."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.line = nn.Conv1d(2, 2, 1), nn.Linear(22, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.one(x).flatten(1))


INPUTS: dict[str, Callable[[], tuple[nn.Module, Tensor, float]]] = {
    "table": lambda: (flat_line(9), torch.randn(2, 9, generator=seeded(2)), 0.0),
    "picture": lambda: (flat_line(3, 5, 4), torch.randn(2, 3, 5, 4, generator=seeded(2)), 0.0),
    "series": lambda: (randomized(Series(), 1), torch.randn(2, 2, 11, generator=seeded(2)), 0.0),
    "volume": lambda: (flat_line(1, 3, 4, 2), torch.randn(2, 1, 3, 4, 2, generator=seeded(2)), 0.0),
    "text": lambda: (Words(), torch.randint(20, (2, 7), generator=seeded(2)), 0.0),
    "another infill": lambda: (flat_line(3, 5, 4), torch.randn(2, 3, 5, 4, generator=seeded(2)), 0.7),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_on_a_linear_network_the_curves_are_sums_of_sorted_contributions(kind: str) -> None:
    net, x, value = INPUTS[kind]()
    why = pl.methods.integrated_gradients(net, x, 0, baseline=value)
    (name,) = why.maps
    if kind in ("picture", "another infill"):
        parts = why.maps[name].double().sum(1).flatten(1)
    elif kind == "series":
        parts = why.maps[name].double().sum(1)
    else:
        parts = why.maps[name].double().flatten(2).sum(2) if kind == "text" else why.maps[name].double().flatten(1)
    start = net(x).double().detach()
    sums = torch.cat([torch.zeros(2, 1), parts.sort(1, descending=True).values.cumsum(1)], 1)
    gone, back = start - sums, start - sums[:, -1:] + sums
    for check, wanted in ((deletion, gone), (insertion, back)):
        found = check(why, steps=MANY, fill="constant", value=value)
        torch.testing.assert_close(torch.tensor(curve(found, "map")), wanted.mean(0).float(), atol=1e-4, rtol=1e-4)
        areas = torch.trapezoid(wanted, dim=1) / parts.shape[1]
        torch.testing.assert_close(torch.tensor(found.each), areas.float(), atol=1e-4, rtol=1e-4)
        assert found.value == pytest.approx(float(areas.mean()), abs=1e-4)
        assert found.verdict is Verdict.MEASURED

    flipped = pixel_flipping(why, steps=MANY, fill="constant", value=value)
    up = torch.cat([torch.zeros(2, 1), parts.sort(1).values.cumsum(1)], 1)
    gains = (sums - up)[:, 1:-1].mean(1)
    torch.testing.assert_close(torch.tensor(flipped.each), gains.float(), atol=1e-4, rtol=1e-4)


@pytest.fixture
def small() -> Explanation:
    """Five columns of a linear network."""
    net = randomized(nn.Linear(5, 1), 4)
    return pl.methods.input_x_gradient(net, torch.randn(1, 5, generator=seeded(7)), 0)


def having(why: Explanation, values: Tensor) -> Explanation:
    (name,) = why.maps
    return replace(why, maps={name: values})


def test_of_all_orders_that_of_the_exact_map_gains_most(small: Explanation) -> None:
    gains = [
        pixel_flipping(having(small, torch.tensor([order]).float()), randoms=0).value
        for order in itertools.permutations(range(5))
    ]
    exact = pixel_flipping(small, randoms=0).value
    assert exact == pytest.approx(max(gains)) and exact > 0
    assert pixel_flipping(having(small, -small.values), randoms=0).value == pytest.approx(min(gains))
    assert abs(sum(gains)) < 1e-4 * exact * len(gains)


def tanh_net() -> nn.Module:
    return randomized(nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 3)), 5)


@pytest.fixture
def pictures() -> Explanation:
    """Three small pictures of a network with three classes; half of each map is a tie at zero."""
    x = torch.randn(3, 1, 6, 8, generator=seeded(8))
    why = pl.methods.input_x_gradient(tanh_net(), x, [0, 2, 1])
    return having(why, why.values.clamp(min=0))


@pytest.mark.parametrize("check", [deletion, insertion, pixel_flipping])
def test_an_increasing_change_of_the_map_changes_nothing(check: Callable[..., Check], pictures: Explanation) -> None:
    wanted = check(pictures, randoms=0)
    for change in (lambda v: 3 * v + 2, torch.exp, lambda v: v.double() ** 3):
        found = check(having(pictures, change(pictures.values)), randoms=0)
        assert found.each == wanted.each


@pytest.mark.parametrize("fill", ["inpainted", "noisy_linear", "mean", "blur", "noise", "constant"])
def test_the_negated_map_has_the_negated_gain_ties_and_all(fill: str, pictures: Explanation) -> None:
    found = pixel_flipping(pictures, randoms=0, fill=fill)
    negated = pixel_flipping(having(pictures, -pictures.values), randoms=0, fill=fill)
    assert negated.each == pytest.approx([-gain for gain in found.each], rel=1e-5)
    assert len(set(found.each)) == 3


@pytest.mark.parametrize("check", [deletion, insertion, pixel_flipping])
def test_samples_measure_together_as_alone(check: Callable[..., Check], pictures: Explanation) -> None:
    together = check(pictures)
    for i, which in enumerate((0, 2, 1)):
        alone = pl.methods.input_x_gradient(tanh_net(), pictures.x["input"][i : i + 1], which)
        found = check(having(alone, alone.values.clamp(min=0)))
        assert found.value == pytest.approx(together.each[i], rel=1e-5)
    assert together.value == pytest.approx(sum(together.each) / 3)


def test_a_random_order_gains_nothing_on_average() -> None:
    """Each seed shuffles the table's map anew: the random reference is such an order's gain."""
    net = randomized(nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 2)), 6)
    why = pl.methods.input_x_gradient(net, torch.randn(20, 12, generator=seeded(9)), 0)
    gains = []
    for seed in range(10):
        with running(Run(seed=seed)):
            gains.append(dict(pixel_flipping(why, steps=5, randoms=4).references)["random"])
    mean, spread = sum(gains) / 10, float(torch.tensor(gains).std())
    assert abs(mean) < 4 * spread / 10**0.5
    assert 0 < spread < pixel_flipping(why, steps=5, randoms=0).value / 5


def test_a_class_is_measured_as_log_odds_or_as_asked(pictures: Explanation) -> None:
    net, x = tanh_net(), pictures.x["input"]
    with torch.no_grad():
        z = net(x)
    chosen = torch.tensor([0, 2, 1])
    p = z.softmax(1).gather(1, chosen[:, None]).mean()
    log_odds = torch.logit(z.softmax(1).gather(1, chosen[:, None])).mean()
    logit = z.gather(1, chosen[:, None]).mean()
    for unit, start in (("log_odds", log_odds), ("probability", p), ("explained", logit)):
        found = deletion(pictures, unit=unit, steps=4)
        assert curve(found, "map")[0] == pytest.approx(float(start), rel=1e-4)
    of_unit = pl.methods.input_x_gradient(net, x, pl.neuron("1", 0))
    with pytest.raises(BadOption, match="probability"):
        deletion(of_unit, unit="probability")


def test_the_share_that_random_removal_leaves() -> None:
    """One of two columns at random: p falls to the half by the one, and stays by the other."""
    line = nn.Linear(2, 1, bias=False)
    line.weight.data = torch.tensor([[40.0, 0.0]])
    why = pl.methods.input_x_gradient(line, torch.ones(1, 2), 0)
    found = pixel_flipping(why, randoms=1)
    assert dict(found.references)["R-OMS"] == pytest.approx(0.75)
    assert found.value == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("check", "passes"),
    [(deletion, 3 * 7 + 2), (insertion, 3 * 7 + 2), (pixel_flipping, 2 * 3 * 8 + 1)],
)
def test_the_passes_are_those_that_are_announced(check: Measure[...], passes: int, pictures: Explanation) -> None:
    assert check(pictures, steps=8, randoms=2).passes == 3 * passes


@pytest.mark.parametrize("check", [deletion, insertion, pixel_flipping])
def test_a_map_without_an_order_is_not_measured(check: Callable[..., Check], pictures: Explanation) -> None:
    flat = pictures.values.clone()
    flat[1] = 0.3
    found = check(having(pictures, flat))
    assert math.isnan(found.each[1]) and math.isfinite(found.value) and "1 of 3" in found.why
    nothing = check(having(pictures, torch.ones_like(flat)))
    assert nothing.verdict is Verdict.UNKNOWN and math.isnan(nothing.value) and nothing.passes == 0
    assert "same everywhere" in nothing.why


def test_what_cannot_be_measured_is_said() -> None:
    why = pl.methods.input_x_gradient(nn.Linear(1, 1), torch.ones(1, 1), 0)
    with pytest.raises(BadInput, match="at least 2"):
        deletion(why)
    table = pl.methods.input_x_gradient(nn.Linear(4, 1), torch.randn(1, 4), 0)
    with pytest.raises(BadOption, match="columns"):
        insertion(table, fill="blur")


def test_an_inner_site_is_measured_there() -> None:
    """Behind the last layer's input everything is linear: the exact curve again."""
    net, x = tanh_net(), torch.randn(2, 1, 6, 8, generator=seeded(10))
    why = pl.methods.input_x_gradient(net, x, pl.scalar(lambda z: z[:, 0]), at="2")
    parts = why.values.double()
    found = deletion(why, steps=MANY)
    sums = torch.cat([torch.zeros(2, 1), parts.sort(1, descending=True).values.cumsum(1)], 1)
    with torch.no_grad():
        wanted = net(x)[:, :1].double() - sums
    torch.testing.assert_close(torch.tensor(curve(found, "map")), wanted.mean(0).float(), atol=1e-5, rtol=1e-5)


def test_a_wider_blur_is_another_one(pictures: Explanation) -> None:
    found = [insertion(pictures, fill="blur", sigma=s, randoms=0).value for s in (0.01, 1.0, 100.0)]
    whole = float(deletion(pictures, steps=1, randoms=0, fill="blur", sigma=0.01).value)
    assert found[0] == pytest.approx(whole, abs=1e-4)  # a blur of no width hides nothing
    mean = insertion(pictures, fill="mean", randoms=0).value
    assert abs(found[2] - mean) < 0.05 * abs(found[0] - mean) and found[1] != pytest.approx(found[2])


def test_ties_come_in_every_order_equally_often() -> None:
    seen = dict[tuple[int, ...], int]()
    for seed in range(600):
        with running(Run(seed=seed)):
            order = tuple(order_of(torch.tensor([1.0, 5.0, 1.0, 1.0]), "x").tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 6 and all(order[0] == 1 for order in seen)
    assert all(abs(count - 100) < 4 * (600 / 6 * 5 / 6) ** 0.5 for count in seen.values())


@pytest.mark.parametrize(("size", "steps"), [(1, 1), (2, 9), (50176, 16), (10, 3), (7, 7)])
def test_steps_are_even_and_each_removes_something(size: int, steps: int) -> None:
    whole = counts_of(size, steps)
    assert whole[0] == 0 and whole[-1] == size and len(whole) == min(steps, size) + 1
    inner = counts_of(size, steps, ends=False)
    assert len(inner) == min(steps, size - 1) and all(0 < c < size for c in inner)
    for counts in (whole, inner):
        apart = [b - a for a, b in itertools.pairwise(counts)]
        assert not apart or (min(apart) >= 1 and max(apart) - min(apart) <= 1)
    assert first(torch.randperm(size), whole, (size,)).sum(1).tolist() == list(whole)


@pytest.mark.parametrize("check", [deletion, insertion, pixel_flipping])
def test_nothing_is_left_behind(check: Callable[..., Check], pictures: Explanation) -> None:
    assert pictures.net is not None
    model, x = pictures.net.model, pictures.x
    before = fingerprint(model, x)
    first_time, again = check(pictures), check(pictures)
    assert fingerprint(model, x) == before
    assert (first_time.each, first_time.references) == (again.each, again.references)
