"""Each check of a dream against what is known beforehand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks import dreams as checks
from pellucid.checks.dreams.belief import belief
from pellucid.checks.dreams.card import dream_card
from pellucid.core.check import Verdict
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.run import Run, running
from pellucid.dream.dream import Dream
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.natural import radial, radial_of_photographs, random_phases
from pellucid.dream.painting.photographs import photographs
from pellucid.trials.readers import readings
from tests.judged import SIDE, Linear, Mean, dreamed, natural, photographs_of_few_colors, prepared, seeded, shown
from tests.networks import randomized

# activation


def test_activation_is_the_distance_from_the_mean_in_units_of_the_best_natural_picture() -> None:
    net, data = prepared(Linear()), natural()
    dream = dreamed(net, [pl.logit(0), pl.logit(2)])
    known = torch.einsum("nchw,kchw->nk", data, net.model.weight.detach())
    for found, score, k in zip(checks.activation(dream, natural=data), dream.scores, (0, 2), strict=True):
        mean, best = float(known[:, k].mean()), float(known[:, k].max())
        assert found.value == pytest.approx((score - mean) / (best - mean), rel=1e-4)
        assert found.facts["mean"] == pytest.approx(mean, rel=1e-4, abs=1e-4)
        assert found.verdict is Verdict.HOLDS


def test_activation_fails_for_an_ordinary_picture_and_is_open_in_between() -> None:
    net, data = prepared(Linear()), natural()
    dream = dreamed(net, pl.logit(1), steps=1)
    order = torch.einsum("nchw,chw->n", data, net.model.weight[1].detach()).argsort()
    middle, second = shown(dream, data[order[20:21]]), shown(dream, data[order[-2:-1]])
    assert checks.activation(middle, natural=data)[0].verdict is Verdict.FAILS
    open_ = checks.activation(second, natural=data)[0]
    assert open_.verdict is Verdict.UNKNOWN and 0 < open_.value < 1


def test_without_natural_pictures_it_says_how_to_give_some() -> None:
    dream = dreamed(prepared(Linear()), pl.logit(1), steps=1)
    for check in (checks.activation, checks.path_agreement, checks.forced_choice):
        (found,) = check(dream)
        assert found.verdict is Verdict.UNKNOWN and math.isnan(found.value) and "natural=pl.pictures" in found.why


def test_one_pass_over_natural_pictures_serves_all_dreams_and_checks() -> None:
    net, data = prepared(Routed(False)), natural()
    dream = dreamed(net, [pl.logit(k % 2) for k in range(4)], steps=1)
    with running(Run()) as run:
        card = dream_card(dream, data, trust="quick")
    spent = run.meter.forwards + run.meter.backwards
    assert sum(c.passes for one in card.checks for c in one) == spent
    assert spent == len(data) + 1 + 4 * 4 + 4  # natural, the route once, four moves of four, and each dream once


# robustness


class Colors(nn.Module):
    """Two classes that ask for a color, wherever it is: moving a picture changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 8, 1)
        self.answer = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.mix(x).mean((2, 3)))


def test_what_no_move_can_change_is_fully_robust() -> None:
    torch.manual_seed(0)
    net = prepared(Colors())
    dream = dreamed(net, pl.logit(1), steps=1)
    flat = torch.tensor([0.9, 0.2, 0.4]).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        likes = bool(net.model(flat)[0, 1] > net.model(1 - flat)[0, 1])
    dream = shown(dream, flat if likes else 1 - flat)
    for data in (None, natural()):
        (found,) = checks.robustness(dream, natural=data)
        assert found.value == pytest.approx(1, abs=1e-4) and found.verdict is Verdict.HOLDS
        assert found.high - found.low < 1e-3


