"""BetaSmooth: its matrix form, any spelling of a rectifier, and its two ends."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.errors import BadModel
from pellucid.methods import all_methods
from pellucid.methods.beta_smooth import reference

BETA = all_methods()["beta_smooth"]


def layers() -> list[nn.Linear]:
    torch.manual_seed(2)
    return [nn.Linear(a, b).double() for a, b in ((5, 7), (7, 6), (6, 2))]


class Chain(nn.Module):
    def __init__(self, rectify) -> None:
        super().__init__()
        self.layers, self.rectify = nn.ModuleList(layers()), rectify

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(self.rectify(second(self.rectify(first(x)))))


X = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SPELLINGS = {
    "function": F.relu, "module": nn.ReLU(), "in place": lambda v: F.relu(v, inplace=True), "method": Tensor.relu,
    "clamp": lambda v: v.clamp(min=0),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("sharpness", [0.5, 10.0])
def test_it_is_its_matrix_form_however_a_rectifier_is_spelled(spelling: str, sharpness: float) -> None:
    chain = Chain(SPELLINGS[spelling])
    known = [(layer.weight.detach(), layer.bias.detach()) for layer in chain.layers]
    torch.testing.assert_close(BETA(chain, X, 0, sharpness=sharpness).values, reference(known, X, sharpness))


def test_sharp_slopes_are_the_gradient_and_flat_ones_halve_every_layer() -> None:
    chain = Chain(F.relu)
    plain = all_methods()["saliency"](chain, X, 0, absolute=False).values
    torch.testing.assert_close(BETA(chain, X, 0, sharpness=1e4).values, plain, rtol=1e-3, atol=1e-4)
    first, second, last = (layer.weight.detach() for layer in chain.layers)
    halved = (last @ second @ first)[0].expand(3, 5) / 4
    torch.testing.assert_close(BETA(chain, X, 0, sharpness=1e-3).values, halved, rtol=1e-2, atol=1e-2)


def test_the_slope_of_relu6_is_that_of_two_softplus() -> None:
    x = torch.tensor([[-1.0, 0.5, 5.5, 7.0]], dtype=torch.float64)
    found = BETA(nn.Sequential(nn.ReLU6(), Sum()), x, 0, sharpness=3.0).values
    leaf = x.clone().requires_grad_()
    (F.softplus(leaf, 3.0) - F.softplus(leaf - 6, 3.0)).sum().backward()
    torch.testing.assert_close(found, leaf.grad)


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True)


def test_smooth_activations_keep_their_slopes_and_others_are_named() -> None:
    for smooth in (F.gelu, F.silu, torch.sigmoid, torch.tanh):
        chain = Chain(smooth)
        found = BETA(chain, X, 0, strict=True)
        torch.testing.assert_close(found.values, all_methods()["saliency"](chain, X, 0, absolute=False).values)
    assert BETA(Chain(F.hardswish), X, 0).without_rule
    with pytest.raises(BadModel, match="smoothed slopes"):
        BETA(Chain(F.hardswish), X, 0, strict=True)
