r"""Saliency: how steeply the score climbs with each input value.

$$A_i(x) = \left|\frac{\partial f}{\partial x_i}\right|$$

Good for: a first look, at the cost of one gradient.
Not for:  saying how much a part contributed; a steep slope is not a large share, and the gradient of a deep network is
          noisy from pixel to pixel.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, each


@method(
    title="Saliency (gradient)",
    family="gradient",
    paper="Simonyan, Vedaldi, Zisserman 2013, arXiv:1312.6034",
    promises=Promise.DUMMY | Promise.IMPLEMENTATION_INVARIANT | Promise.SYMMETRIC,
    cost="1 gradient pass",
    signed=False,
    slopes=True,
)
def saliency(
    f: Score, x: Tensors, *, absolute: Annotated[bool, "drop the sign of the gradient, as the paper does"] = True
) -> Finding:
    """The size of the score's gradient at each input value.

    Shapes follow the input; the unit is score per unit of the prepared input.  Raises `BadModel` when the score does
    not depend differentiably on the input.

    >>> import torch, pellucid as pl
    >>> pl.methods.saliency(torch.nn.Linear(2, 1), torch.ones(1, 2), 0).values.shape
    torch.Size([1, 2])
    """
    gradient = f.grad(x)
    return Finding(each(torch.abs, gradient) if absolute else gradient, signed=not absolute)


def reference(f: Score, x: Tensors, *, absolute: bool = True) -> Tensors:
    """The definition: central differences, one input value at a time."""

    def slope(name: str, v: Tensor) -> Tensor:
        out, step = torch.zeros_like(v), 1e-4
        for i in range(v[0].numel()):
            nudge = torch.zeros_like(v).flatten(1)
            nudge[:, i] = step
            nudge = nudge.view_as(v)
            out.flatten(1)[:, i] = (f({**x, name: v + nudge}) - f({**x, name: v - nudge})) / (2 * step)
        return out.abs() if absolute else out

    return {k: slope(k, v) for k, v in x.items() if v.is_floating_point()}
