"""Layers drawn anew, another class, another zero: against closed forms and methods that know nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.input_invariance import input_invariance
from pellucid.checks.parameter_randomization import NOISE, parameter_randomization
from pellucid.checks.random_logit import random_logit
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.method import method
from pellucid.core.network import Network
from pellucid.core.run import current
from pellucid.core.target import log_odds, logit, scalar
from pellucid.probes.noise import fraction_of_range
from pellucid.trials.agreement import entropy, spearman
from pellucid.trials.unlearned import layers_of, unlearned
from tests.networks import randomized

METHODS = pl.methods


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@method(title="Input", family="none", paper="")
def the_input(f, x):
    return dict(x)


@method(title="Gradient", family="gradient", paper="")
def gradient(f, x):
    return f.grad(x)


@method(title="Noise", family="none", paper="")
def noise(f, x):
    return {k: current().normal(v)(0) for k, v in x.items()}


def funnel() -> nn.Module:
    """Two linear layers through one unit: the gradient of class c is head[c] * first."""
    return randomized(nn.Sequential(nn.Linear(30, 1, bias=False), nn.Linear(1, 3, bias=False)), 1)


X = torch.randn(1, 30, generator=seeded(2))


# Layers


def test_drawing_the_head_of_a_funnel_keeps_the_ranking_and_drawing_its_first_layer_does_not() -> None:
    why = gradient(funnel(), X, 1)
    w, drawn = why.net.model[0].weight[0], unlearned(why.net, why.x).model[0].weight[0]
    left = spearman(w.detach().abs(), drawn.detach().abs())
    assert abs(left) < 0.8
    for order, cascading, curve in (
        ("top_down", True, (1.0, left)),
        ("bottom_up", True, (left, left)),
        ("top_down", False, (1.0, left)),
        ("bottom_up", False, (left, 1.0)),
    ):
        found = parameter_randomization(why, order=order, cascading=cascading)
        assert dict(found.curves)["similarity"] == pytest.approx(curve, abs=1e-6), (order, cascading)
        assert dict(found.curves)["share drawn"] == ((0.5, 1.0) if cascading else (0.5, 0.5))
        assert found.value == pytest.approx(sum(curve) / 2) and found.verdict is Verdict.MEASURED
        assert ("all layers" in dict(found.references)) == cascading


def test_layers_are_divided_into_steps() -> None:
    net = randomized(nn.Sequential(*[nn.Linear(6, 6) for _ in range(7)]), 3)
    why = gradient(net, torch.randn(1, 6, generator=seeded(0)), 1)
    found = parameter_randomization(why, steps=3)
    assert dict(found.curves)["share drawn"] == pytest.approx((2 / 7, 5 / 7, 1.0))
    layers = layers_of(why.net, why.x)
    by_hand = [unlearned(why.net, why.x, only=layers[k:]) for k in (5, 2, 0)]
    alike = [spearman(gradient(n, why.x, 1).values[0].abs(), why.values[0].abs()) for n in by_hand]
    assert dict(found.curves)["similarity"] == pytest.approx(alike, abs=1e-6)


def test_a_method_that_shows_the_input_is_flagged_and_the_gradient_is_not() -> None:
    flagged = parameter_randomization(the_input(funnel(), X, 0))
    assert flagged.verdict is Verdict.FAILS and flagged.value == pytest.approx(1.0) and "Red flag" in flagged.why
    assert parameter_randomization(gradient(funnel(), X, 0)).verdict is Verdict.MEASURED
    calm = parameter_randomization(the_input(funnel(), X, 0), form="entropy")
    assert calm.verdict is Verdict.FAILS and calm.value == 0


def test_the_smooth_form_averages_over_noisy_inputs() -> None:
    net = Network(funnel())
    same = [parameter_randomization(gradient(net, X, 0), form=f).value for f in ("similarity", "smooth")]
    assert same[0] == pytest.approx(same[1])  # a linear network's gradient is the same at every noisy input
    why = METHODS.input_x_gradient(net, X, 0)
    sigma, draw = fraction_of_range({"x": X}, NOISE)["x"], current().normal(X)
    x = torch.stack([X + sigma * draw(i) for i in range(4)]).mean(0)[0]
    first, head = (unlearned(net, why.x).model[i].weight.detach() for i in (0, 1))
    maps = [x * first[0] * head[0, 0], x * net.model[0].weight[0].detach() * net.model[1].weight[0, 0].detach()]
    found = parameter_randomization(why, form="smooth", noisy=4, steps=1)
    assert found.value == pytest.approx(spearman(maps[0].abs(), maps[1].abs()), abs=1e-6)


def test_the_entropy_form_is_the_relative_rise_in_one_step() -> None:
    why = gradient(funnel(), X, 0)
    drawn = gradient(unlearned(why.net, why.x), X, 0)
    before, after = (entropy(e.values[0].abs()) for e in (why, drawn))
    found = parameter_randomization(why, form="entropy")
    assert found.value == pytest.approx((after - before) / before) and not found.curves
    assert found.passes < parameter_randomization(why).passes


def test_other_inputs_maps_are_the_yardstick_of_several_samples() -> None:
    x = torch.randn(3, 30, generator=seeded(4))
    why = METHODS.input_x_gradient(funnel(), x, 0)
    maps = why.values.abs()
    pairs = [spearman(maps[i], maps[j]) for i, j in ((0, 2), (1, 0), (2, 1))]
    known = dict(parameter_randomization(why).references)
    assert known["another input"] == pytest.approx(sum(pairs) / 3, abs=1e-6)


def test_what_cannot_be_randomized_is_said() -> None:
    with pytest.raises(BadModel, match="no weights"):
        parameter_randomization(the_input(nn.Tanh(), torch.ones(1, 3), 0))
    words = METHODS.input_x_gradient(
        randomized(nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 2)), 1), torch.arange(5)[None], 0
    )
    assert math.isfinite(parameter_randomization(words).value)
    with pytest.raises(BadInput, match="Words"):
        parameter_randomization(words, form="smooth")
    flat = parameter_randomization(METHODS.input_x_gradient(funnel(), torch.zeros(1, 30), 0))
    assert flat.verdict is Verdict.UNKNOWN


# Another class


def line(classes: int) -> nn.Module:
    return randomized(nn.Linear(30, classes), 5)


def test_the_other_class_of_a_linear_network_is_known() -> None:
    why = METHODS.input_x_gradient(line(4), X, 1)
    w = why.net.model.weight.detach()
    by_hand = {k: spearman(X[0] * w[1], X[0] * w[k]) for k in (0, 2, 3)}
    for k, alike in by_hand.items():
        assert random_logit(why, other=k).value == pytest.approx(alike, abs=1e-6)
    assert random_logit(why, others=3).value == pytest.approx(sum(by_hand.values()) / 3, abs=1e-6)
    assert random_logit(why, others=99).value == pytest.approx(sum(by_hand.values()) / 3, abs=1e-6)
    assert min(abs(random_logit(why).value - v) for v in by_hand.values()) < 1e-6


def test_a_method_that_never_looks_at_the_class_is_flagged() -> None:
    assert random_logit(the_input(line(4), X, 1)).verdict is Verdict.FAILS
    assert random_logit(METHODS.input_x_gradient(line(4), X, 1)).verdict is Verdict.MEASURED


def test_of_two_classes_ones_evidence_is_the_others_reversed() -> None:
    signed = random_logit(METHODS.input_x_gradient(line(2), X, log_odds(1)))
    assert signed.value == pytest.approx(-1.0) and signed.verdict is Verdict.MEASURED
    unsigned = random_logit(METHODS.saliency(line(2), X, log_odds(1)))
    assert unsigned.value == pytest.approx(1.0) and unsigned.verdict is Verdict.MEASURED


def test_a_class_each_is_kept_from_its_own_draw() -> None:
    x = torch.cat([X, -X, 2 * X])
    net = Network(line(3))
    both = random_logit(METHODS.input_x_gradient(net, x, logit((2, 0, 1))))
    for i, own in enumerate((2, 0, 1)):
        assert random_logit(METHODS.input_x_gradient(net, x[i : i + 1], own)).value == pytest.approx(both.each[i])
        assert both.each[i] < 0.999


def test_without_another_class_there_is_no_test() -> None:
    with pytest.raises(BadInput, match="no other one"):
        random_logit(METHODS.input_x_gradient(line(1), X, 0))
    with pytest.raises(BadInput, match="single class"):
        random_logit(METHODS.input_x_gradient(line(3), X, logit(0) - logit(1)))
    with pytest.raises(BadInput, match="single class"):
        random_logit(METHODS.input_x_gradient(line(3), X, scalar(lambda out: out[:, 0])))
    for other in (1, 3):
        with pytest.raises(BadInput, match="other="):
            random_logit(METHODS.input_x_gradient(line(3), X, 1), other=other)


# Another zero


def convolutions() -> nn.Module:
    return randomized(
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(),
                      nn.Linear(64, 3)), 6
    )  # fmt: skip


PICTURES = torch.randn(2, 2, 6, 6, generator=seeded(7))


@pytest.mark.parametrize("name", ["saliency", "guided_backprop", "deconvolution", "grad_cam"])
def test_maps_of_gradients_do_not_see_where_zero_is(name: str) -> None:
    found = input_invariance(METHODS.__dict__[name](convolutions(), PICTURES, 2))
    assert found.verdict is Verdict.HOLDS and found.value < 1e-4


def test_input_x_gradient_moves_with_zero_by_what_a_linear_network_says() -> None:
    for shift in (0.5, -3.0):
        why = METHODS.input_x_gradient(line(1), X, 0)
        w = why.net.model.weight[0].detach()
        found = input_invariance(why, shift=shift)
        assert found.verdict is Verdict.FAILS
        assert found.value == pytest.approx(abs(shift) * float(w.norm() / (w * X[0]).norm()), rel=1e-4)


def test_a_baseline_at_zero_moves_and_one_that_moves_along_does_not() -> None:
    net = convolutions()
    assert input_invariance(METHODS.integrated_gradients(net, PICTURES, 1)).verdict is Verdict.FAILS
    along = METHODS.integrated_gradients(net, PICTURES, 1, start="blur")  # made of the input itself
    assert input_invariance(along).verdict is Verdict.HOLDS


def test_what_another_seed_moves_as_far_is_no_finding() -> None:
    found = input_invariance(noise(convolutions(), PICTURES, 1))
    assert found.verdict is Verdict.UNKNOWN and "chance" in found.why
    assert dict(found.references)["another seed"] == pytest.approx(math.sqrt(2), abs=0.3)


def test_a_network_without_such_a_layer_has_the_shift_taken_off_in_front() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(30, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.line((x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True))

    found = input_invariance(METHODS.saliency(randomized(Own(), 1), X, 0))
    assert found.verdict is Verdict.HOLDS and "No first layer" in found.why
    assert input_invariance(METHODS.input_x_gradient(randomized(Own(), 1), X, 0)).verdict is Verdict.FAILS
    folded = input_invariance(METHODS.saliency(line(2), X, 0))
    assert folded.verdict is Verdict.HOLDS and "first layer" not in folded.why
    with pytest.raises(BadInput, match="moves nothing"):
        input_invariance(METHODS.saliency(line(2), X, 0), shift=0.0)
