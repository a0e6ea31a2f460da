r"""Layer-wise relevance propagation (LRP): the score, shared out over each operation's inputs, back to the input.

$$R_i = \sum_j \frac{z_{ij}}{\sum_{i'} z_{i'j}}\,R_j,\qquad z_{ij} = x_i w_{ij}\ \text{(epsilon), and others}$$

The presets are those of Montavon et al. 2019 and Kohlbrenner et al. 2020, arXiv:1910.09840: `epsilon` for every layer;
`epsilon_gamma_box`: epsilon for dense layers, gamma (0.25) for convolutions, the box rule for the first layer;
`epsilon_plus_flat`: epsilon, z+, flat; `alpha2_beta1`: epsilon, and alpha-beta for convolutions; `w2`: epsilon, z+, and
the w-square rule for the first layer.  Batch normalization that directly follows a layer is one layer with it.
In every preset softmax, products and what normalizes have the rules of AttnLRP (Achtibat et al. 2024,
arXiv:2402.05602), so that `attention`, the preset to ask for with transformers, is `epsilon`.

Good for: maps with little noise on convolutional networks; reading what each layer contributed.
Not for:  values that must add up: biases and the stabilizer of the divisions keep back a part of the score, and
          `facts` says how much.  The choice of rules is a choice, and z+ and alpha-beta hardly depend on the upper
          layers (Sixt, Granz, Landgraf 2020, arXiv:1912.09818).

LRP is said to be patented: the authors of LXT write that it may be used "free of charge for personal and scientific
purposes" only, and the licenses of LXT, zennit-crp and iNNvestigate grant no patent rights.  This is an independent
implementation from the published formulas; whoever uses it commercially should find out what applies to them.
"""

from __future__ import annotations

from typing import Annotated

import torch

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score, Strict
from pellucid.core.tensors import Tensors, each, per_sample, total
from pellucid.rules.lrp import STABILIZER, Preset
from pellucid.rules.lrp import preset as rules_of


@method(
    title="LRP",
    family="relevance",
    paper="Bach, Binder, Montavon, Klauschen, Mueller, Samek 2015, doi:10.1371/journal.pone.0130140",
    promises=Promise.IMPLEMENTATION_INVARIANT | Promise.SYMMETRIC,
    cost="1 forward pass and 1 gradient pass, in which each layer is computed a few times",
)
def lrp(
    f: Score,
    x: Tensors,
    *,
    preset: Annotated[Preset, "which rule for which layer"] = "epsilon",
    low: Annotated[float | None, Range(-1e6, 1e6), "smallest prepared input for the box; none: each sample's"] = None,
    high: Annotated[float | None, Range(-1e6, 1e6), "largest prepared input for the box; none: each sample's"] = None,
    strict: Strict = False,
) -> Finding:
    """Shares of the score by the rules of a preset.

    Shapes follow the input; the unit is the score's.  `facts` compares the relevance that arrived with the score and
    says what each operation on the way (`convolution.3` is the fourth) kept back: shares of the score, averaged over
    the samples, which add up to what did not arrive.  `without_rule` names operations through which the plain gradient
    flowed, where shares are not to be trusted.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU(), torch.nn.Linear(2, 1, bias=False))
    >>> e = pl.methods.lrp(net, torch.ones(1, 2), 0)
    >>> bool(torch.isclose(e.values.sum(), net(torch.ones(1, 2)).sum(), atol=1e-4))
    True
    """
    score = f(x)
    # of a score of 1: what flows back is linear in it
    shares = f.under(rules_of(preset, low, high), strict=strict).grad(x)
    maps = each(lambda v: v * per_sample(score, v), shares)
    arrived = total(maps)
    kept = 1 - arrived / torch.where(score == 0, 1.0, score)
    facts = {"score": score.tolist(), "relevance at the input": arrived.tolist(), "share kept back": kept.tolist()}
    each_kept = {k: v / len(score) for k, v in reversed(current().meter.kept.items())}  # each sample began with 1
    worst = float(kept.abs().max())
    notes = (f"Biases and stabilizers kept back up to {worst:.0%} of the score.",) if worst > 0.01 else ()
    return Finding(maps, facts={**facts, "kept back by operation": each_kept}, notes=notes)


def reference(weights: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor) -> torch.Tensor:
    """The epsilon rule in matrix form, for a chain of linear layers with ReLU between them, output 0."""
    a, layers = x, []
    for i, (w, b) in enumerate(weights):
        z = a @ w.T + b
        layers.append((a, w, z))
        a = z.clamp(min=0) if i + 1 < len(weights) else z
    r = torch.zeros_like(a)
    r[:, 0] = a[:, 0]
    for a, w, z in reversed(layers):
        share = a[:, None, :] * w / (z + torch.where(z < 0, -STABILIZER, STABILIZER))[:, :, None]
        r = (share * r[:, :, None]).sum(1)
    return r
