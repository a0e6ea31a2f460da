r"""DeepLIFT: how the network's change from a baseline came about, operation by operation.

$$A_i(x) = m_i\,(x_i - x^0_i),\qquad m = \frac{y - y^0}{z - z^0}\ \text{ in place of every slope } \frac{dy}{dz}$$

Slopes say what a small change would do; multipliers say what the whole change from the baseline did, so a saturated
unit still passes on its share, and the values add up to $f(x) - f(x^0)$ exactly, without a path.  The rule is applied
to operations: activations of any kind and spelling, max pooling, products of two signals (squeeze-and-excitation,
attention), softmax, normalizations, recurrent layers.  Linear operations need none.

The rescale rule is the default.  The reveal-cancel rule treats positive and negative contributions to a layer that a
bend follows apart, so that contributions which cancel before it are seen: of min(a, b) = a - relu(a - b), each input
gets half where rescale gives all to one.  It shares out the same change otherwise.

Good for: values that add up for the price of little more than one gradient; saturated networks.
Not for:  inputs where the baseline is itself a meaningful picture (several baselines: deep_shap).  `without_rule` names
          what the rules do not cover, and `gap` says what it costs.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, TypeAlias

import torch

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score, Strict
from pellucid.core.tensors import Tensors, each, total
from pellucid.probes.path import constant
from pellucid.rules.rescale import RULES

How: TypeAlias = Literal["rescale", "reveal_cancel"]


@method(
    title="DeepLIFT",
    family="relevance",
    paper="Shrikumar, Greenside, Kundaje 2017, arXiv:1704.02685",
    promises=Promise.COMPLETE
    | Promise.LINEAR
    | Promise.DUMMY
    | Promise.IMPLEMENTATION_INVARIANT
    | Promise.SYMMETRIC
    | Promise.SCALE_INVARIANT,
    cost="2 forward passes for the gap, 1 for the baseline, 1 gradient pass",
)
def deep_lift(
    f: Score,
    x: Tensors,
    *,
    baseline: Annotated[float, Range(-1e6, 1e6), "value of every prepared input that the input is compared with"] = 0.0,
    rule: Annotated[How, "change over change; or what cancels before a bend shared out apart"] = "rescale",
    strict: Strict = False,
) -> Finding:
    """Shares of the change of the score between a baseline and the input.

    Shapes follow the input; the unit is the score's.  `gap` of the explanation is the relative error of the sum, and
    `without_rule` names nonlinear operations through which the plain gradient flowed.  Raises `BadModel` when the score
    does not depend differentiably on the input, or when the network goes another way for the baseline.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.SiLU(), torch.nn.Linear(2, 1))
    >>> pl.methods.deep_lift(net, torch.ones(1, 2), 0).gap[0] < 1e-3
    True
    """
    start = constant(x, baseline)
    multipliers = f.under(RULES[rule](partial(constant, value=baseline)), strict=strict).grad(x)
    maps = each(lambda m, a, b: m * (a - b), multipliers, x, start)
    change = f(x) - f(start)
    gap = ((total(maps) - change).abs() / change.abs().clamp(min=1e-6)).tolist()
    return Finding(maps, gap=tuple(gap), facts={"change of the score": change.tolist()})


def reference(weights: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor) -> torch.Tensor:
    """The definition in matrix form, for a chain of linear layers `(weight, bias)` with ReLU between them, output 0."""
    after, before = [torch.stack((x, torch.zeros_like(x)))], list[torch.Tensor]()
    for w, b in weights:
        before.append(after[-1] @ w.T + b)
        after.append(before[-1].clamp(min=0))
    m = torch.zeros_like(before[-1][0])
    m[:, 0] = 1
    for i, (z, a) in reversed(list(enumerate(zip(before, after[1:], strict=True)))):
        if i + 1 < len(weights):
            m = m * (a[0] - a[1]) / (z[0] - z[1])
        m = m @ weights[i][0]
    return m * x
