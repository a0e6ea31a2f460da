"""Points on the straight path from a baseline to the input, with quadrature weights."""

from __future__ import annotations

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from pellucid.core.tensors import Tensors, each
from pellucid.probes.variations import Variations


def gauss_legendre(steps: int) -> tuple[list[float], list[float]]:
    """Nodes and weights on 0..1 that integrate polynomials of degree `2 * steps - 1` exactly.

    >>> nodes, weights = gauss_legendre(3)
    >>> round(sum(w * t**5 for t, w in zip(nodes, weights)), 12) == round(1 / 6, 12)
    True
    """
    nodes, weights = leggauss(steps)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()


def constant(x: Tensors, value: float) -> Tensors:
    """A baseline with the same value everywhere; inputs of whole numbers stay as they are."""
    return x | each(lambda v: torch.full_like(v, value), x)


def between(start: Tensors, x: Tensors, at: float | Tensor) -> Tensors:
    """The point a fraction `at` of the way (one for all, or one a sample)."""

    def point(a: Tensor, b: Tensor) -> Tensor:
        t = at.reshape(-1, *[1] * (b.ndim - 1)) if isinstance(at, Tensor) else at
        return a + t * (b - a)

    return x | each(point, start, x)


def straight(start: Tensors, x: Tensors, nodes: list[float]) -> Variations:
    """The points at `nodes` on the straight path."""
    return Variations(len(nodes), lambda i: between(start, x, nodes[i]))
