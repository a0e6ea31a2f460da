"""Faithfulness by subsets beside captum and Quantus: equal where they are right, and closed forms where they are not.

Quantus's SensitivityN removes more and more places but sums the map over the last step's places alone; its Infidelity
paints one patch after the other over the same copy.  Exact contributions of a linear network must score 1 and each
draw must be a change of the whole input.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from torch import Tensor, nn

from pellucid.checks.faithfulness_correlation import faithfulness_correlation
from pellucid.checks.infidelity import infidelity
from pellucid.checks.sensitivity_n import sensitivity_n
from pellucid.core.explanation import Explanation
from pellucid.core.run import current
from pellucid.methods import all_methods
from tests.networks import randomized

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

pytestmark = pytest.mark.filterwarnings("ignore:::quantus")

METHODS = all_methods()
PLAIN = {"abs": False, "normalise": False, "return_aggregate": False, "disable_warnings": True}


def linear(seed: int, samples: int = 1) -> Explanation:
    """Exact contributions of every pixel; zero is what a removed one is set to."""
    net = randomized(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), seed)
    x = torch.randn(samples, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return METHODS["input_x_gradient"](net, x, 0)


def ask(metric: object, why: Explanation) -> np.ndarray:
    np.random.seed(0)
    x = why.x["input"].numpy()
    given = {"a_batch": why.values.numpy(), "device": "cpu", "softmax": False}
    return np.asarray(metric(why.net.model.eval(), x, np.zeros(len(x), int), **given), float)


@pytest.mark.parametrize("seed", range(4))
def test_sensitivity_n_of_exact_contributions_is_one_and_quantus_says_less(seed: int) -> None:
    why = linear(seed, 8)
    theirs = ask(quantus.SensitivityN(features_in_step=4, n_max_percentage=0.8, perturb_baseline=0.0, **PLAIN), why)
    assert theirs.min() < 0.91 and theirs.mean() < 0.97  # measured: .82 to .90, on average .93 to .95
    assert sensitivity_n(why).each == pytest.approx([1.0] * 8, abs=1e-5)


@pytest.mark.parametrize("part", [0.0, 0.4, 1.0])
def test_faithfulness_correlation_is_the_same_on_a_linear_network(part: float) -> None:
    exact = linear(1)
    wrong = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(3)) * exact.values.std()
    exact.maps["input"] = places = (1 - part) * exact.values + part * wrong
    metric = quantus.FaithfulnessCorrelation(nr_runs=400, subset_size=16, perturb_baseline=0.0, **PLAIN)
    (theirs,) = ask(metric, exact)
    (ours,) = faithfulness_correlation(exact, share=0.25, count=400).each
    r = float(np.corrcoef(places.flatten(), METHODS["input_x_gradient"](exact.net, exact.x, 0).values.flatten())[0, 1])
    slack = 4 * (1 - r**2) / 20 + 1e-5
    assert abs(theirs - r) < slack and abs(ours - r) < slack


def test_infidelity_of_noise_is_captums_with_and_without_its_factor() -> None:
    net = randomized(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)), 5)
    x = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    why = METHODS["input_x_gradient"](net, x, 1)
    why.maps["input"] = why.values / x  # the gradient, with its sign
    found = infidelity(why, change="noise", reads="slopes", count=60, noise=0.2, scale="explained")

    def perturb(copies: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.cat([0.2 * (x.max() - x.min()) * current().normal(x)(i) for i in range(len(copies))])
        return noise, copies - noise

    known, size = dict(found.references), np.square(dict(found.curves)["drop"]).mean()
    for normalize, name in ((False, "as it stands"), (True, "best factor")):
        theirs = captum_infidelity(
            net, perturb, x, why.values, target=1, n_perturb_samples=60, normalize=normalize, max_examples_per_batch=60
        )
        assert known[name] * size == pytest.approx(float(theirs), rel=1e-4)


def test_infidelity_is_zero_for_both_on_a_linear_network_but_quantus_piles_its_patches_up() -> None:
    why = METHODS["saliency"](linear(2).net, linear(2).x, 0)
    why.maps["input"] = why.net.model[1].weight.detach().view(1, 1, 8, 8)
    shown: list[int] = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            shown.append(int((x != why.x["input"]).sum()))
            return why.net.model(x)

    metric = quantus.Infidelity(perturb_patch_sizes=[4], n_perturb_samples=1, perturb_baseline=0.0, **PLAIN)
    (theirs,) = np.asarray(metric(
        Watched().eval(), why.x["input"].numpy(), np.zeros(1, int), a_batch=why.values.numpy(), device="cpu"
    ))  # fmt: skip
    assert theirs == pytest.approx(0.0, abs=1e-5)
    assert infidelity(why, reads="slopes").value == pytest.approx(0.0, abs=1e-5)
    assert shown[-4:] == [16, 32, 48, 64]  # of 64: the "fourth patch" is the whole picture
