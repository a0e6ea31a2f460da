"""Permutation sampling and LIME, against values known in closed form, and from captum."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.run import Run, running
from tests.games import Game, coalition_table, exact, several
from tests.networks import Chain, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum import attr

from tests.oracles.played import METHODS, near, play, seeded_run

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


# Permutation sampling


def test_sampled_orders_give_the_values_within_their_errors() -> None:
    ratios = []
    for worth in several(8):
        for seed in range(8):
            found = seeded_run("shapley_sampling", worth, seed, pairs=40)
            errors = torch.tensor(found.facts["standard errors"][0])
            ratios.append((found.values[0] - exact(worth)) / errors)
            assert max(found.gap) < 1e-9 and found.cost.forwards == 2 * 40 * 7 + 2
    ratio = torch.cat(ratios)
    assert 0.8 < float(ratio.square().mean().sqrt()) < 1.25
    assert float((ratio.abs() < 2).double().mean()) > 0.9


def test_sampled_orders_agree_with_captums() -> None:
    worth = several(8)[2]
    game, orders = Game(worth), 400
    torch.manual_seed(0)
    theirs = attr.ShapleyValueSampling(lambda x: game(x)[:, 0]).attribute(game.everybody, n_samples=orders)[0]
    found = play("shapley_sampling", worth, pairs=orders // 2)
    # captum draws single orders, whose spread is that of a player's gains over all coalitions of their sizes
    table = coalition_table(8).bool()
    gains = [torch.stack([worth[int(i)] - worth[int(i) - 2**p] for i in table[:, p].nonzero()]) for p in range(8)]
    error = torch.stack([g.std() for g in gains]) / orders**0.5 + torch.tensor(found.facts["standard errors"][0])
    assert bool(((found.values[0] - theirs).abs() < 4 * error).all())


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_game_of_pairs_needs_two_orders(n: int) -> None:
    worth = torch.einsum("si,sj,ij->s", coalition_table(n), coalition_table(n), torch.randn(n, n).double())
    found = play("shapley_sampling", worth, pairs=2)
    near(found.values[0], exact(worth), 1e-9)
    assert max(found.facts["standard errors"][0]) < 1e-9


def test_a_stopped_run_averages_the_pairs_it_finished() -> None:
    worth, asked = several(8)[0], iter(range(10000))
    with running(Run(stop=lambda: next(asked) >= 2 + 14 * 5 + 9, max_batch=1)):
        found = play("shapley_sampling", worth, pairs=30)
    assert found.stopped and found.facts["pairs of orders"] == [5]
    near(found.values, play("shapley_sampling", worth, pairs=5).values, 1e-9)
    asked = iter(range(10000))
    with running(Run(stop=lambda: next(asked) >= 20, max_batch=1)), pytest.raises(Stopped, match="two pairs"):
        play("shapley_sampling", worth, pairs=30)


# LIME


@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("width", [0.2, 0.25, 5.0])
def test_the_surrogate_of_an_additive_game_is_the_game(n: int, width: float) -> None:
    brings = torch.randn(n, generator=seeded(n)).double()
    found = play("lime", coalition_table(n) @ brings + 3, width=width)
    near(found.values[0], brings)
    assert found.facts["R2"][0] > 1 - 1e-9 and max(found.facts["standard errors"][0]) < 1e-6
    assert found.facts["intercept"][0] == pytest.approx(3)


def test_a_kernel_that_sees_the_whole_input_only_says_so() -> None:
    assert "narrow" in play("lime", several(8)[0], width=0.01).notes[-1]
    assert not any("narrow" in note for note in play("lime", several(8)[0]).notes)


@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_lime_is_captums_on_the_same_coalitions(ridge: float) -> None:
    from captum._utils.models.linear_model import SkLearnLinearModel

    worth, seen = several(8)[3], list[Tensor]()
    game, width = Game(worth), 0.4

    class Spy(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.extend(x)
            return game(x)

    found = METHODS["lime"](Spy(), game.everybody, 0, samples=120, width=width, ridge=ridge)
    coalitions = iter([row[None] for row in seen])

    def near_to(_x: Tensor, _changed: Tensor, row: Tensor, **_: Any) -> Tensor:
        return torch.exp(-((1 - row.mean().sqrt()) ** 2) / (2 * width**2))

    kind = {"sklearn_module": "linear_model.Ridge", "alpha": ridge} if ridge else {
        "sklearn_module": "linear_model.LinearRegression"
    }  # fmt: skip
    theirs = attr.Lime(
        lambda x: game(x)[:, 0],
        interpretable_model=SkLearnLinearModel(**kind),
        similarity_func=near_to,
        perturb_func=lambda _x, **_: next(coalitions),
    ).attribute(game.everybody, n_samples=len(seen))
    near(found.values, theirs, 1e-4)


def test_r2_is_the_weighted_share_that_the_surrogate_explains() -> None:
    worth, seen = several(8)[1], list[Tensor]()
    game = Game(worth)

    class Spy(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.extend(x)
            return game(x)

    found = METHODS["lime"](Spy(), game.everybody, 0, samples=100)
    z = torch.stack(seen)
    y = game(z)[:, 0].numpy()
    weights = np.exp(-((1 - np.sqrt(z.mean(1).numpy())) ** 2) / (2 * 0.25**2))
    fit = z.numpy() @ found.values[0].numpy() + found.facts["intercept"][0]
    mean = np.average(y, weights=weights)
    share = 1 - np.average((y - fit) ** 2, weights=weights) / np.average((y - mean) ** 2, weights=weights)
    assert found.facts["R2"][0] == pytest.approx(share) and 0 < share < 1


def test_limes_standard_errors_are_its_errors_from_sampling() -> None:
    ratios = []
    for worth in several(8):
        z = coalition_table(8)
        root = np.exp(-((1 - z.mean(1).sqrt()) ** 2) / (2 * 0.25**2)).sqrt()
        terms = torch.cat([torch.ones(256, 1).double(), z], 1)
        all_of_them = torch.linalg.lstsq(root[:, None] * terms, root * worth).solution[1:]
        for seed in range(8):
            found = seeded_run("lime", worth, seed, samples=120)
            ratios.append((found.values[0] - all_of_them) / torch.tensor(found.facts["standard errors"][0]))
    ratio = torch.cat(ratios)
    assert 0.8 < float(ratio.square().mean().sqrt()) < 1.25


def test_lime_refuses_too_few_samples_and_fits_what_a_stopped_run_has() -> None:
    with pytest.raises(BadOption, match="samples=30 for 20 players: expected at least 80"):
        METHODS["lime"](Chain(20, 2), torch.ones(1, 20), 0, samples=30)
    worth, asked = several(8)[0], iter(range(10000))
    with running(Run(stop=lambda: next(asked) >= 60, max_batch=1)):
        found = play("lime", worth, samples=200)
    assert found.stopped and found.facts["coalitions"] == [60]
    near(found.values, play("lime", worth, samples=60).values, 1e-9)
