"""How far maps move with the input: against networks whose maps are known at every input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.local_lipschitz import local_lipschitz
from pellucid.checks.max_sensitivity import max_sensitivity
from pellucid.checks.relative_stability import relative_stability
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput
from pellucid.core.method import method
from pellucid.core.run import Run, running
from pellucid.core.target import logit, scalar
from pellucid.trials.again import nearby, on_copies
from tests.networks import randomized

METHODS = pl.methods
X = 1 + torch.rand(2, 8, generator=torch.Generator().manual_seed(1))
MEASURES = (max_sensitivity, local_lipschitz, relative_stability)


@method(title="Gradient", family="gradient", paper="")
def gradient(f, x):
    return f.grad(x)


def line(outputs: int = 1) -> nn.Module:
    return randomized(nn.Linear(8, outputs), 1)


class Square(nn.Module):
    """Half the sum of squares, whose gradient is the input itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum(1, keepdim=True) / 2


def near(radius: float = 0.02, copies: int = 10) -> list[Tensor]:
    return [nearby({"x": X}, radius, draw)["x"] for draw in range(copies)]


def test_a_linear_networks_gradient_never_moves() -> None:
    for measure in MEASURES:
        assert measure(METHODS.saliency(line(), X, 0)).each == (0.0, 0.0)


def test_copies_lie_in_the_box_and_depend_on_seed_and_content_alone() -> None:
    away = torch.stack(near(0.1, 200)) - X
    box = 0.1 * (X.amax(1) - X.amin(1))
    assert bool((away.abs() <= box[:, None] * (1 + 1e-5)).all())
    # uniform in a box: standard deviation side / sqrt(12), here of 200 x 8 draws
    assert float(away[:, 0].std()) == pytest.approx(float(2 * box[0] / math.sqrt(12)), rel=0.1)
    alone = nearby({"x": X[1:]}, 0.1, 7)["x"]
    assert torch.equal(alone[0], near(0.1, 8)[7][1])
    with running(Run(seed=1)):
        other = near(0.1, 8)[7]
    assert not torch.equal(other, near(0.1, 8)[7])


def test_of_a_sum_of_squares_everything_is_known() -> None:
    why = gradient(Square(), X, 0)
    moves = torch.stack([(v - X).norm(dim=1) for v in near()])
    worst = (moves / X.norm(dim=1)).amax(0)
    found = max_sensitivity(why)
    assert found.each == pytest.approx(worst.tolist(), rel=1e-4)
    assert dict(found.references)["average"] == pytest.approx(float((moves / X.norm(dim=1)).mean()), rel=1e-4)
    steep = local_lipschitz(why)  # the map is the input: it moves exactly as far
    assert steep.each == pytest.approx((1.0, 1.0), rel=1e-4)
    assert dict(steep.references)["relative"] == pytest.approx(1.0, rel=1e-4)
    assert local_lipschitz(gradient(randomized(nn.Sequential(nn.Linear(8, 8), Square()), 2), X, 0)).value > 0


def test_the_lipschitz_estimate_stays_below_the_largest_singular_value() -> None:
    net = randomized(nn.Sequential(nn.Linear(8, 8), Square()), 2)
    w = net[0].weight.detach().double()
    bound = float(torch.linalg.matrix_norm(w.T @ w, 2))  # the gradient is w^T (w x + b)
    found = local_lipschitz(gradient(net, X, 0), copies=50)
    assert 0.2 * bound < found.value <= bound * (1 + 1e-4)
    assert found.value >= local_lipschitz(gradient(net, X, 0), copies=5).value


def test_relative_stability_of_shares_is_one_against_the_input_and_what_repeats_it() -> None:
    net = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 1))
    net[0].weight.data = torch.eye(8)
    why = METHODS.input_x_gradient(net, X, 0)  # w x: changes in each place by the same factor as x
    found = relative_stability(why, guard=1e-6)
    assert found.each == pytest.approx((1.0, 1.0), rel=1e-3)
    others = dict(found.references)
    assert others["representation"] == pytest.approx(1.0, rel=1e-3) and others["guarded"] == 0
    w, b = net[1].weight[0].detach(), net[1].bias.detach()
    by_hand = torch.stack([((v - X) / X).norm(dim=1) / ((v @ w + b) - (X @ w + b)).abs() for v in near()]).amax(0)
    output = relative_stability(why, against="output", guard=1e-6)
    assert output.each == pytest.approx(by_hand.tolist(), rel=1e-2)
    assert others["output"] == pytest.approx(output.value)
    named = relative_stability(why, against="representation", site="0", guard=1e-6)
    assert named.value == pytest.approx(1.0, rel=1e-3)


