r"""SmoothGrad: the gradient over a cloud of noisy copies of the input.

$$A(x) = \mathbb{E}_{\epsilon}\,\nabla f(x + \epsilon),\qquad \epsilon\sim\mathcal N(0,\sigma^2),\quad
\sigma = \text{noise}\cdot(\max x - \min x)$$

The squared form averages $(\nabla f)^2$ (Hooker et al. 2019), VarGrad takes the variance (Adebayo et al. 2018).

Good for: calming the pixel-to-pixel noise of the gradient.
Not for:  inputs where noise means something else altogether (a spectrum, a one-hot code).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, add_to, each
from pellucid.probes.noise import fraction_of_range, gaussian


@method(
    title="SmoothGrad",
    family="gradient",
    paper="Smilkov, Thorat, Kim, Viegas, Wattenberg 2017, arXiv:1706.03825",
    promises=Promise.DUMMY | Promise.IMPLEMENTATION_INVARIANT,
    cost="`samples` gradient passes",
    signed=False,
    slopes=True,
)
def smooth_grad(
    f: Score,
    x: Tensors,
    *,
    samples: Annotated[int, Range(1, 4096), "noisy copies"] = 20,
    noise: Annotated[float, Range(0, 2), "standard deviation of the noise, as a fraction of the input's range"] = 0.15,
    kind: Annotated[
        Literal["magnitude", "mean", "squared", "variance"],
        "size of the mean gradient, as the paper draws it; the mean with its sign; mean square; variance (VarGrad)",
    ] = "magnitude",
) -> Finding:
    """The size of the mean gradient around the input (or the mean with its sign, its mean square, its variance).

    Shapes follow the input; the unit is score per unit of the prepared input, squared for the last two kinds.  A
    stopped run averages what it has.  Raises `BadModel` when the score does not depend differentiably on the input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(2, 1)
    >>> e = pl.methods.smooth_grad(net, torch.ones(1, 2), 0, samples=4)
    >>> torch.allclose(e.values, net.weight.abs(), atol=1e-6)
    True
    """
    copies = gaussian(x, fraction_of_range(x, noise), samples)
    done, first, second = 0, each(torch.zeros_like, x), each(torch.zeros_like, x)
    for gradient in f.grads(copies):
        done += 1
        add_to(first, gradient)
        if kind in ("squared", "variance"):
            add_to(second, each(torch.square, gradient))
    mean, square = each(lambda v: v / done, first), each(lambda v: v / done, second)
    variance = each(lambda m, s: (s - m * m).clamp(min=0), mean, square)
    found = {"magnitude": each(torch.abs, mean), "mean": mean, "squared": square, "variance": variance}
    return Finding(found[kind], signed=kind == "mean")


def reference(f: Score, x: Tensors, *, samples: int = 20, noise: float = 0.15, kind: str = "magnitude") -> Tensors:
    """The definition: one gradient after another, all kept."""
    copies = gaussian(x, fraction_of_range(x, noise), samples)
    every = [f.grad(copy) for copy in copies]
    stacked = {k: torch.stack([g[k] for g in every]) for k in every[0]}
    if kind == "variance":
        return each(lambda v: v.var(0, unbiased=False), stacked)
    if kind == "magnitude":
        return each(lambda v: v.mean(0).abs(), stacked)
    return each(lambda v: (v if kind == "mean" else v**2).mean(0), stacked)
