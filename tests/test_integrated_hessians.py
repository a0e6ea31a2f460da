"""Interactions: closed forms, symmetry, rows that add up to integrated gradients, and networks that do not bend."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.core.rule import Rewire
from pellucid.core.score import Score
from pellucid.core.target import logit
from pellucid.methods import all_methods
from pellucid.methods.integrated_hessians import interactions
from pellucid.probes.path import constant
from pellucid.probes.segments import segments
from pellucid.rules.softplus import softplus
from pellucid.views.pairs import pairs
from tests.networks import Chain, Net, picture, randomized

METHODS = all_methods()


class Polynomial(nn.Module):
    """3 x0 + 2 x0 x1 + x2^2 + x0 x1 x2."""

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = x.unbind(1)
        return (3 * a + 2 * a * b + c**2 + a * b * c)[:, None]


def matrix(name: str, net: nn.Module, x: Tensor, target: int, **options: object) -> Tensor:
    found = METHODS[name](net, x, target, **options)
    return torch.tensor(found.facts["interactions"], dtype=torch.float64)


def test_a_polynomial_s_interactions_are_known() -> None:
    # a term of degree d in k variables, each to the power p: Gamma_ij = term * p_i p_j / d^2 (Janizek et al., with
    # the diagonal's p_i (p_i - 1) / d^2 of the curvature and p_i / d^2 of the slope)
    x = torch.tensor([[2.0, -1.0, 3.0]], dtype=torch.float64)
    a, b, c = x[0].tolist()
    want = torch.zeros(3, 3, dtype=torch.float64)
    for term, powers in ((3 * a, (1, 0, 0)), (2 * a * b, (1, 1, 0)), (c**2, (0, 0, 2)), (a * b * c, (1, 1, 1))):
        p = torch.tensor(powers, dtype=torch.float64)
        want += term * p[:, None] * p / p.sum() ** 2
    found = matrix("integrated_hessians", Polynomial(), x, 0, steps=200)[0]
    torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("block", ["residual", "attention"])
def test_rows_add_up_to_integrated_gradients_of_the_parts(block: str) -> None:
    net, x = Net("module", "gelu", block, 3).double(), picture(2).double()
    found = METHODS["integrated_hessians"](net, x, 1, cells=2, steps=48)
    table = torch.tensor(found.facts["interactions"], dtype=torch.float64)
    torch.testing.assert_close(table, table.mT, rtol=1e-6, atol=1e-9)
    gradients = METHODS["integrated_gradients"](net, x, 1, steps=48).values.sum(1)
    parts = segments(Score(Network(net), logit(1)), {"x": x}, cells=2).labels["x"][:, 0]
    for player in range(4):
        torch.testing.assert_close(
            table[:, player].sum(1), (gradients * (parts == player)).flatten(1).sum(1), rtol=1e-5, atol=1e-7
        )
    assert max(found.gap or ()) < 1e-5


def test_every_pair_is_its_definition() -> None:
    net, x = Net("functional", "silu", "gate", 3).double(), picture(2, 1).double()
    f = Score(Network(net), logit(1))
    want = interactions(f, constant({"x": x}, 0.2), {"x": x}, segments(f, {"x": x}, cells=2), 10)
    found = matrix("integrated_hessians", net, x, 1, cells=2, steps=40, baseline=0.2)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5 * float(want.abs().max()))


def test_parts_that_meet_nowhere_do_not_interact() -> None:
    class Apart(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, :2].prod(1) + x[:, 2:].tanh().prod(1))[:, None]

    table = matrix("integrated_hessians", Apart(), torch.randn(2, 4), 0)
    assert (table[:, :2, 2:] == 0).all() and (table[:, 0, 1] != 0).all() and (table[:, 2, 3] != 0).all()


@pytest.mark.parametrize("style", ["module", "functional", "in place", "arithmetic"])
def test_a_network_of_relus_does_not_bend_and_says_so(style: str) -> None:
    net, x = Net(style, "relu", "plain", 3).double(), picture(2, 1).double()
    plain = METHODS["integrated_hessians"](net, x, 1, cells=2)
    table = torch.tensor(plain.facts["interactions"][0])
    assert (table == torch.diag(table.diagonal())).all() and "does not bend" in plain.notes[-1]
    smooth = METHODS["integrated_hessians"](net, x, 1, cells=2, softplus=10.0)
    assert torch.tensor(smooth.facts["interactions"][0]).count_nonzero() == 16 and not smooth.notes


@pytest.mark.parametrize("style", ["functional", "in place", "arithmetic"])
@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("seed", [2, 3])
def test_softplus_stands_in_however_it_is_spelled(style: str, activation: str, seed: int) -> None:
    x = 4 * picture(2, 1).double()
    one, other = (
        matrix("integrated_hessians", Net(s, activation, "plain", seed).double(), x, 1, cells=2, softplus=3.0)
        for s in ("module", style)
    )
    torch.testing.assert_close(other, one)


def test_softplus_comes_to_the_network_as_it_sharpens() -> None:
    spelled = (
        lambda v: torch.nn.functional.leaky_relu(v, 0.2),
        torch.nn.functional.hardtanh,
        lambda v: v.clamp(max=0.5),
        lambda v: torch.nn.functional.relu6(v),
    )
    for function in spelled:
        v = torch.linspace(-7, 8, 301, dtype=torch.float64).requires_grad_()
        for sharpness, near in ((5.0, 0.3), (50.0, 0.03)):
            with Rewire((softplus(sharpness),)):
                smooth = function(v)
            # each kink moves by log 2 / b at most, and there are at most two of them
            assert 0 < float((smooth - function(v)).detach().abs().max()) <= near


def test_softplus_explains_the_smooth_neighbor() -> None:
    sharp, smooth = Chain(4, 6, 2, seed=1).double(), Chain(4, 6, 2, seed=1, activation=nn.Softplus(5.0)).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(
        matrix("integrated_hessians", sharp, x, 1, softplus=5.0), matrix("integrated_hessians", smooth, x, 1)
    )


def test_the_report_lists_the_pairs() -> None:
    found = METHODS["integrated_hessians"](Polynomial(), torch.tensor([[2.0, -1.0, 3.0]]), 0)
    fold = pairs(found)
    assert fold is not None
    rows = getattr(fold.child, "rows")  # noqa: B009 (a table's)
    table = found.facts["interactions"][0]
    assert rows[0][:2] == ("part 0", "part 1") and rows[0][2] == pytest.approx(2 * table[0][1])
    assert [abs(r[2]) for r in rows] == sorted((abs(r[2]) for r in rows), reverse=True)
    assert pairs(METHODS["saliency"](nn.Linear(3, 1), torch.ones(1, 3), 0)) is None


def test_at_a_site() -> None:
    net = randomized(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), 3).double()
    x = torch.randn(2, 4, dtype=torch.float64)
    with torch.no_grad():
        value = net[:2](x)
    found = torch.tensor(METHODS["integrated_hessians"](net, x, 1, "1").facts["interactions"])
    torch.testing.assert_close(found, matrix("integrated_hessians", net[2:], value, 1).to(found))
