"""Games between parts, against values known in closed form, by enumeration, and from captum and shap."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.explanation import Explanation
from pellucid.core.run import Run, running
from pellucid.core.target import logit
from pellucid.methods import all_methods
from tests.games import Game, coalition_table, exact, of_a_network, several, unanimities
from tests.networks import Chain, Net, picture, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import shap
    from captum import attr

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")

METHODS = all_methods()


def play(name: str, worth: Tensor, **options: Any) -> Explanation:
    game = Game(worth)
    return METHODS[name](game, game.everybody, 0, **options)


def values(name: str, worth: Tensor, **options: Any) -> Tensor:
    found = play(name, worth, **options).values
    assert isinstance(found, Tensor)
    return found[0]


def near(a: Tensor, b: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(a.double(), b.detach().double(), rtol=0, atol=tolerance)


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
        near(found, attr.ShapleyValues(lambda x: game(x)[:, 0]).attribute(game.everybody)[0])


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
    with running(Run(stop=lambda: next(asked) > 5, max_batch=1)), pytest.raises(Stopped, match="after . of 8"):
        play("shapley_values", of_a_network(3, 1))
