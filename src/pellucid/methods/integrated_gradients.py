r"""Integrated gradients: the gradient, averaged along the straight path from a baseline to the input.

$$A_i(x) = (x_i - x^0_i)\int_0^1\frac{\partial f}{\partial x_i}\bigl(x^0 + t\,(x - x^0)\bigr)\,dt$$

The values add up to $f(x) - f(x^0)$.  Networks with rectifiers have a gradient that jumps along the path, so no
quadrature is exact: the path is sampled again and again with twice as many Gauss-Legendre points, all points of all
rounds are kept, and the rounds end when both the map and its sum have settled.  Both numbers are reported.

With several baselines, the paths from each are averaged: the values add up to the mean change.

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
from pellucid.core.tensors import Tensors, each, total
from pellucid.probes.baselines import Baselines, Constant, Start, mean_change, starts
from pellucid.probes.path import shares, straight

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
    cost="`steps` gradient passes for each baseline, or as many as it takes to settle (16 to `most`)",
)
def integrated_gradients(
    f: Score,
    x: Tensors,
    *,
    steps: Annotated[int | None, Range(1, 4096), "points on the path; none: until map and sum have settled"] = None,
    tolerance: Annotated[float, Range(1e-6, 1), "what counts as settled: relative change of the map, and gap"] = 0.05,
    most: Annotated[int, Range(16, 4096), "points at which to stop although nothing has settled"] = 240,
    baseline: Constant = 0.0,
    start: Start = "constant",
    baselines: Baselines = None,
) -> Finding:
    """Shares of the change of the score between a baseline (or several) and the input, which add up to that change.

    Shapes follow the input; the unit is the score's.  `gap` of the explanation is the relative error of the sum, and
    `facts["map change"]` how much the last round still changed the map.  Raises `BadModel` when the score does not
    depend differentiably on the input, and `BadOption` when the baselines fit no input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(2, 1)
    >>> pl.methods.integrated_gradients(net, torch.ones(1, 2), 0).gap[0] < 1e-5
    True
    """
    beginnings = starts(f, x, baseline, start, baselines)
    change = mean_change(f, x, beginnings)
    if steps is not None:
        maps, _ = shares(f, beginnings, x, steps)
        return _finding(maps, change, [steps] * len(change), None, tolerance, len(beginnings))
    return _until_settled(f, x, beginnings, change, tolerance, most)


def _until_settled(
    f: Score, x: Tensors, beginnings: list[Tensors], change: Tensor, tolerance: float, most: int
) -> Finding:
    """Double the points round by round; each sample ends when its own map and sum have settled."""
    maps, moved = each(torch.zeros_like, x), torch.full_like(change, float("nan"))
    used, open_, points = [0] * len(change), list(range(len(change))), _FIRST_ROUND
    while open_:
        here, *from_ = ({k: v[open_] for k, v in t.items()} for t in (x, *beginnings))
        try:
            found, whole = shares(f.among(open_), from_, here, points)
        except Stopped:
            if not any(used):
                raise
            current().meter.stopped = f"after {max(used)} points on the path"
            break
        if not whole and used[open_[0]]:
            break  # a round that was cut short would tilt the average; the rounds before it stand
        share = points / (used[open_[0]] + points)
        before = {k: v[open_] for k, v in maps.items()}
        after = each(lambda m, g, s=share: m + s * (g - m), before, found)
        for k, v in after.items():
            maps[k][open_] = v
        used = [n + points if i in open_ else n for i, n in enumerate(used)]
        delta = each(torch.sub, after, before)
        moved[open_] = _norm(delta) / _norm(after).clamp(min=1e-12) if used[open_[0]] > points else float("nan")
        gap = _gap(total(after), change[open_])
        open_ = [
            i for i, m, g in zip(open_, moved[open_].tolist(), gap.tolist(), strict=True) if not max(m, g) <= tolerance
        ]
        points *= 2
        if not whole or (open_ and used[open_[0]] + points > most):
            break
    return _finding(maps, change, used, moved, tolerance, len(beginnings))


def _norm(x: Tensors) -> Tensor:
    return total(each(torch.square, x)).sqrt()


def _gap(added: Tensor, change: Tensor) -> Tensor:
    return (added - change).abs() / change.abs().clamp(min=1e-6)


def _finding(
    maps: Tensors, change: Tensor, used: list[int], moved: Tensor | None, tolerance: float, paths: int
) -> Finding:
    gap = _gap(total(maps), change).tolist()
    facts: dict[str, object] = {"points": used, "gap": gap, "change of the score": change.tolist()}
    if paths > 1:
        facts["paths averaged"] = paths
    notes: tuple[str, ...] = ()
    if moved is not None:
        facts["map change"] = moved.tolist()
        unsettled = sum(not max(m, g) <= tolerance for m, g in zip(moved.tolist(), gap, strict=True))
        if unsettled:
            notes = (f"{unsettled} of {len(gap)} samples had not settled to {tolerance:.0%} after {max(used)} points.",)
    return Finding(maps, gap=tuple(gap), facts=facts, notes=notes)


def reference(
    f: Score,
    x: Tensors,
    *,
    baseline: float = 0.0,
    start: str = "constant",
    baselines: Tensor | None = None,
    points: int = 2000,
) -> Tensors:
    """The definition, slowly: a sum over many midpoints of each path, and the mean over the paths."""
    nodes, found = [(i + 0.5) / points for i in range(points)], []
    for begin in starts(f, x, baseline, start, baselines):
        mean = each(torch.zeros_like, x)
        for gradient in f.grads(straight(begin, x, nodes)):
            mean = each(lambda m, g: m + g / points, mean, gradient)
        found.append(each(lambda m, a, b: m * (b - a), mean, begin, x))
    return {k: torch.stack([m[k] for m in found]).mean(0) for k in found[0]}
