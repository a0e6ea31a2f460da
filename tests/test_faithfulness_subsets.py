"""Faithfulness by random subsets, against networks whose exact contributions are known and against brute force."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.faithfulness_correlation import faithfulness_correlation
from pellucid.checks.infidelity import infidelity
from pellucid.checks.sensitivity_n import sensitivity_n
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput, BadOption, Missing
from pellucid.core.explanation import Explanation
from pellucid.core.target import log_odds, logit
from pellucid.trials.agreement import pearson
from pellucid.trials.sample import mapped, samples
from pellucid.trials.subsets import boxes, drops, filling, fit, fixed, sizes_of, sums
from tests.networks import randomized

METHODS = pl.methods


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Series(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv1d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x).sum(2)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(50, 8), nn.Linear(8, 1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.words(ids).sum(1))


class Bent(nn.Module):
    """A sum of what each place gives: no linear function, yet exactly additive."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 5, 4, generator=seeded(5)))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * torch.tanh(x)).flatten(1).sum(1, keepdim=True)


def shares_of(net: nn.Module, x: Tensor) -> Explanation:
    return METHODS.input_x_gradient(randomized(net, 1), x, 0)


def linear_picture() -> Explanation:
    return shares_of(nn.Sequential(nn.Flatten(), nn.Linear(60, 1)), torch.randn(2, 2, 6, 5, generator=seeded(2)))


KINDS = {
    "picture": linear_picture,
    "table": lambda: METHODS.input_x_gradient(
        randomized(nn.Linear(12, 1), 1), torch.randn(2, 12, generator=seeded(2)), 0
    ),
    "series": lambda: METHODS.input_x_gradient(randomized(Series(), 1), torch.randn(2, 2, 9, generator=seeded(2)), 0),
    "text": lambda: METHODS.input_x_gradient(randomized(Words(), 1), torch.randint(50, (2, 9), generator=seeded(2)), 0),
    "volume": lambda: METHODS.input_x_gradient(
        randomized(nn.Sequential(nn.Flatten(), nn.Linear(48, 1)), 1), torch.randn(2, 1, 4, 4, 3, generator=seeded(2)), 0
    ),
}
MEASURES = {"correlation": faithfulness_correlation, "sensitivity": sensitivity_n, "infidelity": infidelity}


def with_map(why: Explanation, change: object) -> Explanation:
    return replace(why, maps={k: change(v) for k, v in why.maps.items()})


# Exact maps of networks that add up


@pytest.mark.parametrize("kind", KINDS)
def test_exact_contributions_of_a_linear_network_are_perfect(kind: str) -> None:
    why = KINDS[kind]()
    negative = with_map(why, torch.neg)
    assert faithfulness_correlation(why).each == pytest.approx([1.0, 1.0], abs=1e-5)
    assert faithfulness_correlation(negative).value == pytest.approx(-1.0, abs=1e-5)
    found = sensitivity_n(why)
    assert found.value == pytest.approx(1.0, abs=1e-5)
    assert dict(found.curves)["r"] == pytest.approx([1.0] * len(dict(found.curves)["size"]), abs=1e-5)
    assert sensitivity_n(negative).value == pytest.approx(-1.0, abs=1e-5)
    exact = infidelity(why)
    assert exact.value == pytest.approx(0.0, abs=1e-5)
    assert dict(exact.references)["as it stands"] == pytest.approx(0.0, abs=1e-5)
    assert infidelity(negative).value == 1.0  # no factor but a negative one would help


def test_a_sum_of_bent_places_has_an_exact_map_and_its_gradient_is_none() -> None:
    net, x = Bent(), torch.randn(1, 2, 5, 4, generator=seeded(1))
    gradient = METHODS.saliency(net, x, 0)
    why = with_map(gradient, lambda _: (net.weight * torch.tanh(x)).detach())
    for measure, best in ((faithfulness_correlation, 1.0), (sensitivity_n, 1.0), (infidelity, 0.0)):
        assert measure(why).value == pytest.approx(best, abs=1e-5)
        assert abs(measure(gradient).value - best) > 0.1


def test_a_linear_networks_gradient_predicts_every_change_as_a_slope() -> None:
    why = METHODS.saliency(linear_picture().net, linear_picture().x, 0)
    slopes = with_map(why, lambda _: why.net.model[1].weight.detach().view(1, 2, 6, 5).expand(2, -1, -1, -1))
    for change in ("removal", "noise"):
        assert infidelity(slopes, change=change, reads="slopes").value == pytest.approx(0.0, abs=1e-5)
    read_as_shares = infidelity(slopes)
    assert read_as_shares.value > 0.2 and dict(read_as_shares.references)["read as slopes"] < 1e-5


