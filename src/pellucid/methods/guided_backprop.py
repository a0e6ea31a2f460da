r"""Guided backpropagation: only positive influence flows back through a rectifier that was active.

$$R_{in} = R_{out}\,[R_{out} > 0]\,f'(x) \qquad (\text{for ReLU: } f'(x) = [x > 0])$$

Good for: seeing which fine strokes a unit reacts to.
Not for:  deciding anything: it is nearly independent of the class and of the upper layers (Nie, Zhang, Patel 2018;
          Adebayo et al. 2018), and the trust card says so when it is.
"""

from __future__ import annotations

import torch

from pellucid.core.method import Promise, method
from pellucid.core.score import Score, Strict
from pellucid.core.tensors import Tensors
from pellucid.rules.guided import GUIDED


@method(
    title="Guided backpropagation",
    family="gradient",
    paper="Springenberg, Dosovitskiy, Brox, Riedmiller 2014, arXiv:1412.6806",
    promises=Promise.DUMMY | Promise.IMPLEMENTATION_INVARIANT | Promise.SYMMETRIC,
    cost="1 gradient pass",
)
def guided_backprop(f: Score, x: Tensors, *, strict: Strict = False) -> Tensors:
    """The gradient under the guided rule, for every rectifier (ReLU, ReLU6, SiLU, GELU, hardswish, ...).

    Shapes follow the input.  `without_rule` of the explanation names nonlinear operations that the rule does not speak
    of (softmax, attention): through them the plain gradient flowed.  Sigmoid gates are constant factors.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU6(), torch.nn.Linear(2, 1))
    >>> pl.methods.guided_backprop(net, torch.ones(1, 2), 0).without_rule
    ()
    """
    return f.under(GUIDED, strict=strict).grad(x)


def reference(weights: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor) -> torch.Tensor:
    """The definition in matrix form, for a chain of linear layers `(weight, bias)` with ReLU between them, output 0."""
    before: list[torch.Tensor] = []
    a = x
    for i, (w, b) in enumerate(weights):
        z = a @ w.T + b
        before.append(z)
        a = z.clamp(min=0) if i + 1 < len(weights) else z
    r = torch.zeros_like(a)
    r[:, 0] = 1
    for i in reversed(range(len(weights))):
        r = r @ weights[i][0]
        if i:
            r = r * (r > 0) * (before[i - 1] > 0)
    return r
