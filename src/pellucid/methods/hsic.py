r"""HSIC attribution: does the score depend on whether a cell is seen?  Any dependence counts, by kernels.

$$A_i = \frac{1}{(n-1)^2}\,\mathrm{tr}(K_i H L H),\qquad K_i[j,k] = [m_{ji} = m_{ki}],\quad
L[j,k] = \exp\Bigl(-\frac{(f_j - f_k)^2}{2\sigma^2}\Bigr),\quad H = 1 - \tfrac1n$$

Each of n masks shows every cell with probability 1/2; $f_j$ is the score under mask j; $\sigma$ is the median distance
of two scores.  All cells are measured on the same masks, so the price does not grow with their number.

Good for: the most cells for a given number of passes; no gradient needed.
Not for:  the sign or the unit: a dependence measure is neither a share nor a change of the score.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.spatial import image_input
from pellucid.core.tensors import Tensors
from pellucid.probes.cells import Grid, grid_of, seen, spread
from pellucid.probes.fills import StandIn, stand_in
from pellucid.probes.variations import Variations


@method(
    title="HSIC",
    family="perturbation",
    paper="Novello, Fel, Vigouroux 2022, arXiv:2206.06219",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="`masks` forward passes, and 1",
    signed=False,
)
def hsic(
    f: Score,
    x: Tensors,
    *,
    masks: Annotated[int, Range(3, 8192), "random masks"] = 512,
    cells: Annotated[int, Range(1, 256), "cells along each side"] = 7,
    fill: Annotated[StandIn, "what stands where nothing is seen"] = "constant",
    value: Annotated[float, Range(-1e6, 1e6), "the constant, as the network sees it"] = 0.0,
) -> Finding:
    """How strongly the score depends on each cell being seen: `[batch, 1, height, width]`, without unit.

    All samples see the same masks, which depend on the seed alone.  `facts["by chance"]` is what a cell that does not
    matter gets on average, a number a sample.  A stopped run has the masks that were seen.  Raises `BadInput` when no
    input is a picture.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1))
    >>> pl.methods.hsic(net, torch.rand(1, 3, 2, 2), 0, cells=2, masks=8).values.shape
    torch.Size([1, 1, 2, 2])
    """
    name = image_input(x)
    v, grid = x[name], grid_of(x[name], cells)
    shown = _cells_shown(masks, grid)
    base, found = f(x), list[Tensor]()
    for score in f.scores(_seen(x, name, shown, stand_in(v, (2, 3), fill, value))):
        found.append((score - base).double())  # only differences count; these keep rounding small
    if len(found) < 3:
        raise Stopped("Stopped before three masks were seen.", "Run it again to get a map.")
    scores = torch.stack(found).cpu()
    signs = 2 * shown[: len(scores)].flatten(1).double() - 1
    rounding = 8 * torch.finfo(v.dtype).eps * base.abs().double().cpu()
    maps, chance = zip(
        *(_dependence(signs, s, r) for s, r in zip(scores.T, rounding.tolist(), strict=True)), strict=True
    )
    values = torch.stack(maps).view(-1, *grid)
    facts = {"masks": len(scores), "by chance": list(chance)}
    return Finding({name: spread(values, v).to(v)}, resolution=grid, facts=facts)


def _dependence(
    signs: Float[Tensor, "masks cells"], scores: Float[Tensor, " masks"], rounding: float
) -> tuple[Float[Tensor, " cells"], float]:
    """Each cell's HSIC with the scores, and what it would be on average if the masks were shuffled.

    With +1 for seen and -1 for not, [m_j = m_k] is (1 + s_j s_k) / 2, and H takes away the constant: the trace is
    s^T (H L H) s / 2, so that no matrix of masks by masks is made for a cell.
    """
    n, apart = len(scores), (scores[:, None] - scores).abs()
    alike = apart <= rounding
    if bool(alike.all()):
        return torch.zeros_like(signs[0]), 0.0
    sigma = apart[~alike].median()  # the median of those that differ at all, for a score may take two values only
    kernel = torch.exp(-(apart**2) / (2 * sigma**2))
    kernel = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    centered = signs - signs.mean(0)
    found = (signs * (kernel @ signs)).sum(0) / 2 / (n - 1) ** 2
    shuffled = centered.square().sum(0).mean() * kernel.trace() / (n - 1) / 2 / (n - 1) ** 2
    return found.clamp(min=0), float(shuffled)


def _cells_shown(masks: int, grid: Grid) -> Float[Tensor, "masks rows columns"]:
    """Which cells each mask shows; the masks of a short run are the first of a longer one's."""
    draws = (torch.rand(grid, generator=current().generator("cells shown", i)) for i in range(masks))
    return torch.stack([(draw < 0.5).float() for draw in draws])


def _seen(x: Tensors, name: str, shown: Tensor, fill: Tensor) -> Variations:
    v = x[name]
    return Variations(len(shown), lambda i: {**x, name: seen(v, spread(shown[i : i + 1], v).to(v), fill)})


def reference(
    f: Score, x: Tensors, *, masks: int = 512, cells: int = 7, fill: StandIn = "constant", value: float = 0.0
) -> Tensors:
    """The definition on the same masks: a kernel matrix for every cell, one for the scores, and the trace."""
    name = image_input(x)
    v, grid = x[name], grid_of(x[name], cells)
    shown = _cells_shown(masks, grid)
    variations = _seen(x, name, shown, stand_in(v, (2, 3), fill, value))
    scores = torch.stack([f(variations.at(i)) for i in range(masks)])
    h = torch.eye(masks, dtype=v.dtype) - 1 / masks
    out = torch.zeros(len(v), grid[0] * grid[1], dtype=v.dtype)
    for b in range(len(v)):
        apart = (scores[:, b, None] - scores[:, b]).abs()
        outputs = torch.exp(-(apart**2) / (2 * apart[apart > 0].median() ** 2))
        for i, cell in enumerate(shown.flatten(1).T):
            inputs = (cell[:, None] == cell).to(v.dtype)
            out[b, i] = torch.trace(inputs @ h @ outputs @ h) / (masks - 1) ** 2
    return {name: spread(out.view(-1, *grid), v)}