def test_infidelity_of_a_map_in_other_units_by_hand() -> None:
    double = infidelity(with_map(linear_picture(), lambda v: 2 * v))
    known = dict(double.references)
    # the error is 2 drop - drop, as large as the drop itself; the best factor, a half, leaves nothing
    assert (known["as it stands"], known["best factor"], double.value) == pytest.approx((1.0, 0.0, 0.0), abs=1e-5)
    one = infidelity(METHODS.input_x_gradient(linear_picture().net, linear_picture().x["input"][:1], 0))
    assert "1 times the values fits best" in one.why


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 1.0])
def test_a_map_that_is_partly_wrong_gets_its_correlation_with_the_contributions(part: float) -> None:
    net = randomized(nn.Linear(40, 1), 2)
    exact = METHODS.input_x_gradient(net, torch.randn(1, 40, generator=seeded(0)), 0)
    noise = torch.randn(40, generator=seeded(3)) * exact.values.std()
    why = with_map(exact, lambda v: (1 - part) * v + part * noise)
    right = float(pearson(why.values[0].double(), exact.values[0].double()))
    found = faithfulness_correlation(why, count=400)
    assert abs(found.value - right) < 4 * (1 - right**2) / 400**0.5 + 1e-5
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9


# Brute force on a network that does not add up


@pytest.fixture
def crooked() -> Explanation:
    net = randomized(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(60, 3)), 4)
    return METHODS.input_x_gradient(net, torch.randn(1, 2, 5, 4, generator=seeded(6)), 1)


def one_by_one(why: Explanation, masks: Tensor, fill: Tensor | float = 0.0) -> list[float]:
    """The fall of the log-odds, one forward pass at a time."""

    def odds(x: Tensor) -> float:
        z = why.net.model(x)[0].detach().double()
        return float(z[1] - torch.logsumexp(z[[0, 2]], 0))

    x = why.x["input"]
    return [odds(x) - odds(torch.where(m, torch.as_tensor(fill), x)) for m in masks]


@pytest.mark.parametrize("fill", ["constant", "mean", "blur"])
def test_drops_are_those_of_single_passes(crooked: Explanation, fill: str) -> None:
    with samples(crooked) as (sample,):
        masks = boxes(30, sample, "test")
        filled = filling(sample, fill, 0.25)
        found = drops(sample, masks, filled)
        assert found.tolist() == pytest.approx(one_by_one(crooked, masks, filled), abs=1e-5)


def test_sensitivity_n_and_correlation_are_pearson_over_single_passes(crooked: Explanation) -> None:
    places = crooked.values[0].sum(0)
    with samples(crooked) as (sample,):
        every = fixed(sizes_of(sample.layout, 3), 20, sample, "sensitivity-n")
        some = fixed([4], 30, sample, "faithfulness correlation")
    correlations = [
        statistics.correlation([float(places[m].sum()) for m in masks], one_by_one(crooked, masks))
        for masks in every.split(20)
    ]
    found = sensitivity_n(crooked, steps=3, count=20)
    assert dict(found.curves)["r"] == pytest.approx(correlations, abs=1e-4)
    assert found.value == pytest.approx(statistics.mean(correlations), abs=1e-4)
    wanted = statistics.correlation([float(places[m].sum()) for m in some], one_by_one(crooked, some))
    assert faithfulness_correlation(crooked, count=30).value == pytest.approx(wanted, abs=1e-4)


def test_infidelity_is_one_less_the_square_of_pearson_and_so_is_that_of_a_flat_map(crooked: Explanation) -> None:
    places = crooked.values[0].sum(0)
    with samples(crooked) as (sample,):
        masks = boxes(60, sample, "infidelity")
    fallen, found = one_by_one(crooked, masks), infidelity(crooked, count=60)
    r = statistics.correlation([float(places[m].sum()) for m in masks], fallen)
    by_area = statistics.correlation([float(m.sum()) for m in masks], fallen)
    assert found.value == pytest.approx(1 - max(r, 0) ** 2, abs=1e-4)
    assert dict(found.references)["flat map"] == pytest.approx(1 - max(by_area, 0) ** 2, abs=1e-4)
    assert dict(found.curves)["drop"] == pytest.approx(fallen, abs=1e-5)


def test_passes_are_counted(crooked: Explanation) -> None:
    assert faithfulness_correlation(crooked, count=30).passes == 31
    assert sensitivity_n(crooked, steps=3, count=20).passes == 61
    assert (
        infidelity(crooked, count=25).passes
        == infidelity(crooked, count=25, change="noise", reads="slopes").passes
        == 26
    )


