r"""Wavelet integrated gradients: shares of the change of the score, by the input's wavelet coefficients.

$$A_c(x) = (c - c^0)\int_0^1\frac{\partial f}{\partial c}\bigl(x^0 + t\,(x - x^0)\bigr)\,dt,\qquad
A_i(x) = \sum_c A_c(x)\,\psi_c(i)^2$$

where $c = \langle x,\psi_c\rangle$ are the coefficients of Haar wavelets.  The transform is linear, so the straight
path in its coefficients is the straight path of the input, and orthonormal, so the gradients by the coefficients are
the transform of those by the input.  The values of all coefficients add up to $f(x) - f(x^0)$, and with them the sums
of the scales: so much of the score comes from details of 2 places, so much from those of 4, and so on.

Good for: saying how much of the score each scale made, in the score's own unit.
Not for:  detail finer than the blocks: at a coarse scale the map is as coarse as the wavelets are.
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
from pellucid.probes.path import between, gauss_legendre, straight
from pellucid.probes.variations import Variations
from pellucid.probes.wavelets import Levels, Scale, by_scale, coarseness, laid_out, wavelets_of


@method(
    title="Wavelet integrated gradients",
    family="gradient",
    paper="Kasmi, Brunetto, Fel, Parekh 2025, arXiv:2410.01482",
    promises=Promise.COMPLETE | Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT | Promise.SCALE_INVARIANT,
    cost="`steps` gradient passes for each baseline, and 2 forward passes",
)
def wavelet_integrated_gradients(
    f: Score,
    x: Tensors,
    *,
    levels: Levels = 5,
    scale: Scale = None,
    steps: Annotated[int, Range(1, 4096), "points on the path"] = 64,
    baseline: Constant = 0.0,
    start: Start = "constant",
    baselines: Baselines = None,
) -> Finding:
    """What every scale adds to the score on the way from a baseline, laid over the places that it comes from.

    Shapes follow the input; the unit is the score's; `gap` is the relative error of the sum over all scales (one scale
    alone has none).  `facts` hold for each sample the sum at every scale, its share of all sizes, and of a picture the
    shares of horizontal, vertical and diagonal edges.  A stopped run lets the part of the path that was seen stand for
    the rest.  Raises `BadInput` for tables, `BadOption` for a scale that is not there and for baselines that fit no
    input, `BadModel` when the score does not depend differentiably on the input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(75, 1))
    >>> e = pl.methods.wavelet_integrated_gradients(net, torch.rand(1, 3, 5, 5), 0, steps=4)
    >>> e.gap[0] < 1e-3
    True
    """
    wavelets = wavelets_of(f, x, levels, scale)
    beginnings = starts(f, x, baseline, start, baselines)
    change = mean_change(f, x, beginnings)
    (nodes, weights), n = gauss_legendre(steps), len(beginnings)
    path = Variations(steps * n, lambda i: between(beginnings[i % n], x, nodes[i // n]))
    amounts, reached = each(torch.zeros_like, x), 0.0
    for i, gradient in enumerate(f.grads(path)):
        begin, weight = beginnings[i % n], weights[i // n] / n
        terms = {k: haar.forward(gradient[k]) * haar.forward(x[k] - begin[k]) for k, haar in wavelets.items()}
        add_to(amounts, terms, weight)
        reached += weight
    if reached < 1 - 1e-6:
        amounts = each(lambda v: v / reached, amounts)
    gap = tuple(((total(amounts) - change).abs() / change.abs().clamp(min=1e-6)).tolist())
    facts = {**by_scale(wavelets, amounts), "points": steps, "change of the score": change.tolist()}
    return Finding(
        laid_out(wavelets, amounts, scale),
        resolution=coarseness(wavelets, scale),
        gap=gap if scale is None else None,
        facts=facts,
    )


def reference(
    f: Score,
    x: Tensors,
    *,
    levels: int = 5,
    scale: int | None = None,
    baseline: float = 0.0,
    start: str = "constant",
    baselines: Tensor | None = None,
    points: int = 2000,
) -> Tensors:
    """The definition, slowly: midpoints of each path, and the wavelets as rows of a matrix."""
    nodes, found = [(i + 0.5) / points for i in range(points)], []
    wavelets = wavelets_of(f, x, levels, scale)
    for begin in starts(f, x, baseline, start, baselines):
        slopes = each(torch.zeros_like, x)
        for gradient in f.grads(straight(begin, x, nodes)):
            add_to(slopes, gradient, 1 / points)
        maps: Tensors = {}
        for k, haar in wavelets.items():
            matrix = haar.back(torch.eye(x[k][0].numel(), dtype=x[k].dtype).view(-1, *x[k].shape[1:]))
            rows = (matrix if scale is None else haar.back(haar.alone(haar.forward(matrix), scale))).flatten(1)
            amounts = ((x[k] - begin[k]).flatten(1) @ rows.T) * (slopes[k].flatten(1) @ rows.T)
            maps[k] = (amounts @ rows**2).view_as(x[k])
        found.append(maps)
    return {k: torch.stack([m[k] for m in found]).mean(0) for k in found[0]}
