r"""Excitation backpropagation: how probable it is that each place wins when units pick, top down, what excited them.

$$P(a_j) = \sum_i P(a_i)\,\frac{\max(a_j w_{ji}, 0)}{\sum_{j'} \max(a_{j'} w_{j'i}, 0)}$$

The explained unit has probability 1 and hands it down; inhibition and biases play no part.  The contrastive variant
takes away what the unit of opposite weights would pick, so that what excites every class alike cancels.

Good for: maps that are never negative and add up to at most 1; with `contrast`, telling two objects apart.
Not for:  saying what spoke against a class without `contrast`: inhibition is left out, and without it maps of
          different classes look much alike.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score, Strict
from pellucid.core.spatial import FeatureMap, over_sites
from pellucid.core.tensors import Tensors, total
from pellucid.rules.excitation import excitation
from pellucid.rules.lrp import STABILIZER


@method(
    title="Excitation backpropagation",
    family="relevance",
    paper="Zhang, Bargal, Lin, Brandt, Shen, Sclaroff 2016, arXiv:1608.00507",
    promises=Promise.DUMMY | Promise.IMPLEMENTATION_INVARIANT | Promise.SYMMETRIC,
    cost="1 gradient pass, in which each layer is computed a few times",
    signed=False,
)
def excitation_backprop(
    f: Score,
    x: Tensors,
    *,
    contrast: Annotated[bool, "less what the unit of opposite weights picks, the paper's contrastive variant"] = False,
    site: Annotated[str, "module at whose output the picking ends, as in the paper; empty: at the input"] = "",
    strict: Strict = False,
) -> Finding:
    """Probabilities of winning, shaped like the input; at a site `[batch, 1, height, width]`, enlarged.

    `facts` says how much of the probability arrived (a unit that nothing excites hands nothing down), and
    `without_rule` names operations that the rule does not speak of.  A class's logit starts from 1, other targets from
    their weights.  Raises `BadInput` when a site holds no map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(2, 1)
    >>> _ = torch.nn.init.ones_(net.weight)
    >>> pl.methods.excitation_backprop(net, torch.tensor([[1.0, 3.0]]), 0).values.round(decimals=4).tolist()
    [[0.25, 0.75]]
    """
    under = f.under(excitation(contrast=contrast), strict=strict)
    arrived: list[Tensor] = []

    def picked(seen: FeatureMap) -> Tensor:
        arrived.append(seen.grad.flatten(1).sum(1))
        return seen.grad.sum(1, keepdim=True)

    if site:
        found = over_sites(under, x, site, picked, signed=contrast)
    else:
        found = Finding(under.grad(x), signed=contrast)
        arrived.append(total(found.maps))
    facts = {**found.facts, "probability that arrived": torch.stack(arrived).mean(0).tolist()}
    return Finding(found.maps, signed=contrast, resolution=found.resolution, facts=facts)


def reference(weights: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """The definition in matrix form, for a chain of linear layers `(weight, bias)` with ReLU between them, output 0."""
    layers, a = list[Tensor](), x
    for w, b in weights:
        layers.append((a[:, None, :] * w).clamp(min=0))
        a = (a @ w.T + b).clamp(min=0)
    p = torch.zeros_like(a)
    p[:, 0] = 1
    for excited in reversed(layers):
        p = (excited / (excited.sum(2, keepdim=True) + STABILIZER) * p[:, :, None]).sum(1)
    return p
