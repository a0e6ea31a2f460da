"""Excitation backpropagation: probabilities by hand, what they add up to, and what contrast cancels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from tests.networks import Chain, Net, picture, seeded
from tests.test_deep_lift import BUILDS, Of, lively, pictures

excitation = pl.methods.excitation_backprop


def chances(weights: list[tuple[Tensor, Tensor]], x: Tensor, unit: int, opposite: bool) -> Tensor:
    """Each layer's table of P(j | i), multiplied: for one sample, or for the unit of opposite weights."""
    tables, a = [], x
    for w, b in weights:
        z = (a * (-w if opposite and w is weights[-1][0] else w)).clamp(min=0)
        tables.append(z / (z.sum(1, keepdim=True) + 1e-6))
        a = (w @ a + b).relu()
    p = torch.eye(len(a), dtype=x.dtype)[unit]
    for table in reversed(tables):
        p = p @ table
    return p


@pytest.mark.parametrize("seed", range(3))
def test_contrast_is_the_difference_of_two_products_of_tables(seed: int) -> None:
    chain, x = Chain(5, 7, 6, 3, seed=seed).double(), torch.randn(4, 5, generator=seeded(seed)).double()
    found = excitation(chain, x, 2, contrast=True).values
    right = torch.stack([chances(chain.weights, v, 2, False) - chances(chain.weights, v, 2, True) for v in x])
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-12)
    plain = torch.stack([chances(chain.weights, v, 2, False) for v in x])
    torch.testing.assert_close(excitation(chain, x, 2).values, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("build", ["resnet18", "vgg"])
def test_probabilities_are_never_negative_and_at_most_one(build: str) -> None:
    net, x = lively(BUILDS[build]()).double(), pictures().double()
    found = excitation(net, x, 1, strict=True)
    assert float(found.values.min()) >= 0 and found.without_rule == ()
    arrived = found.values.flatten(1).sum(1)
    assert float(arrived.max()) < 1 + 1e-9 and float(arrived.min()) > 0.5
    assert found.facts["probability that arrived"] == pytest.approx(arrived.tolist())


@pytest.mark.parametrize(
    ("formula", "right"),
    [
        (lambda v: v.sum(1, keepdim=True), [0.25, 0.0, 0.75]), (lambda v: v.mean(1, keepdim=True), [0.25, 0.0, 0.75]),
        (lambda v: v[:, :1] + v[:, 2:], [0.25, 0.0, 0.75]), (lambda v: v[:, :1] - v[:, 1:2] + 7, [1 / 3, 2 / 3, 0.0]),
        (lambda v: v[:, :1] * v[:, 2:], [0.5, 0.0, 0.5]), (lambda v: -2 * v[:, :1], [1.0, 0.0, 0.0]),
        (lambda v: v.amax(1, keepdim=True), [0.0, 0.0, 1.0]),
        (lambda v: F.max_pool1d(v[:, None], 3)[:, 0], [0.0, 0.0, 1.0]),
        (lambda v: F.relu(v[:, 2:]), [0.0, 0.0, 1.0]), (lambda v: F.avg_pool1d(v[:, None], 3)[:, 0], [0.25, 0.0, 0.75]),
        (lambda v: F.linear(v, torch.tensor([[3.0, -1.0, -5.0]]).double(), torch.ones(1).double()), [0.6, 0.4, 0.0]),
        (lambda v: v @ torch.tensor([[3.0], [-1.0], [-5.0]]).double() + torch.ones(1).double(), [0.6, 0.4, 0.0]),
        (lambda v: v[:, 1:2] + 7, [0.0, 1.0, 0.0]),
    ],
)  # fmt: skip
def test_operations_in_numbers(formula: Callable[[Tensor], Tensor], right: list[float]) -> None:
    x = torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64)
    found = excitation(Of(formula), x, 0, strict=True).values
    torch.testing.assert_close(found, torch.tensor([right], dtype=torch.float64), rtol=1e-5, atol=1e-9)


def test_what_excites_every_class_alike_cancels() -> None:
    """Two classes read two halves of the picture: contrast for one is positive on its own half and not on the other."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2, 2, bias=False)
            with torch.no_grad():
                self.head.weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.cat((x[..., :3].mean((1, 2, 3))[:, None], x[..., 3:].mean((1, 2, 3))[:, None]), 1))

    x = torch.rand(2, 1, 4, 6, generator=seeded(1)) + 0.1
    found = excitation(Halves(), x, 0, contrast=True).values
    assert bool((found[..., :3] > 0).all()) and bool((found[..., 3:] < 0).all())
    torch.testing.assert_close(found[..., :3].flatten(1).sum(1), torch.ones(2), rtol=1e-4, atol=0)


def test_at_a_site_it_is_the_sum_over_channels_there() -> None:
    net, x = Net(seed=3).double(), picture(1).double()
    at_site = excitation(net, x, 1, site="act1")
    assert at_site.values.shape == (2, 1, 6, 5) and at_site.resolution == (6, 5) and at_site.facts["site"] == "act1"
    whole = at_site.values.flatten(1).sum(1)
    assert at_site.facts["probability that arrived"] == pytest.approx(whole.tolist()) and float(whole.min()) > 0.5


def test_what_it_does_not_speak_of_is_named() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Softmax(1), nn.Linear(4, 2))
    assert excitation(net, torch.rand(2, 4), 0).without_rule == ("softmax",)