# Draws


def test_subsets_have_the_sizes_that_were_asked_for_and_boxes_are_boxes(crooked: Explanation) -> None:
    with samples(crooked) as (sample,):
        assert fixed([1, 7, 16], 4, sample, "test").flatten(1).sum(1).tolist() == [1] * 4 + [7] * 4 + [16] * 4
        for mask in boxes(50, sample, "test"):
            rows, columns = (mask.any(axis).nonzero().flatten() for axis in (1, 0))
            assert mask.sum() == len(rows) * len(columns) > 0
            assert bool(mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all())
    assert sizes_of(sample.layout, 5, 0.999) == (1, 2, 4, 9, 19)


@pytest.mark.parametrize("name", MEASURES)
def test_several_samples_get_what_each_gets_alone(name: str) -> None:
    measure, both = MEASURES[name], linear_picture()
    both = replace(both, maps={"input": both.maps["input"].abs()})
    for i in range(2):
        one = METHODS.input_x_gradient(both.net, both.x["input"][i : i + 1], 0)
        alone = measure(replace(one, maps={"input": one.maps["input"].abs()}))
        assert alone.value == pytest.approx(measure(both).each[i], abs=1e-5)


def test_pairs_by_chance_reach_what_theory_says() -> None:
    found = faithfulness_correlation(KINDS["table"](), count=200)
    # r of independent lists has spread 1 / sqrt(n - 1); its 95 % point is 1.645 times that
    assert dict(found.references)["chance"] == pytest.approx(1.645 / math.sqrt(199), rel=0.25)


# What is scored


def test_a_class_is_scored_as_log_odds_or_as_it_was_explained() -> None:
    net, x = randomized(nn.Linear(12, 3), 3), torch.randn(1, 12, generator=seeded(0))
    why = METHODS.input_x_gradient(net, x, logit(1))
    assert sensitivity_n(why, scale="explained").value == pytest.approx(1.0, abs=1e-5)
    assert sensitivity_n(why).value < 0.999
    two = METHODS.input_x_gradient(randomized(nn.Linear(12, 2), 3), x, log_odds(1))
    assert sensitivity_n(two).value == pytest.approx(1.0, abs=1e-5)  # of two classes they are a difference of logits


def test_the_value_at_an_inner_site_is_tested_in_the_inputs_place() -> None:
    net = randomized(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(54, 1)), 4)
    why = METHODS.input_x_gradient(net, torch.randn(2, 2, 8, 5, generator=seeded(6)), 0, at="1")
    assert faithfulness_correlation(why).each == pytest.approx([1.0, 1.0], abs=1e-5)
    assert infidelity(why).value == pytest.approx(0.0, abs=1e-5)


# Honest refusals


@pytest.mark.parametrize("name", MEASURES)
def test_a_map_without_differences_and_a_lost_network_are_said(name: str, crooked: Explanation) -> None:
    flat = MEASURES[name](with_map(crooked, torch.zeros_like))
    assert flat.verdict is Verdict.UNKNOWN and math.isnan(flat.value) and "nothing" in flat.why
    with pytest.raises(Missing, match="without its network"):
        MEASURES[name](replace(crooked, score=None, net=None, again=None))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(BadOption, match="no parts"):
        infidelity(linear_picture(), change="noise")
    with pytest.raises(BadOption, match="no common mean"):
        sensitivity_n(KINDS["table"](), fill="mean")
    with pytest.raises(BadOption, match="share"):
        faithfulness_correlation(linear_picture(), share=1.0)
    net = nn.Linear(1, 1)
    with pytest.raises(BadInput, match="1 parts"):
        sensitivity_n(METHODS.input_x_gradient(net, torch.ones(1, 1), 0))


def test_fit_by_hand() -> None:
    found = fit(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([1.0, 1.0, 0.0]))
    # errors 0, 1, 4 over squares 1, 1, 0; p.d = 1, p.p = 5: factor .2, errors .64 + 1 + .16; r = -.866
    assert (found.raw, found.scale, found.scaled, found.shape) == pytest.approx((2.5, 0.2, 0.9, 1.0))


def test_words_keep_their_places_when_the_map_alone_is_asked() -> None:
    layout, places = mapped(KINDS["text"]())
    assert layout.kind == "text" and tuple(places.shape) == (2, 9)
    assert sums(places[0], torch.ones(1, 9, dtype=torch.bool)).item() == pytest.approx(float(places[0].sum()))
