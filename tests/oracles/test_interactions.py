"""Interactions of two players, against closed forms, enumeration, and their own errors when sampled."""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.explanation import Explanation
from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from tests.games import Game, coalition_table, exact, of_a_network, several, unanimities
from tests.networks import seeded

KINDS = ("shapley", "taylor")


def play(worth: Tensor, **options: Any) -> Explanation:
    game = Game(worth)
    return all_methods()["shapley_interactions"](game, game.everybody, 0, **options)


def table(found: Explanation) -> Tensor:
    n = found.facts["players"][0]
    out = torch.zeros(n, n, dtype=torch.double)
    for i, j, value, _ in found.facts["pairs"][0]:
        out[int(i), int(j)] = out[int(j), int(i)] = value
    return out


def enumerated(worth: Tensor, kind: str) -> Tensor:
    """The definition, on the numbers of coalitions."""
    n = Game(worth).players
    out = torch.zeros(n, n, dtype=torch.double)
    for i, j in combinations(range(n), 2):
        for number in range(2**n):
            if number >> i & 1 or number >> j & 1:
                continue
            t = bin(number).count("1")
            share = factorial(t) * factorial(n - 2 - t) / factorial(n - 1)
            share = 2 / n / comb(n - 1, t) if kind == "taylor" else share
            four = worth[number | 1 << i | 1 << j] - worth[number | 1 << i] - worth[number | 1 << j] + worth[number]
            out[i, j] += share * four
    return out + out.T


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("members", [(0, 3), (1, 2, 4), (0, 1, 2, 5), (0, 1, 2, 3, 4, 5)])
def test_in_a_unanimity_game_its_members_share_equally(members: tuple[int, ...], kind: str) -> None:
    n, size = 6, len(members)
    worth = coalition_table(n)[:, list(members)].prod(1)
    expected = torch.zeros(n, n, dtype=torch.double)
    for i, j in combinations(members, 2):
        expected[i, j] = expected[j, i] = 1 / (size - 1) if kind == "shapley" else 1 / comb(size, 2)
    found = play(worth, kind=kind)
    torch.testing.assert_close(table(found), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.values[0], expected.sum(1), rtol=0, atol=1e-9)
    assert {row[3] for row in found.facts["pairs"][0]} == {0.0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("worth", [of_a_network(7, 3), unanimities(6, 20, 4), of_a_network(2, 1)], ids=range(3))
def test_exact_interactions_are_the_definition(worth: Tensor, kind: str) -> None:
    torch.testing.assert_close(table(play(worth, kind=kind)), enumerated(worth, kind), rtol=0, atol=1e-9)


def test_shapley_taylor_and_the_players_alone_add_up_to_the_change() -> None:
    worth = of_a_network(8, 5)
    found = play(worth, kind="taylor")
    total = sum(found.facts["alone"][0]) + sum(row[2] for row in found.facts["pairs"][0])
    assert total == pytest.approx(float(worth[-1] - worth[0]))


def test_of_a_game_of_pairs_the_shapley_values_are_the_players_alone_and_half_their_interactions() -> None:
    n = 7
    z, b = coalition_table(n), torch.randn(n, n, generator=seeded(2)).double().triu(1)
    worth = z @ torch.randn(n, generator=seeded(1)).double() + torch.einsum("si,sj,ij->s", z, z, b)
    found = play(worth)
    torch.testing.assert_close(table(found), b + b.T, rtol=0, atol=1e-9)
    alone = torch.tensor(found.facts["alone"][0]).double()
    torch.testing.assert_close(alone + found.values[0] / 2, exact(worth), rtol=0, atol=1e-6)


def test_two_that_stand_in_for_each_other_are_negative_and_the_strongest_comes_first() -> None:
    z = coalition_table(4)
    found = play(z[:, :2].amax(1) + 3 * z[:, 2] * z[:, 3])
    assert [row[:2] for row in found.facts["pairs"][0][:2]] == [[2, 3], [0, 1]]
    assert [row[2] for row in found.facts["pairs"][0]] == pytest.approx([3, -1, 0, 0, 0, 0])


def test_sampled_interactions_of_a_game_of_pairs_are_exact() -> None:
    n = 16
    a, b = torch.randn(n, generator=seeded(1)).double(), torch.randn(n, n, generator=seeded(2)).double().triu(1)

    class Pairs(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x @ a + ((x @ b) * x).sum(1))[:, None]

    found = all_methods()["shapley_interactions"](Pairs(), torch.ones(1, n).double(), 0, samples=400)
    torch.testing.assert_close(table(found), b + b.T, rtol=0, atol=1e-8)
    assert found.facts["coalitions"][0] <= 400 + n and max(row[3] for row in found.facts["pairs"][0]) < 1e-8


@pytest.mark.parametrize("kind", KINDS)
def test_the_standard_errors_are_the_errors(kind: str) -> None:
    missed, said, of_rows, said_of_rows = 0.0, 0.0, 0.0, 0.0
    for worth in several(10)[:4]:
        true = enumerated(worth, kind)
        for seed in range(4):
            with running(Run(seed=seed)):
                found = play(worth, kind=kind, samples=300)
            missed += float((table(found) - true).square().sum() / true.square().sum())
            errors = torch.tensor([row[3] for row in found.facts["pairs"][0]])
            said += float(2 * errors.square().sum() / true.square().sum())
            of_rows += float((found.values[0] - true.sum(1)).square().sum())
            said_of_rows += float(torch.tensor(found.facts["standard errors"][0]).square().sum())
    assert 0.75 < (missed / said) ** 0.5 < 1.3
    if kind == "taylor":
        assert 0.75 < (of_rows / said_of_rows) ** 0.5 < 1.3
    else:  # sums of Shapley interactions come from the largest and the smallest coalitions alone, which are all run
        assert of_rows < 1e-12 and said_of_rows < 1e-12
    assert (missed / 16) ** 0.5 < 0.5, "and they are useful"


def test_every_coalition_is_drawn_once_and_the_smallest_sizes_whole() -> None:
    seen = list[tuple[bool, ...]]()

    class Spy(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.extend(tuple(row) for row in x.bool().tolist())
            return x[:, :1] * x[:, 1:2]

    all_methods()["shapley_interactions"](Spy(), torch.ones(1, 14), 0, samples=500)
    distinct = set(seen)
    sizes = torch.tensor([sum(row) for row in distinct]).bincount(minlength=15)
    assert sizes[[0, 1, 13, 14]].tolist() == [1, 14, 14, 1] and 480 <= len(distinct) <= 500


def test_too_few_samples_and_a_stop_are_refused() -> None:
    with pytest.raises(BadOption, match="samples=50 for 16 players: expected at least 274"):
        all_methods()["shapley_interactions"](torch.nn.Linear(16, 1), torch.ones(1, 16), 0, samples=50)
    asked = iter(range(1000))
    with running(Run(stop=lambda: next(asked) > 5, max_batch=1)), pytest.raises(Stopped, match=r"after \d of 8"):
        play(of_a_network(3, 1))