def test_what_hangs_on_single_pixels_is_caught() -> None:
    net = prepared(Linear())
    dream = dreamed(net, pl.logit(1), parametrization="pixels", jitter=0, shrink=1, zoom=1, rotate=0, noise=0, rate=0.5)
    (found,) = checks.robustness(dream, natural=natural(), views=16)
    assert found.verdict is Verdict.FAILS and found.value < 0.3  # a weight of white noise is not itself when moved
    assert belief([found]).word == "Do not believe"


def test_moves_are_fresh_and_the_same_again_and_do_not_depend_on_other_pictures() -> None:
    net = prepared(Linear())
    both = dreamed(net, [pl.logit(1), pl.logit(2)], steps=2)
    one = dreamed(net, pl.logit(1), steps=2)
    first, again, alone = (checks.robustness(d, natural=natural())[0] for d in (both, both, one))
    assert first.value == again.value
    assert alone.value == pytest.approx(first.value, rel=1e-4)
    assert len(set(dict(first.curves)["share kept"])) == 8


def test_an_input_without_space_cannot_be_moved() -> None:
    net = Network(randomized(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), 0))
    dream = pl.dream.maximize(
        net, pl.logit(1), like=torch.rand(8, 6, generator=seeded(0)), steps=2, parametrization="pixels"
    )
    card = dream_card(dream, torch.rand(40, 6, generator=seeded(1)))
    by = {c.name: c for c in card.checks[0]}
    assert by["robustness"].verdict is Verdict.UNKNOWN and "space" in by["robustness"].why
    assert by["spectrum"].verdict is Verdict.UNKNOWN
    assert math.isfinite(by["activation"].value) and math.isfinite(by["path_agreement"].value)


# transfer


def test_the_same_network_reads_what_it_says_itself() -> None:
    net = prepared(Linear(), labels=("ant", "bee", "cat", "dog"))
    weight = net.model.weight.detach()
    grey = 0.5 * weight.flatten(1).sum(1)
    enough = float((grey.max() - grey[2] + 3) / weight[2].abs().sum())  # three nats above the likeliest for grey
    dream = shown(dreamed(net, pl.logit(2), steps=1), 0.5 + enough * weight[2:3].sign())
    (found,) = checks.transfer(dream, others=[net])
    p = float(net.model(dream.x["x"]).softmax(1)[0, 2].detach())
    assert 0.3 < p < 0.999 and found.value == pytest.approx(p, rel=1e-4) and found.facts["ranks"] == {net.name: 1}
    assert found.verdict is Verdict.HOLDS


