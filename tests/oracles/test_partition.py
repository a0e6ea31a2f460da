"""Owen values, against orders of joining by enumeration, games with known values, and shap's PartitionExplainer."""

from __future__ import annotations

import warnings
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import linkage as scipys
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.explanation import Explanation
from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from pellucid.probes.hierarchy import joined, nearby
from tests.games import Game, coalition_table, exact, of_a_network, several
from tests.networks import Net, picture, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import shap

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")

partition_shap = all_methods()["partition_shap"]


def play(worth: Tensor, **options: Any) -> Explanation:
    game = Game(worth)
    return partition_shap(game, game.everybody, 0, **options)


def a_tree(n: int, seed: int) -> Tensor:
    return torch.as_tensor(scipys(np.random.default_rng(seed).normal(size=(n, 2)), "average"))


def together(order: tuple[int, ...], groups: list[set[int]]) -> bool:
    """Does each group stay together in this order?"""
    at = {player: i for i, player in enumerate(order)}
    return all(max(at[p] for p in g) - min(at[p] for p in g) == len(g) - 1 for g in groups)


@pytest.mark.parametrize("seed", range(3))
def test_values_are_the_means_over_all_orders_that_keep_groups_together(seed: int) -> None:
    worth, tree, n = of_a_network(6, seed), a_tree(6, seed), 6
    groups: list[set[int]] = [{i} for i in range(n)]
    for left, right in tree[:, :2].long().tolist():
        groups.append(groups[left] | groups[right])
    orders = [o for o in permutations(range(n)) if together(o, groups)]
    assert len(orders) == 2 ** (n - 1)
    values = torch.zeros(n, dtype=torch.double)
    for order in orders:
        number = 0
        for player in order:
            values[player] += (worth[number | 1 << player] - worth[number]) / len(orders)
            number |= 1 << player
    found = play(worth, tree=tree)
    torch.testing.assert_close(found.values[0], values, rtol=0, atol=1e-9)
    assert found.facts["undivided"] == [0.0]


def theirs(worth: Tensor, tree: Tensor, most: int) -> Tensor:
    game = Game(worth)
    n = game.players
    masker = shap.maskers.Partition(np.zeros((1, n)), clustering=tree.numpy())
    explainer = shap.explainers.Partition(lambda x: game(torch.as_tensor(x))[:, 0].numpy(), masker)
    found = explainer(np.ones((1, n)), max_evals=most, batch_size=32, silent=True)  # as many as are cut at once here
    return torch.as_tensor(found.values[0])


@pytest.mark.parametrize("worth", [*several(10), *several(7)], ids=range(10))
@pytest.mark.parametrize("most", [20, 60, 10_000])
def test_values_are_shaps_whatever_the_budget(worth: Tensor, most: int) -> None:
    tree = a_tree(Game(worth).players, 3)
    found = play(worth, tree=tree, most=most)
    # shap counts the two ends among its evaluations
    torch.testing.assert_close(found.values[0], theirs(worth, tree, most + 2), rtol=0, atol=1e-9)
    assert found.facts["coalitions"][0] <= most and max(found.gap or ()) < 1e-9
    assert (found.facts["undivided"][0] > 0) == (found.facts["coalitions"][0] == most)


def test_one_cut_at_a_time_pays_a_pair_like_shapley_and_groups_like_players() -> None:
    # {0, 1} against {2}: Owen's own example of unions; worth 1 for any two players
    worth = (coalition_table(3).sum(1) >= 2).double()
    found = play(worth, tree=torch.tensor([[0, 1], [2, 3]])).values[0]
    torch.testing.assert_close(found, torch.tensor([0.5, 0.5, 0.0]).double())
    torch.testing.assert_close(exact(worth), torch.full((3,), 1 / 3).double())


def test_interactions_of_two_are_halved_whatever_the_hierarchy() -> None:
    n = 8
    a, b = torch.randn(n, generator=seeded(1)).double(), torch.randn(n, n, generator=seeded(2)).double().triu(1)
    z = coalition_table(n)
    worth = z @ a + torch.einsum("si,sj,ij->s", z, z, b)
    for seed in range(3):
        found = play(worth, tree=a_tree(n, seed)).values[0]
        torch.testing.assert_close(found, a + (b + b.T).sum(0) / 2, rtol=0, atol=1e-9)


