r"""Input times gradient: the slope, weighted by how much of the input there is.

$$A_i(x) = x_i\,\frac{\partial f}{\partial x_i}$$

Good for: networks that are nearly linear, where it is the exact contribution against a zero input.
Not for:  inputs where zero is not "nothing" (a black pixel gets no credit, however much it matters).
"""

from __future__ import annotations

import torch

from pellucid.core.method import Promise, method
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, each


@method(
    title="Input x gradient",
    family="gradient",
    paper="Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv:1605.01713",
    promises=Promise.LINEAR
    | Promise.DUMMY
    | Promise.IMPLEMENTATION_INVARIANT
    | Promise.SYMMETRIC
    | Promise.SCALE_INVARIANT,
    cost="1 gradient pass",
)
def input_x_gradient(f: Score, x: Tensors) -> Tensors:
    """Each input value times the score's gradient there.

    Shapes follow the input; the unit is the score's.  Raises `BadModel` when the score does not depend differentiably
    on the input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> e = pl.methods.input_x_gradient(net, torch.ones(1, 2), 0)
    >>> bool(torch.isclose(e.values.sum(), net(torch.ones(1, 2)).sum()))
    True
    """
    return each(torch.mul, x, f.grad(x))


def reference(f: Score, x: Tensors) -> Tensors:
    """The definition, by the change of the score when each value is scaled a little."""
    out: Tensors = {}
    for name, v in x.items():
        flat = v.flatten(1)
        found = torch.zeros_like(flat)
        for i in range(flat.shape[1]):
            up, down = flat.clone(), flat.clone()
            up[:, i] *= 1 + 1e-4
            down[:, i] *= 1 - 1e-4
            found[:, i] = (f({**x, name: up.view_as(v)}) - f({**x, name: down.view_as(v)})) / 2e-4
        out[name] = found.view_as(v)
    return out
