"""Sanity, stability, complexity, axioms beside captum and Quantus: equal where they are right, or shown to be wrong.

Each closed form is one whose answer is known without either; Quantus's own answer to it is written beside it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.metrics import sensitivity_max
from torch import Tensor, nn

from pellucid.checks.completeness import completeness
from pellucid.checks.complexity import complexity
from pellucid.checks.effective_complexity import effective_complexity
from pellucid.checks.local_lipschitz import local_lipschitz
from pellucid.checks.max_sensitivity import max_sensitivity
from pellucid.checks.non_sensitivity import non_sensitivity
from pellucid.checks.relative_stability import relative_stability
from pellucid.checks.sparseness import sparseness
from pellucid.core.explanation import Explanation
from pellucid.core.network import Network
from pellucid.methods import all_methods
from pellucid.trials.again import nearby
from pellucid.trials.shifted import shifted
from pellucid.trials.unlearned import unlearned
from tests.networks import randomized

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus
    from quantus.helpers.model.pytorch_model import PyTorchModel

pytestmark = pytest.mark.filterwarnings("ignore:::quantus")

METHODS = all_methods()
PLAIN = {"abs": False, "normalise": False, "return_aggregate": False, "disable_warnings": True}
COPIES = 6


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bent() -> tuple[nn.Module, Tensor]:
    net = randomized(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3)), 5)
    return net, torch.rand(1, 1, 6, 6, generator=seeded(1)) + 0.5


def ask(metric: object, net: nn.Module, x: Tensor, places: Tensor, label: int = 0, **more: object) -> np.ndarray:
    given = {"a_batch": places.numpy(), "device": "cpu", "softmax": False, **more}
    return np.asarray(metric(net.eval(), x.numpy(), np.full(len(x), label), **given), float)


def our_copies(x: Tensor) -> object:
    """A perturbation for Quantus that gives the copies that we draw, one after the other."""
    given = iter([nearby({"input": x}, 0.02, draw)["input"].numpy() for draw in range(COPIES)])
    return lambda arr, **_: next(given).reshape(arr.shape)


def slopes(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
    x = torch.as_tensor(inputs, dtype=torch.float32).requires_grad_()
    (found,) = torch.autograd.grad(model(x)[torch.arange(len(x)), torch.as_tensor(targets)].sum(), x)
    return (found * x).detach().numpy()


# Stability


def test_max_sensitivity_is_captums_on_the_same_copies() -> None:
    net, x = bent()
    why = METHODS["input_x_gradient"](net, x, 1)

    def explain(inputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (METHODS["input_x_gradient"](net, inputs[0] if isinstance(inputs, tuple) else inputs, 1).values,)

    def move(inputs: Tensor | tuple[Tensor, ...]) -> Tensor:
        return torch.cat([nearby({"input": x}, 0.02, draw)["input"] for draw in range(COPIES)])

    theirs = sensitivity_max(explain, x, move, n_perturb_samples=COPIES, max_examples_per_batch=COPIES)
    assert max_sensitivity(why, copies=COPIES).value == pytest.approx(float(theirs), rel=1e-4)


def test_the_lipschitz_estimate_is_quantuss_on_the_same_copies() -> None:
    net, x = bent()
    metric = quantus.LocalLipschitzEstimate(
        nr_samples=COPIES, perturb_func=our_copies(x), norm_numerator=quantus.similarity_func.distance_euclidean,
        norm_denominator=quantus.similarity_func.distance_euclidean, **PLAIN,
    )  # fmt: skip
    why = METHODS["input_x_gradient"](net, x, 1)
    (theirs,) = ask(metric, net, x, why.values, 1, explain_func=slopes)
    assert local_lipschitz(why, copies=COPIES).value == pytest.approx(theirs, rel=1e-3)


def test_relative_input_stability_is_quantuss_where_nothing_is_near_zero() -> None:
    net, x = bent()
    why = METHODS["input_x_gradient"](net, x, 1)
    metric = quantus.RelativeInputStability(nr_samples=COPIES, perturb_func=our_copies(x), **PLAIN)
    (theirs,) = ask(metric, net, x, why.values, 1, explain_func=slopes).ravel()
    assert relative_stability(why, copies=COPIES, guard=1e-9).value == pytest.approx(theirs, rel=1e-2)


# Complexity


@pytest.mark.parametrize("seed", range(3))
def test_sparseness_and_entropy_are_quantuss(seed: int) -> None:
    net, x = bent()
    places = torch.randn(1, 1, 6, 6, generator=seeded(seed))
    why = replace(METHODS["input_x_gradient"](net, x, 1), maps={"input": places})
    for metric, mine in ((quantus.Sparseness, sparseness), (quantus.Complexity, complexity)):
        (theirs,) = ask(metric(**{**PLAIN, "abs": True}), net, x, places)
        assert mine(why).value == pytest.approx(theirs, rel=1e-4)


def sparse_line() -> Explanation:
    """A linear network that reads four of 16 pixels, one of them against, with its exact map."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, bias=False))
    net[1].weight.data.zero_()[0, [1, 5, 9, 12]] = torch.tensor([1.0, 1.0, -1.0, 1.0])
    return METHODS["input_x_gradient"](net, torch.rand(1, 1, 4, 4, generator=seeded(2)) + 0.5, 0)


