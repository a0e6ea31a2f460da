r"""DeepSHAP: DeepLIFT against each of several baselines, averaged.

$$A_i(x) = \frac1n\sum_k m_i^{(k)}\,(x_i - b^{(k)}_i)$$

with the multipliers $m^{(k)}$ of DeepLIFT for baseline $b^{(k)}$.  With samples of the data as baselines the values say
what sets this input apart from the others, and estimate Shapley values of the score as far as the network's operations
do not interact.

Good for: inputs for which no single baseline means "nothing", with a dozen to a hundred samples of the data at hand.
Not for:  interactions: the Shapley value of a whole network is not that of its operations one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.run import current
from pellucid.core.score import Score, Strict
from pellucid.core.tensors import Tensors, add_to, each, total
from pellucid.rules.rescale import RULES


@method(
    title="DeepSHAP",
    family="relevance",
    paper="Lundberg, Lee 2017, arXiv:1705.07874; Chen, Lundberg, Lee 2019, arXiv:1911.11888",
    promises=Promise.COMPLETE
    | Promise.LINEAR
    | Promise.DUMMY
    | Promise.IMPLEMENTATION_INVARIANT
    | Promise.SYMMETRIC
    | Promise.SCALE_INVARIANT,
    cost="for each of the background: 1 forward pass for the gap, 1 for the baseline, 1 gradient pass",
)
def deep_shap(
    f: Score,
    x: Tensors,
    *,
    background: Annotated[
        Tensor | None, "prepared samples that the input is compared with, [samples, ...]; none: a single one of zeros"
    ] = None,
    rule: Annotated[
        Literal["rescale", "reveal_cancel"], "change over change; or what cancels before a bend shared out apart"
    ] = "rescale",
    strict: Strict = False,
) -> Finding:
    """Shares of the change of the score from the background's mean score, `[batch, ...]` like the input.

    The unit is the score's.  Of several inputs the background stands in for the one that it fits; the others stay as
    they are and get zero.  `gap` is the relative error of the sum.  A stopped run averages over the background that it
    has been through.  Raises `BadOption` when the background fits no input, `BadModel` as DeepLIFT does.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> pl.methods.deep_shap(net, torch.ones(1, 2), 0, background=torch.eye(2)).gap[0] < 1e-3
    True
    """
    starts = _starts(x, background)
    before = list(f.scores([start(x) for start in starts]))
    score = f(x)
    if len(before) < len(starts):
        raise Stopped("Stopped before every baseline had a score.", "Run it again to get one.")
    shares, done = each(torch.zeros_like, x), 0
    for start in starts:
        try:
            multipliers = f.under(RULES[rule](start), strict=strict).grad(x)
        except Stopped:
            if not done:
                raise
            current().meter.stopped = f"after {done} of {len(starts)} baselines"
            break
        add_to(shares, each(lambda m, a, b: m * (a - b), multipliers, x, start(x)))
        done += 1
    maps = each(lambda v: v / done, shares)
    change = score - torch.stack(before[:done]).mean(0)
    gap = ((total(maps) - change).abs() / change.abs().clamp(min=1e-6)).tolist()
    return Finding(maps, gap=tuple(gap), facts={"baselines": done, "change of the score": change.tolist()})


def _starts(x: Tensors, background: Tensor | None) -> list[Callable[[Tensors], Tensors]]:
    """For each baseline, what puts it in the place of any number of samples."""
    if background is None:
        return [_zeros]
    fits = [k for k, v in x.items() if v.is_floating_point() and v.shape[1:] == background.shape[1:]]
    if len(fits) != 1 or not len(background) or not background.is_floating_point():
        shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in x.items())
        raise BadOption(
            f"background is {tuple(background.shape)} of {background.dtype}, which fits {len(fits)} of the inputs: "
            f"{shapes}.",
            "Give samples shaped like one input, the first axis counting them.",
        )
    (name,) = fits
    return [partial(_instead, name, b.to(x[name])) for b in background]


def _zeros(x: Tensors) -> Tensors:
    return x | each(torch.zeros_like, x)


def _instead(name: str, one: Tensor, x: Tensors) -> Tensors:
    return x | {name: one.expand_as(x[name])}


def reference(weights: list[tuple[Tensor, Tensor]], x: Tensor, background: Tensor | None = None) -> Tensor:
    """The definition in matrix form, for a chain of linear layers `(weight, bias)` with ReLU between them, output 0."""
    found = []
    for b in torch.zeros_like(x[:1]) if background is None else background:
        after, before = [torch.stack((x, b.expand_as(x)))], list[Tensor]()
        for w, bias in weights:
            before.append(after[-1] @ w.T + bias)
            after.append(before[-1].clamp(min=0))
        m = torch.eye(len(weights[-1][1]), dtype=x.dtype)[:1].expand(len(x), -1)
        for (w, _), z, a in reversed(list(zip(weights, before, after[1:], strict=True))):
            ratio = 1 if w is weights[-1][0] else (a[0] - a[1]) / (z[0] - z[1])
            m = (m * ratio) @ w
        found.append(m * (x - b))
    return torch.stack(found).mean(0)
