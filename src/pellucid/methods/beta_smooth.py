r"""BetaSmooth: the gradient with every rectifier's slope made smooth, while the values stay as they are.

$$R_{in} = R_{out}\,\sigma(\beta x)$$

at rectifiers, where the plain gradient has the step $[x > 0]$; at ReLU6, less $\sigma(\beta (x - 6))$.

Good for: gradients that do not jump when an activation is close to zero, and that an attacker cannot turn by a small
          change of the input.
Not for:  the exact slope of the network: units that were off let a share of the signal through.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.method import Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score, Strict
from pellucid.core.tensors import Tensors
from pellucid.rules.smoothed import smoothed


@method(
    title="BetaSmooth",
    family="gradient",
    paper="Dombrowski, Alber, Anders, Ackermann, Mueller, Kessel 2019, arXiv:1906.07983",
    promises=Promise.DUMMY | Promise.IMPLEMENTATION_INVARIANT | Promise.SYMMETRIC,
    cost="1 gradient pass",
    slopes=True,
)
def beta_smooth(
    f: Score,
    x: Tensors,
    *,
    sharpness: Annotated[float, Range(1e-3, 1e4), "beta: how steeply a slope goes from 0 to 1"] = 10.0,
    strict: Strict = False,
) -> Tensors:
    """The gradient under smoothed rectifiers (ReLU and ReLU6; smooth activations keep their own slopes).

    Shapes follow the input; the unit is score per unit of the prepared input.  `without_rule` of the explanation names
    nonlinear operations that the rule does not speak of: through them the plain gradient flowed.

    >>> import torch, pellucid as pl
    >>> e = pl.methods.beta_smooth(torch.nn.ReLU(), torch.tensor([[0.0, 9.0]]), pl.logit(0), sharpness=10)
    >>> e.values.tolist()
    [[0.5, 0.0]]
    """
    return f.under(smoothed(sharpness), strict=strict).grad(x)


def reference(
    weights: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor, sharpness: float = 10.0
) -> torch.Tensor:
    """The definition in matrix form, for a chain of linear layers `(weight, bias)` with ReLU between them, output 0."""
    before: list[Tensor] = []
    a = x
    for w, b in weights:
        before.append(a @ w.T + b)
        a = before[-1].clamp(min=0)
    r = torch.zeros_like(before[-1])
    r[:, 0] = 1
    for i in reversed(range(len(weights))):
        r = r @ weights[i][0]
        if i:
            r = r * torch.sigmoid(sharpness * before[i - 1])
    return r
