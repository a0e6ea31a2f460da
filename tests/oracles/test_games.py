"""Shapley values and KernelSHAP, against values known in closed form, by enumeration, and from captum and shap."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.run import Run, running
from tests.games import Game, coalition_table, exact, of_a_network, several, unanimities
from tests.networks import Chain, Net, picture, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import shap
    from captum import attr

from tests.oracles.played import METHODS, near, play, seeded_run

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def values(name: str, worth: Tensor, **options: Any) -> Tensor:
    found = play(name, worth, **options).values
    assert isinstance(found, Tensor)
    return found[0]


# Shapley values, exactly


def test_gloves() -> None:
    # one left glove, two right ones; a pair is worth 1
    left, *right = coalition_table(3).T
    near(values("shapley_values", left * torch.stack(right).amax(0)), torch.tensor([2 / 3, 1 / 6, 1 / 6]))


def test_an_airport() -> None:
    # a runway is as long as its largest plane needs: each stretch is paid equally by those who need it
    needs = torch.tensor([1.0, 2.0, 4.0, 8.0])
    fees = torch.tensor([1 / 4, 1 / 4 + 1 / 3, 1 / 4 + 1 / 3 + 2 / 2, 1 / 4 + 1 / 3 + 2 / 2 + 4])
    near(values("shapley_values", (coalition_table(4) * needs).amax(1)), fees)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 14])
def test_in_an_additive_game_everybody_gets_what_he_brings(n: int) -> None:
    brings = torch.randn(n, generator=seeded(n)).double()
    near(values("shapley_values", coalition_table(n) @ brings + 3), brings)


@pytest.mark.parametrize("needed", range(1, 7))
def test_in_a_symmetric_game_everybody_gets_the_same(needed: int) -> None:
    near(values("shapley_values", (coalition_table(6).sum(1) >= needed).double()), torch.full((6,), 1 / 6))


def test_who_changes_nothing_gets_nothing() -> None:
    worth = unanimities(5, 20, 4)
    for dummy in range(6):
        table = coalition_table(6).long()
        others = table[:, [i for i in range(6) if i != dummy]]
        found = values("shapley_values", worth[(others * 2 ** torch.arange(5)).sum(1)])
        near(found[dummy], torch.zeros(()))
        near(found[[i for i in range(6) if i != dummy]], exact(worth))


@pytest.mark.parametrize("worth", [*several(8), *several(5)], ids=range(10))
def test_shapley_values_are_those_of_captum_and_shap(worth: Tensor) -> None:
    found, game = values("shapley_values", worth), Game(worth)
    near(found, exact(worth))
    n = game.players
    explainer = shap.explainers.Exact(lambda x: game(torch.as_tensor(x))[:, 0].numpy(), np.zeros((1, n)))
    near(found, torch.as_tensor(explainer(np.ones((1, n))).values[0]))
    if n == 5:  # captum goes through all n! orders
        near(found, attr.ShapleyValues(lambda x: game(x)[:, 0]).attribute(game.everybody)[0], 1e-5)


def test_shapley_values_of_the_parts_of_pictures_are_captums() -> None:
    net, x, mask = Net(seed=3).double(), picture(1).double(), torch.arange(30).view(6, 5) // 8
    theirs = attr.ShapleyValues(net).attribute(
        x, baselines=0.2, target=1, feature_mask=mask.expand(1, 2, 6, 5).contiguous()
    )
    found = METHODS["shapley_values"](net, x, 1, mask=mask, baseline=0.2)
    near(found.values, theirs[:, :1])
    assert found.facts["players"] == [4, 4] and found.facts["coalitions"] == [16, 16]


def test_inputs_play_together() -> None:
    class Product(torch.nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a.sum(1) * b.sum(1))[:, None]

    a, b = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[3.0, 5.0, 7.0]]).double()
    maps = METHODS["shapley_values"](Product(), (a, b), 0).maps
    near(maps["a"], a * 15 / 2)  # a product is shared equally
    near(maps["b"], b * 3 / 2)


def test_too_many_players_are_refused_before_any_pass() -> None:
    with pytest.raises(BadOption, match="15 players: all their coalitions would take 32,768 passes") as caught:
        METHODS["shapley_values"](Chain(15, 2), torch.ones(1, 15), 0)
    assert "kernel_shap" in caught.value.hint


def test_part_of_the_coalitions_is_nothing() -> None:
    asked = iter(range(1000))
    with running(Run(stop=lambda: next(asked) > 5, max_batch=1)), pytest.raises(Stopped, match=r"after \d of 8"):
        play("shapley_values", of_a_network(3, 1))


# KernelSHAP


def missed(found: Tensor, worth: Tensor) -> float:
    """Squared error relative to the values."""
    true = exact(worth)
    return float((found.double() - true).square().sum() / true.square().sum())


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10])
def test_all_coalitions_give_the_exact_values_without_error(n: int) -> None:
    worth = torch.randn(2**n, generator=seeded(n)).double()
    found = play("kernel_shap", worth, samples=max(2, 2**n - 2))
    near(found.values[0], exact(worth), 1e-9)
    assert found.facts["coalitions"] == [2**n - 2] and max(found.facts["standard errors"][0]) == 0


@pytest.mark.parametrize("n", [7, 25, 60])
def test_interactions_of_two_cancel_in_pairs(n: int) -> None:
    # v = sum a_i z_i + sum b_ij z_i z_j has values a_i + sum_j b_ij / 2, whatever is sampled
    a, b = torch.randn(n, generator=seeded(1)).double(), torch.randn(n, n, generator=seeded(2)).double().triu(1)

    class Pairs(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x @ a + ((x @ b) * x).sum(1))[:, None]

    found = METHODS["kernel_shap"](Pairs(), torch.ones(1, n).double(), 0, samples=4 * n)
    near(found.values[0], a + (b + b.T).sum(0) / 2, 1e-9)
    assert max(found.facts["standard errors"][0]) < 1e-9
    assert found.cost.forwards == found.facts["coalitions"][0] + 2 <= 4 * n + 2


@pytest.mark.parametrize("worth", several(), ids=range(5))
def test_the_error_falls_faster_than_the_samples_grow(worth: Tensor) -> None:
    errors = [
        np.mean([missed(seeded_run("kernel_shap", worth, s, samples=m).values[0], worth) for s in range(8)])
        for m in (60, 240, 960)
    ]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_every_coalition_is_drawn_at_most_once_and_with_its_complement() -> None:
    seen = list[Tensor]()

    class Spy(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.extend(x.bool())
            return x[:, :1] * x[:, 1:2]

    METHODS["kernel_shap"](Spy(), torch.ones(1, 12), 0, samples=200)
    names = [tuple(row.tolist()) for row in seen]
    middle = [name for name in names if 0 < sum(name) < 12]
    assert len(set(middle)) == len(middle) == 200
    assert {tuple(not i for i in name) for name in middle} == set(middle)
    sizes = torch.tensor([sum(name) for name in middle]).bincount(minlength=13)
    assert sizes[1] == sizes[11] == 12, "a size that fits is taken whole"
    assert int(sizes[2:11].max() - sizes[2:11].min()) <= 3, "the others share equally"


def test_the_standard_errors_are_the_errors() -> None:
    ratios = []
    for worth in several():
        true = exact(worth)
        for seed in range(12):
            found = seeded_run("kernel_shap", worth, seed, samples=160)
            ratios.append((found.values[0] - true) / torch.tensor(found.facts["standard errors"][0]))
    ratio = torch.cat(ratios)
    assert 0.8 < float(ratio.square().mean().sqrt()) < 1.25
    assert float((ratio.abs() < 2).double().mean()) > 0.9


def peers(worth: Tensor, seed: int, samples: int) -> tuple[Tensor, Tensor]:
    """Captum's and shap's values with the empty and the full coalition on top, as ours has them."""
    game = Game(worth)
    torch.manual_seed(seed)
    np.random.seed(seed)
    captum = attr.KernelShap(lambda x: game(x)[:, 0].float()).attribute(
        torch.ones(1, game.players), baselines=0.0, n_samples=samples + 2, perturbations_per_eval=samples + 2
    )
    explainer = shap.KernelExplainer(lambda x: game(torch.as_tensor(x))[:, 0].numpy(), np.zeros((1, game.players)))
    theirs = explainer.shap_values(np.ones((1, game.players)), nsamples=samples, l1_reg=False, silent=True)
    return captum[0], torch.as_tensor(np.asarray(theirs))[0]


def test_at_equal_evaluations_the_error_is_below_captums_in_every_game_and_shaps_on_average() -> None:
    errors = np.zeros((3, 5))
    for g, worth in enumerate(several()):
        for seed in range(10):
            ours = seeded_run("kernel_shap", worth, seed, samples=160)
            assert ours.cost.forwards == 162
            found = (ours.values[0], *peers(worth, seed, 160))
            errors[:, g] += [missed(v, worth) / 10 for v in found]
    assert (errors[0] < errors[1] / 2).all()
    assert np.log(errors[0]).mean() < np.log(errors[2]).mean()


def test_a_tolerance_is_reached_by_each_sample_with_as_few_coalitions_as_it_needs() -> None:
    net, x = Chain(16, 24, 2, seed=3).double(), torch.randn(3, 16, generator=seeded(5)).double()
    x[1] *= 0.05  # where the network is nearly linear
    found = METHODS["kernel_shap"](net, x, 0, samples=64, tolerance=0.01, most=2**15)
    worst = [
        max(e) / abs(c) for e, c in zip(found.facts["standard errors"], found.facts["change of the score"], strict=True)
    ]
    assert max(worst) <= 0.01 and not found.notes
    assert len(set(found.facts["coalitions"])) > 1
    for i, v in enumerate(x):
        alone = METHODS["kernel_shap"](net, v[None], 0, samples=64, tolerance=0.01, most=2**15)
        near(alone.values[0], found.values[i], 1e-9)
    short = METHODS["kernel_shap"](net, x, 0, samples=64, tolerance=1e-6, most=128)
    assert short.facts["coalitions"] == [128] * 3 and "3 of 3 samples have standard errors above" in short.notes[-1]


@pytest.mark.parametrize("name", ["kernel_shap", "shapley_sampling", "lime"])
def test_values_that_are_mostly_noise_say_so(name: str) -> None:
    anything = torch.randn(2**9, generator=seeded(0)).double()  # no player has a part in it
    few = {"kernel_shap": {"samples": 40}, "shapley_sampling": {"pairs": 3}, "lime": {"samples": 40}}[name]
    assert "mostly sampling noise" in play(name, anything, **few).notes[-1]
    assert not any("noise" in note for note in play(name, coalition_table(9).sum(1), **few).notes)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(BadOption, match="samples=30 for 20 players: expected at least 80"):
        METHODS["kernel_shap"](Chain(20, 2), torch.ones(1, 20), 0, samples=30)


def test_a_stopped_run_is_a_fair_smaller_sample() -> None:
    worth, asked = several()[2], iter(range(10000))
    with running(Run(stop=lambda: next(asked) >= 130, max_batch=1)):
        found = play("kernel_shap", worth, samples=600)
    assert found.stopped and found.facts["coalitions"] == [128]
    assert missed(found.values[0], worth) < 0.2 and max(found.gap) < 1e-9
    ratio = (found.values[0] - exact(worth)) / torch.tensor(found.facts["standard errors"][0])
    assert float(ratio.abs().max()) < 4


def test_samples_may_have_different_numbers_of_players() -> None:
    net, x = Net(seed=2).double(), picture(3).double()
    mask = torch.stack([torch.arange(30).view(6, 5) // 6, torch.arange(30).view(6, 5) // 3])
    found = METHODS["kernel_shap"](net, x, 1, mask=mask, samples=60)
    assert found.facts["players"] == [5, 10] and found.facts["coalitions"] == [30, 60]
    for i, v in enumerate(x):
        alone = METHODS["kernel_shap"](net, v[None], 1, mask=mask[i], samples=60)
        near(alone.values[0], found.values[i], 1e-9)