def test_what_is_there_in_one_corner_is_found_there_at_a_small_budget() -> None:
    class Corner(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 0, 28:, 4:8].sum((1, 2))[:, None].square()

    x = torch.ones(1, 3, 32, 32)
    found = partition_shap(Corner(), x, 0, most=200, baseline=0.0)
    assert found.resolution == (32, 32) and found.facts["players"] == [1024]
    inside = found.values[0, 0, 28:, 4:8]
    assert float(inside.sum()) == pytest.approx(256, rel=1e-5)
    torch.testing.assert_close(inside, torch.full_like(inside, 16.0))
    assert float(found.values.abs().sum()) == pytest.approx(256, rel=1e-5)


def test_a_picture_is_cut_across_its_longer_side() -> None:
    rows, columns = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    tree = nearby(torch.stack([rows.flatten(), columns.flatten()], 1).double())
    halves = [set(tree.members(half).tolist()) for half in tree.halves((0, 12))]
    assert halves == [{0, 1, 4, 5, 8, 9}, {2, 3, 6, 7, 10, 11}]
    quarter = [set(tree.members(half).tolist()) for half in tree.halves(tree.halves((0, 12))[0])]
    assert quarter == [{0, 1}, {4, 5, 8, 9}]
    assert len(tree.cuts) == 11


def test_inputs_are_cut_apart_first() -> None:
    class Product(torch.nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a.prod(1) * b.sum(1))[:, None]

    a, b = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[3.0, 5.0, 7.0]]).double()
    maps = partition_shap(Product(), (a, b), 0).maps
    # the groups {a} and {b} get half each: a's two in equal parts, b's by what they bring
    torch.testing.assert_close(maps["a"], torch.full((1, 2), 7.5).double())
    torch.testing.assert_close(maps["b"], b)


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([[0, 1], [2, 2]], "joins 2 and 2"),
        ([[0, 1], [0, 2]], "joins 0 and 2"),
        ([[0, 1]], r"\(1, 2\) for 3 players: expected 2 rows"),
        ([[0, 1], [3, 9]], "joins 3 and 9"),
    ],
)
def test_a_tree_that_does_not_join_the_players_is_refused(rows: list[list[int]], what: str) -> None:
    with pytest.raises(BadOption, match=what):
        partition_shap(torch.nn.Linear(3, 1), torch.ones(1, 3), 0, tree=torch.tensor(rows))


def test_a_linkage_matrix_becomes_its_groups() -> None:
    rows = a_tree(9, 5)
    tree, held = joined(rows, 9), [{i} for i in range(9)]
    for left, right in rows[:, :2].long().tolist():
        held.append(held[left] | held[right])
    assert {frozenset(tree.members(g).tolist()) for g in tree.cuts} == {frozenset(g) for g in held[9:]}


def test_a_stopped_run_leaves_the_remaining_groups_whole_and_still_adds_up() -> None:
    worth, asked = several()[2], iter(range(10_000))
    with running(Run(stop=lambda: next(asked) >= 2 + 32, max_batch=1)):
        found = play(worth)
    assert found.stopped and found.facts["coalitions"] == [32] and max(found.gap or ()) < 1e-9
    torch.testing.assert_close(found.values, play(worth, most=32).values, rtol=0, atol=1e-9)


def test_samples_have_trees_of_their_own() -> None:
    net, x = Net(seed=2).double(), picture(3).double()
    mask = torch.stack([torch.arange(30).view(6, 5) // 6, torch.arange(30).view(6, 5) // 3])
    found = partition_shap(net, x, 1, mask=mask, most=40)
    assert found.facts["players"] == [5, 10]
    for i, v in enumerate(x):
        alone = partition_shap(net, v[None], 1, mask=mask[i], most=40)
        torch.testing.assert_close(alone.values[0], found.values[i], rtol=0, atol=1e-9)
