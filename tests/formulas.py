"""Networks that are a formula, and how methods are run on them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pellucid.core.explanation import Explanation
from pellucid.methods import all_methods

# methods that read attention are held to all of this in test_attention_methods.py, on networks that have some
METHODS = {n: m for n, m in all_methods().items() if m.family != "attention"}


def explain(name: str, net: nn.Module, x: Tensor, target: object = 0, **options: object) -> Explanation:
    return METHODS[name](net, x, target, **options)  # type: ignore[arg-type]


class Formula(nn.Module):
    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(x)


def vector(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def near(a: Tensor, b: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(a, b.to(a.dtype).expand_as(a), rtol=0, atol=tolerance)
