"""Redirected gradients: what passes through a blocked rectifier, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import scalar
from pellucid.rules.redirect import redirect

X = torch.tensor([[-2.0, -2.0, 0.0, 3.0, 3.0, 6.0, 8.0, 8.0]])
UP = torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0]])


class Weighted(nn.Module):
    """A sum with the weights `UP`, after one operation."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(x * 1) * UP


def flows(operation: Callable[[Tensor], Tensor], share: float = 0.3) -> list[float]:
    score = Score(Network(Weighted(operation)), scalar(lambda out: out.sum(1))).under(redirect(share))
    return [round(v, 4) for v in score.grad({"x": X})["x"][0].tolist()]


@pytest.mark.parametrize(
    "relu",
    [F.relu, torch.relu_, lambda x: x.clamp(min=0), nn.ReLU(), nn.ReLU(inplace=True)],
    ids=["function", "in place", "clamp", "module", "module in place"],
)
def test_of_a_blocked_relu_what_would_switch_it_on_passes(relu: Callable[[Tensor], Tensor]) -> None:
    assert flows(relu) == [0.3, 0, 0.3, 1, -1, -1, -1, 1]


@pytest.mark.parametrize(
    "relu6", [F.relu6, lambda x: x.clamp(0, 6), nn.ReLU6(inplace=True)], ids=["function", "clamp", "in place"]
)
def test_a_relu6_is_blocked_at_both_ends(relu6: Callable[[Tensor], Tensor]) -> None:
    # below it only what rises passes, above it only what falls; at the ends themselves as torch has it
    found = flows(relu6)
    assert found[:2] == [0.3, 0] and found[3:5] == [1, -1] and found[6:] == [-0.3, 0]


def test_where_nothing_is_blocked_the_gradient_is_the_plain_one() -> None:
    slope = torch.where(X > 0, 1.0, 0.1)
    assert flows(lambda x: F.leaky_relu(x, 0.1)) == [round(v, 4) for v in (slope * UP)[0].tolist()]
    assert flows(torch.tanh) == [round(v, 4) for v in ((1 - X.tanh() ** 2) * UP)[0].tolist()]
    assert flows(F.relu, 0.0) == [0, 0, 0, 1, -1, -1, -1, 1]


def test_whole_shares_are_let_through() -> None:
    assert flows(F.relu, 1.0)[:3] == [1, 0, 1]
