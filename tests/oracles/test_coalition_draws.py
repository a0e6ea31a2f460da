"""LIME's coalitions: the limit of coins, reached sooner; and the errors of rows that were drawn together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from pellucid.methods.lime import _drawn
from pellucid.probes.surrogate import fitted
from tests.games import Game, coalition_table, several, unanimities
from tests.networks import seeded

LIME = all_methods()["lime"]


def drawn(n: int, samples: int, seed: int = 0) -> Tensor:
    with running(Run(seed=seed)):
        return _drawn(n, "of one sample", samples)


def near(there: Tensor, width: float = 0.25) -> Tensor:
    return torch.exp(-((1 - there.double().mean(1).sqrt()) ** 2) / (2 * width**2))


def fit(there: Tensor, worth: Tensor, width: float = 0.25) -> Tensor:
    root = near(there, width).sqrt()[:, None]
    terms = torch.cat([torch.ones(len(there), 1).double(), there.double()], 1)
    return torch.linalg.lstsq(root * terms, root[:, 0] * worth, driver="gelsd").solution[1:]


def missed(found: Tensor, true: Tensor) -> float:
    return float((found - true).square().sum() / true.square().sum())


def found(worth: Tensor, seed: int, **options: Any) -> Tensor:
    game = Game(worth)
    with running(Run(seed=seed)):
        return LIME(game, game.everybody, 0, **options).values[0]


@pytest.mark.parametrize(("n", "block"), [(1, 2), (3, 4), (4, 8), (7, 8), (12, 16), (49, 64)])
def test_in_each_block_every_three_players_are_seen_in_all_ways_equally_often(n: int, block: int) -> None:
    there = drawn(n, 4 * block)
    assert torch.equal(there[::2], ~there[1::2]), "each with its complement"
    for part in there.split(2 * block):
        signs = 2.0 * part - 1
        pairs = signs.T @ signs
        assert torch.equal(pairs, 2.0 * block * torch.eye(n)) and not bool(signs.sum(0).any())
        assert not bool(torch.einsum("si,sj,sk->ijk", signs, signs, signs).any())


@pytest.mark.parametrize("position", [0, 1, 2, 9])
def test_each_coalition_alone_is_as_probable_as_by_coins(position: int) -> None:
    counts = torch.zeros(8)
    for seed in range(800):
        there = drawn(3, 12, seed)[position]
        counts[int((there * 2 ** torch.arange(3)).sum())] += 1
    assert float(((counts - 100) ** 2 / 100).sum()) < 24.3  # chi-squared of 7 degrees: one in a thousand


@pytest.mark.parametrize("width", [0.2, 0.25, 1.0])
def test_the_limit_is_the_fit_to_all_coalitions(width: float) -> None:
    for worth in several(8)[1:4]:
        limit = fit(coalition_table(8), worth, width)
        assert missed(found(worth, 0, samples=2**12, width=width), limit) < 5e-3


def test_interactions_of_two_leave_no_error_where_all_count_alike() -> None:
    # v = sum a_i z_i + sum b_ij z_i z_j: to coins, b_ij is worth half to each of the two
    n = 49
    a, b = torch.randn(n, generator=seeded(1)).double(), torch.randn(n, n, generator=seeded(2)).double().triu(1)

    class Pairs(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x @ a + ((x @ b) * x).sum(1))[:, None]

    values = LIME(Pairs(), torch.ones(1, n).double(), 0, samples=256, width=1000.0).values[0]
    torch.testing.assert_close(values, a + (b + b.T).sum(0) / 2, rtol=0, atol=1e-4)


def test_at_equal_evaluations_the_error_is_below_that_of_coins() -> None:
    ratios = []
    for worth in [*several(12), unanimities(12, 60, 9)]:
        limit, number = fit(coalition_table(12), worth), 2 ** torch.arange(12)
        ours = coins = 0.0
        for seed in range(10):
            ours += missed(found(worth, seed, samples=128), limit)
            there = torch.rand(128, 12, generator=seeded(seed)) < 0.5
            coins += missed(fit(there, worth[(there * number).sum(1)]), limit)
        ratios.append(ours / coins)
    ratio = torch.tensor(ratios)
    assert float(ratio.max()) < 0.9 and float(ratio.log().mean().exp()) < 0.7


@pytest.mark.parametrize("count", [20, 21])
def test_the_errors_of_rows_drawn_together_are_right_on_average(count: int) -> None:
    # of independent rows of variance 1 the coefficients have the covariance (X'X)^-1, and a mean over all of what
    # could be seen is the sum over unit vectors, because the squared errors are a quadratic form
    rows = torch.randn(count, 4, generator=seeded(3)).double()
    squares = sum(
        fitted(rows, e, torch.ones(count).double(), together=2).errors ** 2 for e in torch.eye(count).double()
    )
    torch.testing.assert_close(squares, torch.linalg.inv(rows.T @ rows).diagonal(), rtol=1e-9, atol=0)


def test_the_errors_of_rows_drawn_together_are_the_sum_over_groups() -> None:
    rows, wanted = torch.randn(12, 3, generator=seeded(4)).double(), torch.randn(12, generator=seeded(5)).double()
    weights = torch.rand(12, generator=seeded(6)).double()
    scaled = weights.sqrt()[:, None] * rows
    inverse = torch.linalg.inv(scaled.T @ scaled)
    left = weights.sqrt() * wanted - scaled @ inverse @ scaled.T @ (weights.sqrt() * wanted)
    total = torch.zeros(3).double()
    for g in torch.arange(12).split(3):
        root = torch.linalg.inv(torch.as_tensor(sqrtm((torch.eye(3) - scaled[g] @ inverse @ scaled[g].T).numpy())))
        total += (inverse @ scaled[g].T @ root @ left[g]) ** 2
    torch.testing.assert_close(fitted(rows, wanted, weights, together=3).errors, total.sqrt(), rtol=1e-9, atol=0)