class Bent(nn.Module):
    """Its gradient in place 0 is almost nothing, and turns to something anywhere near."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 1:].square().sum(1) / 2 + ((x[:, 0] - 1.5) ** 2) / 2)[:, None]


def test_a_place_near_zero_is_guarded_and_told() -> None:
    x = X.clone()
    x[:, 0] = 1.5 + 1e-6
    why = gradient(Bent(), x, 0)
    open_, guarded = (relative_stability(why, guard=g) for g in (1e-8, 0.1))
    assert open_.value > 1000 * guarded.value  # 1e-6 of a value, divided by
    assert dict(guarded.references)["guarded"] == pytest.approx(1 / 8) and "12% of the places" in guarded.why


def test_copies_of_another_class_are_left_out() -> None:
    net = line(2)
    with torch.no_grad():  # on the border of two classes: half of the copies fall on the other side
        net.bias[0] += (net(X[:1])[0, 1] - net(X[:1])[0, 0]) + 1e-3
    why = METHODS.input_x_gradient(net, X[:1], 0)
    top = net(X[:1]).argmax(1)
    kept = [v[:1] for v in near() if bool(net(v[:1]).argmax(1) == top)]
    assert 0 < len(kept) < 10

    def out(v: Tensor) -> float:
        return float((net(X[:1]) - net(v)).detach().norm())

    by_hand = max(float(((v - X[:1]) / X[:1]).norm()) / out(v) for v in kept)
    assert relative_stability(why, against="output", guard=1e-6).value == pytest.approx(by_hand, rel=1e-2)


@pytest.mark.parametrize("own", [1, (2, 0)], ids=["one class", "a class each"])
def test_copies_explained_together_get_what_each_gets_alone(own: object) -> None:
    net = randomized(nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)), 3)
    copies = [{"input": v} for v in near(0.1, 20)]  # of two samples: more than one run holds
    for name in ("saliency", "smooth_grad", "integrated_gradients"):
        why = getattr(METHODS, name)(net, X, logit(own))
        alone = [getattr(METHODS, name)(net, c["input"], logit(own)).values.double() for c in copies]
        torch.testing.assert_close(torch.stack(on_copies(why, copies)), torch.stack(alone), rtol=1e-4, atol=1e-6)


def test_an_option_that_is_a_tensor_and_a_target_that_is_a_function_are_kept() -> None:
    net = randomized(nn.Linear(8, 3), 2)
    first = scalar(lambda out: out[:, 0] - 2 * out[:, 1])
    assert max_sensitivity(METHODS.saliency(net, X, first)).value == 0.0
    w, start = net.weight[1].detach(), torch.arange(16.0).view(2, 8)  # two beginnings, averaged
    why = METHODS.integrated_gradients(net, X, 1, baselines=start)
    moves = torch.stack([(w * (v - X)).norm(dim=1) / (w * (X - start.mean(0))).norm(dim=1) for v in near()])
    assert max_sensitivity(why).each == pytest.approx(moves.amax(0).tolist(), rel=1e-3)


def test_a_site_is_measured_where_it_lies() -> None:
    net = randomized(nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 1)), 3)
    for measure in MEASURES:
        assert measure(METHODS.input_x_gradient(net, X, 0, at="1")).value > 0


def test_what_has_no_neighbors_and_what_is_zero_is_said() -> None:
    words = randomized(nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 2)), 1)
    for measure in MEASURES:
        with pytest.raises(BadInput, match="Words"):
            measure(METHODS.input_x_gradient(words, torch.arange(5)[None], 0))
    zero = randomized(nn.Linear(8, 1), 1, scale=0.0)
    assert max_sensitivity(METHODS.saliency(zero, X, 0)).verdict is Verdict.UNKNOWN
    assert relative_stability(METHODS.saliency(zero, X, 0)).verdict is Verdict.UNKNOWN
    with pytest.raises(BadInput, match="no inner representation"):
        relative_stability(METHODS.saliency(line(), X, 0), against="representation")
