r"""Guided integrated gradients: integrated gradients on a path that turns away from steep places.

$$A_i = \int \frac{\partial f}{\partial x_i}(\gamma)\,d\gamma_i$$

The path $\gamma$ goes from the baseline to the input in steps of equal length (sum of absolute changes).  At each step
only the values with the smallest gradient move, a tenth of them at a time (and equals together), until the length is
used up: noise that is
met on the way, with steep gradients of either sign, is put off as long as possible.  Nothing may be further ahead of or
behind the straight path than a share `apart` of it.  Each stretch takes the mean of the gradients at its two ends (the
paper takes the first alone, at the same price).

Good for: integrated gradients with less noise in regions that do not matter.
Not for:  comparing scores: the path, and so the split, is another one for every score and network.  And where an even
          baseline leaves it to rounding which place wins a max pool, so does the path.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, each, total
from pellucid.probes.path import between, constant

_GROUP = 0.1  # share of the values that move together


@method(
    title="Guided integrated gradients",
    family="gradient",
    paper="Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi 2021, arXiv:2106.09788",
    promises=Promise.DUMMY | Promise.IMPLEMENTATION_INVARIANT,
    cost="`steps` gradient passes, and 1, and 2 forward passes",
)
def guided_integrated_gradients(
    f: Score,
    x: Tensors,
    *,
    steps: Annotated[int, Range(1, 4096), "stretches of the path"] = 64,
    apart: Annotated[float, Range(0, 1), "how far from the straight path: 0 is on it, 1 anywhere"] = 0.1,
    baseline: Annotated[float, Range(-1e6, 1e6), "value of every prepared input at the start of the path"] = 0.0,
) -> Finding:
    """Shares of the change of the score from a baseline to the input, along a path of small gradients.

    Shapes follow the input; the unit is the score's; `gap` of the explanation is the relative error of the sum, which
    falls with the square of the steps.  Raises `BadModel` when the score does not depend differentiably on the input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(2, 1)
    >>> pl.methods.guided_integrated_gradients(net, torch.ones(1, 2), 0).gap[0] < 1e-5
    True
    """
    start = constant(x, baseline)
    change = f(x) - f(start)
    here, slope, maps = start, f.grad(start), each(torch.zeros_like, x)
    for step in range(1, steps + 1):
        there = _stretch(start, x, here, slope, step / steps, apart) if step < steps else x
        after = f.grad(there)
        maps = each(lambda m, g, h, a, b: m + (g + h) / 2 * (b - a), maps, slope, after, here, there)
        here, slope = there, after
    gap = (total(maps) - change).abs() / change.abs().clamp(min=1e-6)
    return Finding(maps, gap=tuple(gap.tolist()), facts={"change of the score": change.tolist()})


def _stretch(start: Tensors, x: Tensors, here: Tensors, slope: Tensors, at: float, apart: float) -> Tensors:
    """The next point: a share `at` of the length lies behind it.  All inputs of a sample share one order."""
    names = [k for k, v in x.items() if v.is_floating_point()]

    def flat(t: Tensors) -> Tensor:
        return torch.cat([t[k].flatten(1) for k in names], 1)

    behind, ahead = (flat(between(start, x, min(max(at + d, 0.0), 1.0))) for d in (-apart, apart))
    moved = _moved(flat(start), flat(x), flat(here), flat(slope).abs(), behind, ahead, at)
    parts = torch.split(moved, [math.prod(x[k].shape[1:]) for k in names], 1)
    return x | {k: part.view_as(x[k]) for k, part in zip(names, parts, strict=True)}


Flat = Float[Tensor, "batch values"]


def _moved(start: Flat, x: Flat, here: Flat, steep: Flat, behind: Flat, ahead: Flat, at: float) -> Flat:
    """`here`, with the least steep values moved towards `ahead` until the length that is left is 1 - `at`.

    First everything that is too far back catches up.  Then groups of values move, in ascending order of the gradient;
    the group in which the length runs out moves a part of its way.
    """
    late = (here - start).abs() < (behind - start).abs()
    here = torch.where(late, behind, here)
    room = (ahead - here).abs()
    budget = ((x - here).abs().sum(1) - (1 - at) * (x - start).abs().sum(1)).clamp(min=0)
    height = torch.where(room > 0, _rounded(steep), math.inf)
    rank = torch.searchsorted(height.sort(1).values, height)  # equal values have the rank of the first of them
    group = rank.div(max(1, round(_GROUP * x.shape[1])), rounding_mode="floor")
    need = room.new_zeros(len(x), int(group.max()) + 1).scatter_add_(1, group, room)
    before = need.cumsum(1) - need
    share = ((budget[:, None] - before) / need.clamp(min=torch.finfo(x.dtype).tiny)).clamp(0, 1)
    share = share.gather(1, group)
    return torch.where(share == 1, ahead, here + share * (ahead - here))  # exactly there, so that it has no more room


def _rounded(steep: Flat) -> Flat:
    """To a ten-thousandth of the largest: on an even baseline many gradients are equal, and rounding is no order."""
    unit = 1e-4 * steep.amax(1, keepdim=True).clamp(min=torch.finfo(steep.dtype).tiny * 1e6)
    return (steep / unit).round()


def reference(f: Score, x: Tensors, *, steps: int = 64, apart: float = 0.1, baseline: float = 0.0) -> Tensors:
    """The definition for one input, sample by sample, group by group."""
    (name,) = x
    start, out = torch.full_like(x[name], baseline), torch.zeros_like(x[name])
    for b in range(len(out)):
        begin, end = start[b].flatten(), x[name][b].flatten()
        whole, point = float((end - begin).abs().sum()), begin.clone()

        def slope(p: Tensor, b: int = b) -> Tensor:
            return f.among([b]).grad({name: p.view_as(x[name][b : b + 1])})[name].flatten()

        gradient = slope(point)
        for step in range(1, steps + 1):
            at, old = step / steps, point.clone()
            low, high = (begin + min(max(at + d, 0.0), 1.0) * (end - begin) for d in (-apart, apart))
            for i in range(len(point)):
                if abs(float(point[i] - begin[i])) < abs(float(low[i] - begin[i])):
                    point[i] = low[i]
            left = float((end - point).abs().sum()) - (1 - at) * whole
            height = _rounded(gradient.abs()[None])[0].tolist()
            free = [i for i in range(len(point)) if point[i] != high[i]]
            ranks = {i: sum(height[j] < height[i] for j in free) for i in free}
            size = max(1, round(_GROUP * len(point)))
            for k in range(0, len(free), size):
                group = [i for i in free if k <= ranks[i] < k + size]
                need = max(float((high[group] - point[group]).abs().sum()), 1e-300)
                share = min(max(left / need, 0.0), 1.0)
                point[group] = high[group] if share == 1 else point[group] + share * (high[group] - point[group])
                left -= need
            point = end.clone() if step == steps else point
            after = slope(point)
            out[b] += ((gradient + after) / 2 * (point - old)).view_as(out[b])
            gradient = after
    return {name: out}
