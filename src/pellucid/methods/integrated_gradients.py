r"""Integrated gradients: the gradient, averaged along the straight path from a baseline to the input.

$$A_i(x) = (x_i - x^0_i)\int_0^1\frac{\partial f}{\partial x_i}\bigl(x^0 + t\,(x - x^0)\bigr)\,dt$$

The values add up to $f(x) - f(x^0)$.  Networks with rectifiers have a gradient that jumps along the path, so no
quadrature is exact: the path is sampled again and again with twice as many Gauss-Legendre points, all points of all
rounds are kept, and the rounds end when both the map and its sum have settled.  Both numbers are reported.

Good for: values that must add up, on any differentiable score.
Not for:  inputs where the baseline is itself a meaningful picture (a black X-ray says "no patient").
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.errors import Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, add_to, each, total
from pellucid.probes.path import constant, gauss_legendre, straight

_FIRST_ROUND = 16


@method(
    title="Integrated gradients",
    family="gradient",
    paper="Sundararajan, Taly, Yan 2017, arXiv:1703.01365",
    promises=Promise.COMPLETE
    | Promise.LINEAR
    | Promise.DUMMY
    | Promise.IMPLEMENTATION_INVARIANT
    | Promise.SYMMETRIC
    | Promise.SCALE_INVARIANT,
    cost="`steps` gradient passes, or as many as it takes to settle (16 to `most`)",
)
def integrated_gradients(
    f: Score,
    x: Tensors,
    *,
    steps: Annotated[int | None, Range(1, 4096), "points on the path; none: until map and sum have settled"] = None,
    tolerance: Annotated[float, Range(1e-6, 1), "what counts as settled: relative change of the map, and gap"] = 0.05,
    most: Annotated[int, Range(16, 4096), "points at which to stop although nothing has settled"] = 240,
    baseline: Annotated[float, Range(-1e6, 1e6), "value of every prepared input at the start of the path"] = 0.0,
) -> Finding:
    """Shares of the change of the score between a baseline and the input, which add up to that change.

    Shapes follow the input; the unit is the score's.  `gap` of the explanation is the relative error of the sum, and
    `facts["map change"]` how much the last round still changed the map.  Raises `BadModel` when the score does not
    depend differentiably on the input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(2, 1)
    >>> pl.methods.integrated_gradients(net, torch.ones(1, 2), 0).gap[0] < 1e-5
    True
    """
    start = constant(x, baseline)
    change = f(x) - f(start)
    if steps is not None:
        mean, _ = _average(f, start, x, steps)
        return _finding(x, start, mean, change, [steps] * len(change), None, tolerance)
    return _until_settled(f, x, start, change, tolerance, most)


def _average(f: Score, start: Tensors, x: Tensors, points: int) -> tuple[Tensors, bool]:
    """The mean gradient on the path, and whether all points were reached (a stopped run reaches fewer)."""
    nodes, weights = gauss_legendre(points)
    mean, reached = each(torch.zeros_like, x), 0.0
    for weight, gradient in zip(weights, f.grads(straight(start, x, nodes)), strict=False):
        add_to(mean, gradient, weight)
        reached += weight
    if reached < 1 - 1e-6:  # the part of the path that was seen stands for the rest
        mean = each(lambda m: m / reached, mean)
    return mean, not current().meter.stopped


def _until_settled(f: Score, x: Tensors, start: Tensors, change: Tensor, tolerance: float, most: int) -> Finding:
    """Double the points round by round; each sample ends when its own map and sum have settled."""
    mean, moved = each(torch.zeros_like, x), torch.full_like(change, float("nan"))
    used, open_, points = [0] * len(change), list(range(len(change))), _FIRST_ROUND
    while open_:
        here, from_ = ({k: v[open_] for k, v in t.items()} for t in (x, start))
        try:
            found, whole = _average(f.among(open_), from_, here, points)
        except Stopped:
            if not any(used):
                raise
            current().meter.stopped = f"after {max(used)} points on the path"
            break
        if not whole and used[open_[0]]:
            break  # a round that was cut short would tilt the average; the rounds before it stand
        share = points / (used[open_[0]] + points)
        before = {k: v[open_] for k, v in mean.items()}
        after = each(lambda m, g, s=share: m + s * (g - m), before, found)
        for k, v in after.items():
            mean[k][open_] = v
        used = [n + points if i in open_ else n for i, n in enumerate(used)]
        delta = each(lambda a, b, p, q: (a - b) * (p - q), after, before, here, from_)
        size = each(lambda a, p, q: a * (p - q), after, here, from_)
        moved[open_] = _norm(delta) / _norm(size).clamp(min=1e-12) if used[open_[0]] > points else float("nan")
        gap = _gap(total(size), change[open_])
        open_ = [
            i for i, m, g in zip(open_, moved[open_].tolist(), gap.tolist(), strict=True) if not max(m, g) <= tolerance
        ]
        points *= 2
        if not whole or (open_ and used[open_[0]] + points > most):
            break
    return _finding(x, start, mean, change, used, moved, tolerance)


def _norm(x: Tensors) -> Tensor:
    return total(each(torch.square, x)).sqrt()


def _gap(added: Tensor, change: Tensor) -> Tensor:
    return (added - change).abs() / change.abs().clamp(min=1e-6)


def _finding(
    x: Tensors, start: Tensors, mean: Tensors, change: Tensor, used: list[int], moved: Tensor | None, tolerance: float
) -> Finding:
    maps = each(lambda m, a, b: m * (b - a), mean, start, x)
    gap = _gap(total(maps), change).tolist()
    facts: dict[str, object] = {"points": used, "gap": gap, "change of the score": change.tolist()}
    notes: tuple[str, ...] = ()
    if moved is not None:
        facts["map change"] = moved.tolist()
        unsettled = sum(not max(m, g) <= tolerance for m, g in zip(moved.tolist(), gap, strict=True))
        if unsettled:
            notes = (f"{unsettled} of {len(gap)} samples had not settled to {tolerance:.0%} after {max(used)} points.",)
    return Finding(maps, gap=tuple(gap), facts=facts, notes=notes)


def reference(f: Score, x: Tensors, *, baseline: float = 0.0, points: int = 2000) -> Tensors:
    """The definition, slowly: a sum over many midpoints."""
    start = constant(x, baseline)
    nodes = [(i + 0.5) / points for i in range(points)]
    mean = each(torch.zeros_like, x)
    for gradient in f.grads(straight(start, x, nodes)):
        mean = each(lambda m, g: m + g / points, mean, gradient)
    return each(lambda m, a, b: m * (b - a), mean, start, x)