def test_effective_complexity_asks_the_network_and_quantus_counts_positive_numbers() -> None:
    why = sparse_line()
    (theirs,) = ask(quantus.EffectiveComplexity(eps=1e-5, **PLAIN), why.net.model, why.x["input"], why.values)
    assert theirs == 3  # the network needs four
    assert effective_complexity(why, allowed=1e-9, steps=100).value * 16 == pytest.approx(4)
    spread = replace(why, maps={"input": why.values + 1e-3})  # the same order: the network needs as many as before
    (theirs,) = ask(quantus.EffectiveComplexity(eps=1e-5, **PLAIN), why.net.model, why.x["input"], spread.values)
    assert theirs == 15
    assert effective_complexity(spread, allowed=1e-9, steps=100).value * 16 == pytest.approx(4)


# Axioms


def test_non_sensitivity_of_an_exact_map_is_zero_and_quantus_takes_negative_values_for_none() -> None:
    why = sparse_line()
    metric = quantus.NonSensitivity(eps=1e-5, features_in_step=1, perturb_baseline=0.0, **PLAIN)
    (theirs,) = ask(metric, why.net.model, why.x["input"], why.values)
    assert theirs == 1 and non_sensitivity(why).value == 0.0


def test_exact_sums_are_complete_and_quantus_asks_for_equal_bits() -> None:
    net = randomized(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), 3)
    x = torch.randn(6, 1, 8, 8, generator=seeded(4))
    why = METHODS["integrated_gradients"](net, x, 0)
    theirs = ask(quantus.Completeness(perturb_baseline=0.0, **PLAIN), net, x, why.values)
    assert theirs.sum() < 6 and completeness(why).value < 1e-5


# Sanity


class Small(nn.Module):
    """A vision transformer of one block."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 5, 8))
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.one, self.other, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1) + self.pos
        tokens = tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(self.other(torch.relu(self.one(tokens)))[:, 0])


def test_quantus_leaves_attention_and_tokens_trained_and_gives_equal_layers_equal_weights() -> None:
    net = Small()
    *_, (_, forgot) = PyTorchModel(net, channel_first=True).get_random_layer_generator("top_down", 0)
    ours = unlearned(Network(net), {"x": torch.randn(1, 3, 8, 8)}).model
    for name in ("cls", "pos", "attend.in_proj_weight"):
        assert torch.equal(forgot.get_parameter(name), net.get_parameter(name)), name
        assert not torch.equal(ours.get_parameter(name), net.get_parameter(name)), name
    assert torch.equal(forgot.one.weight, forgot.other.weight)
    assert not torch.equal(ours.one.weight, ours.other.weight)


def test_a_padded_convolution_is_shifted_exactly_and_quantus_misses_the_border() -> None:
    net = randomized(nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3)), 5)
    x = torch.rand(2, 1, 6, 6, generator=seeded(1))
    theirs = PyTorchModel(net, channel_first=True).add_mean_shift_to_first_layer(-1, (1, 1, 6, 6))
    ours, _ = shifted(Network(net), {"input": x}, "input", -1.0)
    torch.testing.assert_close(ours.model(x - 1), net(x), atol=1e-4, rtol=1e-4)
    assert float((theirs(x - 1) - net(x)).detach().abs().max()) > 0.1
