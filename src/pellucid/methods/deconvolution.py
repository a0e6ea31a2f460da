r"""The deconvolution network: the signal is rectified on its way back, whatever went forward.

$$R_{in} = \max(R_{out}, 0)$$

at rectifiers; max pooling is undone by its switches and a convolution by its transposed filters.

Good for: seeing what pattern in the input excites a channel (choose `channel` or `neuron` as the target).
Not for:  class evidence in networks without max pooling: nothing but the switches then depends on the input
          (Mahendran, Vedaldi 2016), so the map is nearly the same for every picture.
"""

from __future__ import annotations

import torch

from pellucid.core.method import Promise, method
from pellucid.core.score import Score, Strict
from pellucid.core.tensors import Tensors
from pellucid.rules.deconvolution import DECONVOLUTION


@method(
    title="Deconvolution network",
    family="gradient",
    paper="Zeiler, Fergus 2014, arXiv:1311.2901",
    promises=Promise.DUMMY | Promise.IMPLEMENTATION_INVARIANT | Promise.SYMMETRIC,
    cost="1 gradient pass",
    slopes=True,
)
def deconvolution(f: Score, x: Tensors, *, strict: Strict = False) -> Tensors:
    """What flows back to the input when every rectifier rectifies the returning signal.

    Shapes follow the input.  `without_rule` of the explanation names nonlinear operations that the rule does not speak
    of: through them the plain gradient flowed.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> pl.methods.deconvolution(net, torch.ones(1, 2), 0).values.shape
    torch.Size([1, 2])
    """
    return f.under(DECONVOLUTION, strict=strict).grad(x)


def reference(weights: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor) -> torch.Tensor:
    """The definition in matrix form, for a chain of linear layers `(weight, bias)` with ReLU between them, output 0."""
    r = torch.zeros(len(x), len(weights[-1][0]), dtype=x.dtype)
    r[:, 0] = 1
    for i in reversed(range(len(weights))):
        r = r @ weights[i][0]
        r = r.clamp(min=0) if i else r
    return r
