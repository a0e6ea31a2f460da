r"""Blur integrated gradients: along the path from the blurred picture to the sharp one, what each place adds.

$$A_i(x) = -\int_0^{\sigma_{max}}\frac{\partial f}{\partial x_i}\bigl(L(\sigma)\bigr)\,
\frac{\partial L_i}{\partial\sigma}\,d\sigma,\qquad L(\sigma) = \text{x blurred with width } \sigma$$

The values add up to $f(x) - f(L(\sigma_{max}))$.  The blur is a product of matrices, so that its slope is exact, at
the border as well; the integral is taken at Gauss-Legendre points.

Good for: integrated gradients without a baseline to choose: the blurred picture holds no new edges, and no color is
          taken for nothing.
Not for:  evidence that survives the blur (the color of a sky): it never changes on the path and gets no credit.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, add_to, each, total
from pellucid.probes.blur import blurred, mean_side, slope
from pellucid.probes.path import gauss_legendre
from pellucid.probes.variations import Variations


@method(
    title="Blur integrated gradients",
    family="gradient",
    paper="Xu, Venugopalan, Sundararajan 2020, arXiv:2004.03383",
    promises=Promise.COMPLETE
    | Promise.LINEAR
    | Promise.DUMMY
    | Promise.IMPLEMENTATION_INVARIANT
    | Promise.SYMMETRIC
    | Promise.SCALE_INVARIANT,
    cost="`steps` gradient passes, and 2 forward passes",
)
def blur_integrated_gradients(
    f: Score,
    x: Tensors,
    *,
    steps: Annotated[int, Range(1, 4096), "points on the path"] = 64,
    blur: Annotated[float, Range(0.01, 1), "widest blur (standard deviation), as a share of the mean side"] = 0.2,
) -> Finding:
    """Shares of the change of the score between the blurred input and the sharp one, which add up to that change.

    Pictures and volumes are blurred along their places, series along time.  Shapes follow the input; the unit is the
    score's; `gap` of the explanation is the relative error of the sum.  A stopped run lets the part of the path that
    was seen stand for the rest.  Raises `BadInput` for tables, which have no neighbors to blur with, and `BadModel`
    when the score does not depend differentiably on the input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(75, 1))
    >>> e = pl.methods.blur_integrated_gradients(net, torch.rand(1, 3, 5, 5), 0, steps=64)
    >>> e.gap[0] < 1e-3
    True
    """
    axes = {k: _axes(f, k, v) for k, v in x.items() if v.is_floating_point()}
    nodes, weights = gauss_legendre(steps)
    shares, reached = each(torch.zeros_like, x), 0.0
    change = f(x) - f(_at(x, axes, blur))
    for node, weight, gradient in zip(nodes, weights, f.grads(_path(x, axes, blur, nodes)), strict=False):
        add_to(shares, _terms(gradient, x, axes, blur, node), weight)
        reached += weight
    maps = each(lambda v: v / reached, shares) if reached < 1 - 1e-6 else shares
    gap = (total(maps) - change).abs() / change.abs().clamp(min=1e-6)
    return Finding(maps, gap=tuple(gap.tolist()), facts={"change of the score": change.tolist()})


Axes = dict[str, tuple[int, ...]]


def _axes(f: Score, name: str, v: Tensor) -> tuple[int, ...]:
    """The axes that have neighbors: all behind batch and channels, or the words of a text."""
    axes = (1,) if name in f.positions else tuple(range(2, v.ndim))
    if not axes:
        raise BadInput(f"Input {name!r} is a table, {tuple(v.shape)}: its columns have no neighbors to blur with.")
    return axes


def _at(x: Tensors, axes: Axes, blur: float) -> Tensors:
    return x | {k: blurred(x[k], a, blur * mean_side(x[k], a)) for k, a in axes.items()}


def _path(x: Tensors, axes: Axes, blur: float, nodes: list[float]) -> Variations:
    """The blurred inputs at `nodes`, from the widest blur (0) to the sharp input (1)."""
    return Variations(len(nodes), lambda i: _at(x, axes, blur * (1 - nodes[i])))


def _terms(gradient: Tensors, x: Tensors, axes: Axes, blur: float, node: float) -> Tensors:
    """What each value adds on a stretch of length 1 of the path: its gradient, times how fast it sharpens."""

    def term(k: str, a: tuple[int, ...]) -> Tensor:
        wide = blur * mean_side(x[k], a)
        return -wide * gradient[k] * slope(x[k], a, wide * (1 - node))

    return {k: term(k, a) for k, a in axes.items()}


def reference(f: Score, x: Tensors, *, blur: float = 0.2, points: int = 2000) -> Tensors:
    """The definition, slowly: midpoints, and the change of the blurred input from one end of a stretch to the other."""
    axes = {k: _axes(f, k, v) for k, v in x.items() if v.is_floating_point()}
    maps, start = each(torch.zeros_like, x), _at(x, axes, blur)
    middles = _path(x, axes, blur, [(i + 0.5) / points for i in range(points)])
    for i, gradient in enumerate(f.grads(middles)):
        end = _at(x, axes, blur * (1 - (i + 1) / points)) if i + 1 < points else x
        add_to(maps, each(lambda g, a, b: g * (b - a), gradient, start, end))
        start = end
    return maps
