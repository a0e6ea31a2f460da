r"""Wavelet gradients: the gradient with respect to the input's wavelet coefficients, scale by scale.

$$A_c(x) = c\,\frac{\partial f}{\partial c},\qquad c = \langle x, \psi_c\rangle,\quad
\frac{\partial f}{\partial c} = \langle\nabla f(x), \psi_c\rangle,\qquad
A_i(x) = \sum_c A_c(x)\,\psi_c(i)^2$$

where $\psi_c$ are Haar wavelets: differences of neighboring blocks of 1, 2, 4, ... places, and the averages that are
left.  They are orthonormal, so the gradient by the coefficients is the transform of the gradient, and the values of all
coefficients add up to exactly what input times gradient adds up to.  A coefficient's value is laid over the places that
it comes from; the map is the sum over the scales, and the facts hold the share of each.

Good for: asking at which scale the evidence is: in the texture, in shapes, or in large areas of light and dark.
Not for:  detail finer than the blocks: at a coarse scale the map is as coarse as the wavelets are.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, add_to, each
from pellucid.probes.noise import fraction_of_range, gaussian
from pellucid.probes.variations import Variations
from pellucid.probes.wavelets import Haar, Levels, Scale, by_scale, coarseness, laid_out, wavelets_of


@method(
    title="Wavelet gradients",
    family="gradient",
    paper="Kasmi, Brunetto, Fel, Parekh 2025, arXiv:2410.01482",
    promises=Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT | Promise.SCALE_INVARIANT,
    cost="1 gradient pass, or `samples`",
)
def wavelet_gradients(
    f: Score,
    x: Tensors,
    *,
    levels: Levels = 5,
    scale: Scale = None,
    kind: Annotated[
        Literal["contribution", "magnitude"],
        "coefficient times gradient, with its sign; or the size of the gradient alone, as the paper draws it",
    ] = "contribution",
    samples: Annotated[
        int | None, Range(1, 4096), "noisy copies over which the gradient is averaged; none: the input itself alone"
    ] = None,
    noise: Annotated[
        float, Range(0, 2), "standard deviation of their noise, as a fraction of the input's range"
    ] = 0.15,
) -> Finding:
    """The share of every scale, and where it is: wavelet coefficients times their gradients, laid over their places.

    Shapes follow the input; the unit is the score's (per unit of a coefficient for magnitudes).  `facts` hold for each
    sample the sum at every scale, its share of all sizes, and of a picture the shares of horizontal, vertical and
    diagonal edges.  Sides of any length; series are halved along time, texts along their words.  A stopped run averages
    what it has.  Raises `BadInput` for tables, `BadOption` for a scale that is not there, `BadModel` when the score
    does not depend differentiably on the input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(75, 1))
    >>> e = pl.methods.wavelet_gradients(net, torch.ones(1, 3, 5, 5), 0)
    >>> e.facts["share by scale"]  # a picture of one color has no details
    {'averages': [1.0], '8': [0.0], '4': [0.0], '2': [0.0]}
    """
    wavelets = wavelets_of(f, x, levels, scale)
    copies = Variations(1, lambda _: x) if samples is None else gaussian(x, fraction_of_range(x, noise), samples)
    done, gradient = 0, each(torch.zeros_like, x)
    for found in f.grads(copies):
        add_to(gradient, found)
        done += 1
    slopes = {k: haar.forward(gradient[k] / done) for k, haar in wavelets.items()}
    if kind == "magnitude":
        amounts = each(torch.abs, slopes)
    else:
        amounts = {k: haar.forward(x[k]) * slopes[k] for k, haar in wavelets.items()}
    return Finding(
        laid_out(wavelets, amounts, scale),
        signed=kind != "magnitude",
        resolution=coarseness(wavelets, scale),
        facts=by_scale(wavelets, amounts),
    )


def reference(
    f: Score,
    x: Tensors,
    *,
    levels: int = 5,
    scale: int | None = None,
    kind: str = "contribution",
    samples: int | None = None,
    noise: float = 0.15,
) -> Tensors:
    """The definition: the score's change along each wavelet by itself, by finite differences."""
    copies = [x] if samples is None else list(gaussian(x, fraction_of_range(x, noise), samples))
    out: Tensors = {}
    for name, haar in wavelets_of(f, x, levels, scale).items():
        out[name], step = torch.zeros_like(x[name]), 1e-4
        for wavelet in one_by_one(x[name], haar, scale):
            nearby = [{**c, name: c[name] + h * wavelet} for c in copies for h in (step, -step)]
            pairs = torch.stack(list(f.scores(nearby))).view(len(copies), 2, -1)
            slope = (pairs[:, 0] - pairs[:, 1]).mean(0) / (2 * step)
            inner = (x[name] * wavelet).flatten(1).sum(1)
            amount = slope.abs() if kind == "magnitude" else inner * slope
            out[name] += amount.view(-1, *[1] * (wavelet.ndim - 1)) * wavelet**2
    return out


def one_by_one(v: Tensor, haar: Haar, scale: int | None) -> list[Tensor]:
    """Every wavelet of a scale (or of all), each shaped like one sample."""
    coefficients = torch.eye(v[0].numel(), dtype=v.dtype).view(-1, *v.shape[1:])
    if scale is not None:
        coefficients = haar.alone(coefficients, scale)
    return [w[None] for w in haar.back(coefficients) if bool(w.any())]
