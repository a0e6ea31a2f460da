r"""Conductance: how much of the score's change flows through each unit, while the input walks in from a baseline.

$$A_j(x) = \int_0^1\frac{\partial f}{\partial y_j}\bigl(\gamma(t)\bigr)\,\frac{d\,y_j(\gamma(t))}{dt}\,dt,\qquad
\gamma(t) = x^0 + t\,(x - x^0)$$

where $y_j$ are the units at an inner site.  Where everything flows through the site, they add up to $f(x) - f(x^0)$.
Without a site, the units are the input's own values, and conductance is integrated gradients.  Between three
neighboring points of the path, gradient and value are taken for parabolas, whose integral is exact.

Good for: ranking the units of a layer by what they did for this answer, on the inputs that the network knows.
Not for:  a site that other ways lead around: what goes there is missing, and the gap says how much.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, add_to, each, total
from pellucid.probes.baselines import Baselines, Constant, Start, mean_change, starts
from pellucid.probes.path import followed, whole


@method(
    title="Conductance",
    family="gradient",
    paper="Dhamdhere, Sundararajan, Yan 2018, arXiv:1805.12233",
    promises=Promise.COMPLETE
    | Promise.LINEAR
    | Promise.DUMMY
    | Promise.IMPLEMENTATION_INVARIANT
    | Promise.SYMMETRIC
    | Promise.SCALE_INVARIANT,
    cost="2 `steps` + 1 gradient passes for each baseline",
)
def conductance(
    f: Score,
    x: Tensors,
    *,
    steps: Annotated[int, Range(1, 2048), "stretches of the path, each with its ends and its middle"] = 16,
    baseline: Constant = 0.0,
    start: Start = "constant",
    baselines: Baselines = None,
) -> Finding:
    """The share of the score's change that flows through each unit of the site `at`, or through each input value.

    Shapes follow what is explained; the unit is the score's.  The baseline is the network's input, whatever the site.
    Raises `BadModel` when the score does not depend differentiably on it, `BadOption` when the baselines fit no input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> e = pl.methods.conductance(net, torch.ones(1, 2), 0, at="1")
    >>> e.values.shape, e.gap[0] < 1e-4
    (torch.Size([1, 3]), True)
    """
    outside, given = f.outside, f.fed(x)
    beginnings = starts(outside, given, baseline, start, baselines)
    change = mean_change(outside, given, beginnings)
    maps = each(torch.zeros_like, x)
    for begin in beginnings:
        add_to(maps, _through(f, begin, given, x, steps), 1 / len(beginnings))
    gap = ((total(maps) - change).abs() / change.abs().clamp(min=1e-6)).tolist()
    facts = {"points": (2 * steps + 1) * len(beginnings), "change of the score": change.tolist()}
    return Finding(maps, gap=tuple(gap), facts=facts)


def _through(f: Score, start: Tensors, given: Tensors, x: Tensors, steps: int) -> Tensors:
    """The integral along one path."""
    points = 2 * steps + 1
    found, last, reached = each(torch.zeros_like, x), list[tuple[Tensors, Tensors]](), 0
    for here in followed(f, start, given, [i / (points - 1) for i in range(points)]):
        last.append(here)
        reached += 1
        if len(last) == 3:
            (y0, g0), (y1, g1), (y2, g2) = last
            add_to(found, each(_stretch, y0, y1, y2, g0, g1, g2))
            last = last[2:]
    whole(reached, points)
    return found


def _stretch(y0: Tensor, y1: Tensor, y2: Tensor, g0: Tensor, g1: Tensor, g2: Tensor) -> Tensor:
    """The integral of g dy where both are parabolas through three points."""
    first, second = y1 - y0, y2 - y1
    return (g0 * (3 * first - second) + 4 * g1 * (first + second) + g2 * (3 * second - first)) / 6


def reference(
    f: Score,
    x: Tensors,
    *,
    baseline: float = 0.0,
    start: str = "constant",
    baselines: Tensor | None = None,
    points: int = 500,
) -> Tensors:
    """The definition, slowly: small steps of the input, the gradient in the middle of each times how the unit moved."""
    outside, given = f.outside, f.fed(x)
    found = []
    for begin in starts(outside, given, baseline, start, baselines):
        path = list(followed(f, begin, given, [i / (2 * points) for i in range(2 * points + 1)]))
        steps = zip(path[::2], path[1::2], path[2::2], strict=False)
        moved = [each(lambda g, b, a: g * (a - b), middle[1], before[0], after[0]) for before, middle, after in steps]
        found.append({k: torch.stack([m[k] for m in moved]).sum(0) for k in moved[0]})
    return {k: torch.stack([m[k] for m in found]).mean(0) for k in found[0]}
