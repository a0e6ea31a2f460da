"""Non-negative factorization, Sobol designs and significance against planted truth, optimality and other packages."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from sklearn.decomposition import NMF
from torch import Tensor

import pellucid as pl
from pellucid.concepts.matching import assigned, likeness
from pellucid.probes.designs import design, total_indices
from pellucid.probes.factors import factorized, weights_on
from pellucid.probes.significance import among, holm, student_p


def planted(rows: int, columns: int, count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Parts on channels of their own for the larger half, and weights that are zero in many rows."""
    own = torch.eye(count, dtype=dtype).repeat_interleave(columns // count, 1)
    parts = torch.rand(count, own.shape[1], dtype=dtype) * (0.05 + own)
    return torch.rand(rows, count, dtype=dtype) * (torch.rand(rows, count) < 0.5), parts


@pytest.mark.parametrize("start", [None, 0, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_planted_parts_come_out(start: int | None, dtype: torch.dtype) -> None:
    weights, parts = planted(300, 40, 5, dtype)
    found = factorized(weights @ parts, 5, start=start, steps=2000, tolerance=1e-6)
    assert float(likeness(parts, found.parts).min()) > 0.99
    assert found.error < 0.01


def test_a_wide_matrix_and_a_tall_one_are_the_same_problem() -> None:
    weights, parts = planted(60, 40, 4)
    a = weights @ parts
    tall, wide = factorized(a, 4, steps=2000), factorized(a.T.contiguous(), 4, steps=2000)
    assert tall.error == pytest.approx(wide.error, abs=2e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("rows", "columns", "count"), [(150, 30, 4), (40, 100, 6)])
def test_the_error_is_that_of_scikit_learn(rows: int, columns: int, count: int) -> None:
    a = torch.rand(rows, count, dtype=torch.float64) @ torch.rand(count, columns, dtype=torch.float64)
    a = (a + 0.3 * torch.rand(rows, columns, dtype=torch.float64)).relu()
    theirs = NMF(count, init="nndsvd", max_iter=2000, tol=1e-6).fit(a.numpy()).reconstruction_err_ / float(a.norm())
    assert factorized(a, count).error <= 1.01 * theirs


def test_no_single_weight_and_no_single_part_could_be_better() -> None:
    """Karush, Kuhn and Tucker: where a factor is above zero the slope is zero, elsewhere it is not negative."""
    a = torch.rand(40, 20, dtype=torch.float64)
    found = factorized(a, 4, steps=20000, tolerance=1e-9)
    residual = found.weights @ found.parts - a
    for factor, slope in ((found.weights, residual @ found.parts.T), (found.parts, found.weights.T @ residual)):
        assert bool((factor >= 0).all())
        assert float(slope.min()) > -1e-6 * float(a.norm()) and float((factor * slope).abs().max()) < 1e-6


def test_weights_on_given_parts_are_the_least_squares_that_are_not_negative() -> None:
    a, parts = torch.rand(25, 12, dtype=torch.float64), torch.rand(4, 12, dtype=torch.float64)
    theirs = np.stack([scipy.optimize.nnls(parts.T.numpy(), row.numpy())[0] for row in a])
    assert torch.allclose(weights_on(a, parts, steps=5000, tolerance=1e-12), torch.from_numpy(theirs), atol=1e-6)


def test_the_same_matrix_gives_the_same_parts_and_seeds_only_matter_to_drawn_starts() -> None:
    a = torch.rand(30, 10)
    with pl.running(pl.Run(seed=1)):
        plain, drawn = factorized(a, 3), factorized(a, 3, start=0)
    assert torch.equal(factorized(a, 3).parts, plain.parts)
    assert not torch.equal(factorized(a, 3, start=0).parts, drawn.parts)


@pytest.mark.parametrize(
    ("a", "count", "said"),
    [
        (torch.tensor([[1.0, -0.5], [1.0, 1.0]]), 1, "goes down to -0.5"),
        (torch.zeros(3, 3), 1, "zero everywhere"),
        (torch.rand(3, 5), 4, "3 rows and 5 columns"),
        (torch.rand(3), 1, "matrix of numbers"),
    ],
)
def test_what_has_no_parts_is_refused(a: Tensor, count: int, said: str) -> None:
    with pytest.raises(pl.BadInput, match=said):
        factorized(a, count)


def test_the_pairing_is_the_best_of_all() -> None:
    for rows, columns in ((4, 4), (3, 5)):
        value = torch.rand(rows, columns)
        best = max(
            itertools.permutations(range(columns), rows), key=lambda p: sum(float(value[i, j]) for i, j in enumerate(p))
        )
        assert assigned(value).tolist() == list(best)


def test_total_indices_of_a_product_are_those_of_its_formula() -> None:
    """f = a b with a, b uniform: each alone has 3/7 of the variance and the interaction 1/7, so the totals are 4/7."""
    points = design(4096, 3)
    indices, variance = total_indices((points[..., 0] * points[..., 1])[..., None])
    assert indices[0].tolist() == pytest.approx([4 / 7, 4 / 7, 0.0], abs=0.01)
    assert float(variance) == pytest.approx(7 / 144, rel=0.02)


def test_tails_of_students_t_are_scipys() -> None:
    for freedom in (1, 2, 3, 4, 9, 30):
        for t in (0.0, 0.3, 1.7, 6.0):
            assert student_p(t, freedom) == pytest.approx(2 * scipy.stats.t.sf(t, freedom), abs=1e-12)


def test_one_draw_among_others_is_called_rare_as_often_as_it_is() -> None:
    drawn = torch.randn(4000, 12, dtype=torch.float64)
    rare = [among(float(row[0]), row[1:].tolist()) < 0.05 for row in drawn]
    assert sum(rare) / len(rare) == pytest.approx(0.05, abs=0.012)
    assert among(1.0, [1.0, 1.0, 1.0]) == 1.0 and among(0.5, [1.0, 1.0, 1.0]) == 0.0


def test_holm_is_worked_out_by_hand() -> None:
    assert holm([0.01, 0.2, 0.03, 0.02]) == pytest.approx([0.04, 0.2, 0.06, 0.06])
