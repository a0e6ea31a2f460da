r"""Gradient SHAP (expected gradients): integrated gradients over noisy inputs, one random point on each path.

$$A_i(x) = \mathbb{E}_{\epsilon,\,x^0,\,t\sim U(0,1)}\;(x_i + \epsilon_i - x^0_i)\,
\frac{\partial f}{\partial x_i}\bigl(x^0 + t\,(x + \epsilon - x^0)\bigr)$$

The points are stratified: the k-th of n lies in the k-th n-th of its path, which lowers the error and keeps the
expectation.  Baselines of your own (expected gradients: examples from the training set) take turns, so that each has as
many points as the others, or one fewer; with `noise=0` and enough points the values add up.

Good for: a smoother integrated gradient at a fixed price.
Not for:  values that must add up exactly; they do so on average only, and the gap is reported.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, add_to, each, total
from pellucid.probes.baselines import Baselines, Constant, Start, mean_change, starts
from pellucid.probes.noise import fraction_of_range, gaussian
from pellucid.probes.path import between
from pellucid.probes.variations import Variations


@method(
    title="Gradient SHAP",
    family="gradient",
    paper="Erion, Janizek, Sturmfels, Lundberg, Lee 2021, arXiv:1906.10670",
    promises=Promise.LINEAR | Promise.DUMMY | Promise.IMPLEMENTATION_INVARIANT,
    cost="`samples` gradient passes",
)
def gradient_shap(
    f: Score,
    x: Tensors,
    *,
    samples: Annotated[int, Range(1, 4096), "points, each on a path of its own"] = 20,
    noise: Annotated[float, Range(0, 2), "standard deviation added to the input, as a fraction of its range"] = 0.05,
    baseline: Constant = 0.0,
    start: Start = "constant",
    baselines: Baselines = None,
) -> Finding:
    """Shares of the change of the score from a baseline, or a set of them, to a cloud around the input.

    Shapes follow the input; the unit is the score's.  A stopped run averages what it has.  Raises `BadModel` when the
    score does not depend differentiably on the input, and `BadOption` when the baselines fit no input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(2, 1)
    >>> e = pl.methods.gradient_shap(net, torch.ones(1, 2), 0, noise=0.0)
    >>> torch.allclose(e.values, net.weight)
    True
    """
    beginnings = starts(f, x, baseline, start, baselines)
    copies = gaussian(x, fraction_of_range(x, noise), samples)
    change = mean_change(f, x, beginnings)
    waiting = deque[tuple[Tensors, Tensors]]()  # the ends of the paths whose gradients are on their way
    done, shares = 0, each(torch.zeros_like, x)
    for gradient in f.grads(_points(beginnings, x, copies, waiting)):
        add_to(shares, each(lambda g, end, s: g * (end - s), gradient, *waiting.popleft()))
        done += 1
    maps = each(lambda v: v / done, shares)
    gap = ((total(maps) - change).abs() / change.abs().clamp(min=1e-6)).tolist()
    facts = {"points": done, "baselines": len(beginnings), "change of the score": change.tolist()}
    return Finding(maps, gap=tuple(gap), facts=facts)


def _points(
    beginnings: list[Tensors], x: Tensors, copies: Variations, ends: deque[tuple[Tensors, Tensors]]
) -> Variations:
    """The points; both ends of each one's path are put into `ends` when the point is made."""
    where, n = current().uniform(next(v for v in x.values() if v.is_floating_point())), len(copies)
    begin = _in_turn(len(beginnings), n)

    def at(i: int) -> Tensors:
        ends.append((copies.at(i), beginnings[begin[i]]))
        return between(ends[-1][1], ends[-1][0], (i + where(i)) / n)

    return Variations(n, at)


def _in_turn(beginnings: int, points: int) -> list[int]:
    """Which beginning each point's path has: all equally often, as nearly as can be, and in no order along the path."""
    generator, rounds = current().generator("beginnings", beginnings), -(-points // beginnings)
    return torch.cat([torch.randperm(beginnings, generator=generator) for _ in range(rounds)])[:points].tolist()


def reference(
    f: Score,
    x: Tensors,
    *,
    samples: int = 20,
    noise: float = 0.05,
    baseline: float = 0.0,
    start: str = "constant",
    baselines: Tensor | None = None,
) -> Tensors:
    """The definition: one point after another."""
    beginnings, copies = starts(f, x, baseline, start, baselines), gaussian(x, fraction_of_range(x, noise), samples)
    ends = deque[tuple[Tensors, Tensors]]()
    points = _points(beginnings, x, copies, ends)
    terms = [each(lambda g, c, s: g * (c - s), f.grad(points.at(i)), *ends.pop()) for i in range(samples)]
    return {k: torch.stack([t[k] for t in terms]).mean(0) for k in terms[0]}
