r"""Internal influence: the score's slope on each unit, averaged while the input walks in from a baseline.

$$A_j(x) = \int_0^1\frac{\partial f}{\partial y_j}\bigl(\gamma(t)\bigr)\,dt,\qquad \gamma(t) = x^0 + t\,(x - x^0)$$

where $y_j$ are the units at an inner site: the influence of a unit over a stretch of inputs (the distribution of
interest of the paper is the straight path).  Without a site, the units are the input's own values.

Good for: finding the units that the score listens to, also those that are silent on this input.
Not for:  what a unit contributed: a unit that is heard and says nothing ranks high.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, add_to, each
from pellucid.probes.baselines import Baselines, Constant, Start, starts
from pellucid.probes.path import followed, gauss_legendre


@method(
    title="Internal influence",
    family="gradient",
    paper="Leino, Sen, Datta, Fredrikson, Li 2018, arXiv:1802.03788",
    promises=Promise.LINEAR | Promise.DUMMY | Promise.IMPLEMENTATION_INVARIANT | Promise.SYMMETRIC,
    cost="`steps` gradient passes for each baseline",
    slopes=True,
)
def internal_influence(
    f: Score,
    x: Tensors,
    *,
    steps: Annotated[int, Range(1, 4096), "Gauss-Legendre points on the path"] = 32,
    baseline: Constant = 0.0,
    start: Start = "constant",
    baselines: Baselines = None,
) -> Finding:
    """The mean slope of the score on each unit of the site `at`, or on each input value.

    Shapes follow what is explained; the unit is score per unit of it.  The baseline is the network's input, whatever
    the site.  A stopped run averages what it has.  Raises `BadModel` when the score does not depend differentiably on
    it, `BadOption` when the baselines fit no input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    >>> torch.allclose(pl.methods.internal_influence(net, torch.ones(1, 2), 0, at="0").values, net[1].weight)
    True
    """
    given, reached = f.fed(x), 0.0
    beginnings = starts(f.outside, given, baseline, start, baselines)
    nodes, weights = gauss_legendre(steps)
    maps = each(torch.zeros_like, x)
    for begin in beginnings:
        for weight, (_, gradient) in zip(weights, followed(f, begin, given, nodes), strict=False):
            add_to(maps, gradient, weight)
            reached += weight
    return Finding(each(lambda m: m / reached, maps), facts={"points": steps * len(beginnings)})


def reference(
    f: Score,
    x: Tensors,
    *,
    baseline: float = 0.0,
    start: str = "constant",
    baselines: Tensor | None = None,
    points: int = 500,
) -> Tensors:
    """The definition, slowly: the mean over many midpoints."""
    nodes = [(i + 0.5) / points for i in range(points)]
    beginnings = starts(f.outside, f.fed(x), baseline, start, baselines)
    slopes = [gradient for begin in beginnings for _, gradient in followed(f, begin, f.fed(x), nodes)]
    return {k: torch.stack([s[k] for s in slopes]).mean(0) for k in slopes[0]}
