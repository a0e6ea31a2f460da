"""How the attention methods are run in their tests, and on what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.core.target import Target
from pellucid.core.tensors import Tensors
from pellucid.methods import all_methods

METHODS = {n: m for n, m in all_methods().items() if m.family == "attention"}
every_method = pytest.mark.parametrize("name", METHODS)


def maps(name: str, net: nn.Module | Network, x: Any, target: Target | int | None = 1, **options: Any) -> Tensors:
    return METHODS[name](net, x, target, **options).maps


def values(name: str, net: nn.Module | Network, x: Any, target: Target | int | None = 1, **options: Any) -> Tensor:
    (found,) = maps(name, net, x, target, **options).values()
    return found


def patches(v: Tensor, grid: tuple[int, int] = (3, 2)) -> Tensor:
    """A map as it was before it was enlarged by a whole factor: bilinear, so it is asked of an enlarged basis."""
    size = v.shape[-2:]
    basis = torch.eye(grid[0] * grid[1], dtype=v.dtype).view(-1, 1, *grid)
    large = F.interpolate(basis, size, mode="bilinear", align_corners=False).flatten(1)
    return torch.linalg.lstsq(large.T, v.flatten(1).T).solution.T


def relevance_of_one(noted_: Any, grads: Any) -> Any:
    """The rule for self-attention as the paper writes it, `[batch, tokens, tokens]`."""
    r = np.eye(noted_[0].shape[-1])[None].repeat(len(noted_[0]), 0)
    for a, g in zip(noted_, grads, strict=True):
        r = r + np.maximum(g.astype(np.float64) * a, 0).mean(1) @ r
    return r
