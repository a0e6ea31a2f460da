"""Points on the straight path from a baseline to the input, with quadrature weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from pellucid.core.errors import Stopped
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, add_to, each
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


def shares(f: Score, beginnings: Sequence[Tensors], x: Tensors, points: int) -> tuple[Tensors, bool]:
    """Integrated gradients by so many points on the path from each beginning, averaged over the paths.

    Also whether all points were reached: a stopped run reaches fewer, which then stand for the rest.
    """
    nodes, weights = gauss_legendre(points)
    maps, reached, n = each(torch.zeros_like, x), 0.0, len(beginnings)
    path = Variations(points * n, lambda i: between(beginnings[i % n], x, nodes[i // n]))
    for i, gradient in enumerate(f.grads(path)):
        start, weight = beginnings[i % n], weights[i // n] / n
        add_to(maps, each(lambda g, a, b: g * (b - a), gradient, start, x), weight)
        reached += weight
    if reached < 1 - 1e-6:
        maps = each(lambda m: m / reached, maps)
    return maps, not current().meter.stopped


def followed(f: Score, start: Tensors, x: Tensors, nodes: list[float]) -> Iterator[tuple[Tensors, Tensors]]:
    """What is explained, and the score's gradient on it, at points of the straight path of the network's own input.

    At an inner site that is the value there, which takes another path of its own.
    """
    points = straight(start, x, nodes)
    if f.inner is None:
        return zip(points, f.grads(points), strict=False)
    site, name = f.inner.site, f.inner.name
    seen = (found[site] for found in f.outside.watches(points, site))
    return (({name: s.value}, {name: s.grad}) for s in seen)


def whole(reached: int, points: int) -> None:
    """Raise `Stopped` when a path was cut short, of which no part stands for the rest."""
    if reached < points:
        raise Stopped(f"Stopped {current().meter.stopped}, in the middle of the path.", "Run it again to get a map.")