def test_classes_are_matched_by_name_and_sizes_by_the_other_networks_preparation() -> None:
    class Bright(nn.Module):
        """Class "cat" is brightness, at another number and another size."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(20.0))

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[2:] == (24, 24)
            m = self.scale * x.mean((1, 2, 3))
            return torch.stack([m, 0 * m, 0 * m, -m], 1)

    other = Network(Bright(), preparation=Preparation(size=24), labels=("Cat", "ant", "bee", "dog"), name="bright")
    net = prepared(Linear(), labels=("ant", "bee", "cat", "dog"))
    dream = dreamed(net, [pl.logit(2), pl.logit(3), pl.logit(0) - pl.logit(1)], steps=1)
    dream = replace(dream, pictures=torch.full((3, 3, SIDE, SIDE), 0.9))
    cat, dog, mixture = checks.transfer(dream, others=[other])
    m = torch.tensor([18.0, 0.0, 0.0, -18.0]).softmax(0)
    assert cat.value == pytest.approx(float(m[0]), rel=1e-4) and cat.verdict is Verdict.HOLDS
    assert dog.value < 1e-6 and dog.verdict is Verdict.FAILS and dog.facts["ranks"] == {"bright": 4}
    assert mixture.verdict is Verdict.UNKNOWN and math.isnan(mixture.value)
    assert belief([dog]).word == "Do not believe"
    nameless = prepared(Linear())
    assert readings(dream, nameless) == [None, None, None]


def test_inner_units_and_unknown_tasks_say_why() -> None:
    net = prepared(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)))
    (found,) = checks.transfer(dreamed(net, pl.channel("0", 1), steps=1))
    assert found.verdict is Verdict.UNKNOWN and "inner unit" in found.why
    (found,) = checks.transfer(dreamed(prepared(Linear()), pl.logit(1), steps=1))
    assert found.verdict is Verdict.UNKNOWN and "others=" in found.why


# spectrum


def a_canvas(side: int) -> Canvas:
    about = Preparation(size=side)
    return Canvas("x", 3, (side, side), (side, side), about, 0, 1, torch.float32, torch.device("cpu"), {}, "")


def with_pictures(pictures: Tensor) -> Dream:
    net = Network(nn.Conv2d(3, 4, 3), preparation=Preparation(size=pictures.shape[2]))
    dream = pl.dream.maximize(net, [pl.channel("", i % 4) for i in range(len(pictures))], steps=1)
    return replace(dream, pictures=pictures)


def test_random_phases_have_photographs_spectrum_and_white_noise_has_not() -> None:
    nulls = random_phases(a_canvas(64), 8)
    assert not torch.equal(nulls[0], nulls[1])
    fall = radial(nulls).mean(0)
    away = fall - fall.mean() - (radial_of_photographs(64, 64) - radial_of_photographs(64, 64).mean())
    assert float(away.square().mean().sqrt()) < 0.2  # of single ones, the scatter of a ring comes on top
    found = checks.spectrum(with_pictures(nulls))
    assert all(c.verdict is Verdict.HOLDS for c in found)
    noise = checks.spectrum(with_pictures(torch.rand(8, 3, 64, 64, generator=seeded(0))))
    for check in noise:
        assert check.verdict is Verdict.FAILS and "fine grain" in check.why
        assert check.facts["saturated"] == pytest.approx(0.04, abs=0.01)
    white = dict(noise[0].references)["white noise"]  # the distance of a spectrum that does not fall
    assert sum(c.value for c in noise) / 8 == pytest.approx(white, rel=0.05)


def test_fog_is_told_from_grain() -> None:
    y = torch.linspace(0, 1, 64)
    fog = (0.5 + 0.3 * torch.sin(2 * math.pi * 5 * y)).expand(1, 3, 64, 64).clone()
    (found,) = checks.spectrum(with_pictures(fog))
    assert found.verdict is not Verdict.HOLDS and "smooth areas" in found.why


def test_the_range_of_photographs_rises_and_is_there_for_every_size() -> None:
    known = photographs()
    for side in (16, 32, 64, 100, 224, 512):
        low, middle, high = known.usual(side)
        assert 0 < low < middle < high < 1
    assert known.usual(200) == known.distances[224] and known.usual(70) == known.distances[64]


# path agreement: a network that is honest, and one with a circuit that fools (after Geirhos et al. 2023)


class Routed(nn.Module):
    """One answer from sixteen units that read the picture; with `fooled`, anything that is no photograph is led to
    sixteen others, which read something else, and the first are shut.

    Photographs are known by their faint contrast, which a gate measures.
    """

    def __init__(self, fooled: bool, deep: int = 0) -> None:
        super().__init__()
        self.fooled = fooled
        layers = [nn.Sequential(nn.Conv2d(32, 32, 1, groups=2), nn.ReLU()) for _ in range(deep)]
        self.between = randomized(nn.Sequential(*layers), 5)
        self.read = nn.Conv2d(3, 32, 5, padding=2, bias=False)
        self.gated, self.answer = nn.Identity(), nn.Linear(32, 2, bias=False)
        with torch.no_grad():
            self.read.weight.copy_(torch.randn(32, 3, 5, 5, generator=seeded(7)) / 5)
            self.answer.weight.copy_(torch.randn(2, 32, generator=seeded(8)).abs())

    def forward(self, x: Tensor) -> Tensor:
        units = self.between(self.read(x).relu()).mean((2, 3))
        dreamlike = ((x - x.mean((2, 3), keepdim=True)).square().mean((1, 2, 3)).sqrt() > 0.1).float()[:, None]
        a, b = units.split(16, 1)
        if self.fooled:
            a, b = a * (1 - dreamlike), 5 * b * dreamlike
        else:
            a, b = a, b * 0
        return self.answer(self.gated(torch.cat([a, b], 1)))


@pytest.mark.parametrize("deep", [0, 3])
@pytest.mark.parametrize("fooled", [False, True])
def test_a_fooling_circuit_is_caught_and_an_honest_network_is_not(fooled: bool, deep: int) -> None:
    net, data = prepared(Routed(fooled, deep)), photographs_of_few_colors()
    honest = prepared(Routed(False, deep))
    with torch.no_grad():  # it does with photographs what the honest network does
        assert torch.allclose(net.model(data), honest.model(data), atol=1e-6)
    dream = dreamed(net, pl.logit(0), steps=48, contrast=1, noise=0.1, shrink=0.8, zoom=2.5)  # a dreamlike one
    (found,) = checks.path_agreement(dream, natural=data)
    assert found.verdict is Verdict.FAILS if fooled else found.value > 0.75, found
    assert found.facts["judged at"][-1] == "gated"
    if fooled:
        assert checks.activation(dream, natural=data)[0].verdict is Verdict.HOLDS  # this alone sees nothing
        assert belief([found]).word == "Do not believe"


def test_the_best_natural_picture_agrees_with_its_like_and_a_stranger_does_not() -> None:
    net, data = prepared(Routed(False)), photographs_of_few_colors()
    order = net.model(data)[:, 0].argsort(descending=True)
    dream = dreamed(net, [pl.logit(0)] * 2, steps=1)
    dream = replace(dream, pictures=data[torch.stack([order[0], order[-1]])])
    best, worst = checks.path_agreement(dream, natural=data)
    assert best.value > 0.85 and worst.verdict is Verdict.FAILS
    assert best.facts["best natural pictures"][0] == f"sample {int(order[0])}"


# seeds


def test_seeds_agree_on_what_a_target_wants_and_not_on_what_it_does_not_read() -> None:
    torch.manual_seed(1)
    colors = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    dream = dreamed(prepared(colors), [pl.logit(k) for k in range(3)], steps=32)
    found = checks.seeds(dream)
    assert all(c.value > 0.8 and c.verdict is Verdict.HOLDS for c in found)
    assert [c.value for c in checks.seeds(dream)] == [c.value for c in found]
    idle = nn.Sequential(nn.Conv2d(3, 8, SIDE), nn.Flatten(), nn.Linear(8, 3))
    with torch.no_grad():
        idle[2].weight.mul_(1e-6)
    still = dreamed(
        prepared(idle), [pl.logit(k) for k in range(3)], steps=2, rate=1e-6, contrast=1
    )  # it stays where it began
    found = checks.seeds(still)
    assert any(c.verdict is not Verdict.HOLDS for c in found) and sum(c.value for c in found) / 3 < 0.5


# forced choice


def test_a_dream_that_shows_what_the_unit_likes_tells_pictures_apart_and_its_opposite_misleads() -> None:
    net = prepared(Mean())
    data = photographs_of_few_colors(200)
    dream = dreamed(net, [pl.channel("units", 0), pl.channel("units", 0), pl.logit(1)], steps=1)
    red = torch.tensor([1.0, 0.5, 0.5]).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    cyan = torch.tensor([0.0, 0.5, 0.5]).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    dream = replace(dream, pictures=torch.cat([red, cyan, red]))
    right, wrong, of_class = checks.forced_choice(dream, natural=data)
    assert right.verdict is Verdict.HOLDS and right.value > 0.85 and right.low > 0.5
    assert wrong.verdict is Verdict.FAILS and wrong.value == pytest.approx(1 - right.value, abs=0.1)
    assert of_class.verdict is Verdict.UNKNOWN and math.isnan(of_class.value)
    assert belief([wrong]).word == "Do not believe"
