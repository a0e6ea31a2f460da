"""Expected gradients as the shap package computes them: exactly on linear networks, on others within the error."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.methods import all_methods
from tests.networks import Chain

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import shap

pytestmark = pytest.mark.filterwarnings("ignore:::shap", "ignore::FutureWarning")

gradient_shap = all_methods()["gradient_shap"]


def theirs(net: nn.Module, x: torch.Tensor, baseline: float, samples: int) -> torch.Tensor:
    explainer = shap.GradientExplainer(net, torch.full((1, x.shape[1]), baseline), batch_size=50)
    return torch.as_tensor(np.asarray(explainer.shap_values(x, nsamples=samples, rseed=1)))[..., 0].float()


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_exact_on_a_linear_network(baseline: float) -> None:
    net, x = nn.Linear(5, 2), torch.randn(3, 5)
    found = gradient_shap(net, x, 0, noise=0.0, baseline=baseline).values
    torch.testing.assert_close(found, theirs(net, x, baseline, 20), rtol=0, atol=1e-5)


@pytest.mark.parametrize("baseline", [0.0, -0.5])
def test_within_the_error_on_a_network_with_rectifiers(baseline: float) -> None:
    net, x, samples = Chain(5, 16, 2, seed=2), torch.randn(2, 5), 1000
    found = gradient_shap(net, x, 0, samples=samples, noise=0.0, baseline=baseline).values
    # the spread of one share along the path, from as many points of a grid
    t = torch.linspace(0, 1, 1001)[:, None, None]
    along = (baseline + t * (x - baseline)).requires_grad_()
    slopes = torch.autograd.grad(net(along)[..., 0].sum(), along)[0]
    spread = (slopes * (x - baseline)).std(0)
    assert bool(((found - theirs(net, x, baseline, samples)).abs() <= 5 * spread / samples**0.5 + 1e-5).all())
