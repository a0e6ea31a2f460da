r"""Sobol attribution: how much of the score's variance a cell takes part in, when all cells are dimmed at random.

$$A_i = \frac{\mathbb{E}\bigl[\mathrm{Var}(f \mid m_{\sim i})\bigr]}{\mathrm{Var}(f)}
\approx \frac{\frac{1}{2n}\sum_j \bigl(f(a_j) - f(a_j^{(i)})\bigr)^2}{\mathrm{Var}_j f(a_j)}$$

The $m$ are numbers in 0..1, one a cell: how much of the cell is seen.  $a_j^{(i)}$ is $a_j$ with cell i drawn anew
(Jansen's estimator of the total index); the $a_j$ and the anew are a scrambled Sobol sequence.

Good for: finding the cells that matter through interactions as much as alone, without a gradient.
Not for:  the sign: a cell that speaks against the target counts like one that speaks for it.  Indices are shares of the
          variance under dimming and add up to 1 only when nothing interacts, to more otherwise.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.errors import Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.spatial import image_input
from pellucid.core.tensors import Tensors
from pellucid.probes.cells import grid_of, seen, spread
from pellucid.probes.designs import design, total_indices
from pellucid.probes.fills import StandIn, stand_in
from pellucid.probes.variations import Variations


@method(
    title="Sobol indices",
    family="perturbation",
    paper="Fel, Cadene, Chalvidal, Cord, Vigouroux, Serre 2021, arXiv:2111.04138",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="`designs` forward passes a cell, and `designs`, and 1",
    signed=False,
)
def sobol(
    f: Score,
    x: Tensors,
    *,
    designs: Annotated[int, Range(2, 16384), "points of the design; powers of two fill the space best"] = 32,
    cells: Annotated[int, Range(1, 64), "cells along each side"] = 7,
    fill: Annotated[StandIn, "what a cell is dimmed to"] = "constant",
    value: Annotated[float, Range(-1e6, 1e6), "the constant, as the network sees it"] = 0.0,
) -> Finding:
    """Each cell's total Sobol index, a share of the score's variance: `[batch, 1, height, width]`.

    All samples are dimmed alike, by a design that depends on the seed alone.  A stopped run has the points of the
    design that were finished.  Raises `BadInput` when no input is a picture.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1))
    >>> e = pl.methods.sobol(net, torch.rand(1, 3, 2, 2), 0, cells=2, designs=8)
    >>> e.resolution, e.values.shape
    ((2, 2), torch.Size([1, 1, 2, 2]))
    """
    name = image_input(x)
    v, grid = x[name], grid_of(x[name], cells)
    points = design(designs, grid[0] * grid[1])
    base = f(x)
    rows: list[Tensor] = []  # the scores at a point of the design, then with each cell drawn anew: `[1 + cells, batch]`
    row: list[Tensor] = []
    for score in f.scores(_dimmed(x, name, points, grid, stand_in(v, (2, 3), fill, value))):
        row.append((score - base).double())  # counted from the whole picture's score, so that rounding stays small
        if len(row) == points.shape[1]:
            rows.append(torch.stack(row))
            row = []
    if len(rows) < 2:
        raise Stopped("Stopped before two points of the design were finished.", "Run it again to get a map.")
    # a score that stands still still trembles
    rounding = (8 * torch.finfo(v.dtype).eps * base.double()) ** 2
    indices, variance = total_indices(torch.stack(rows), rounding)
    index = indices.reshape(-1, *grid)
    facts = {"designs": len(rows), "variance of the score": variance.tolist(), "sum of the indices": _sums(index)}
    return Finding({name: spread(index, v).to(v)}, resolution=grid, facts=facts)


def _sums(index: Tensor) -> list[float]:
    sums: list[float] = index.flatten(1).sum(1).tolist()
    return sums


def _dimmed(x: Tensors, name: str, points: Tensor, grid: tuple[int, int], fill: Tensor) -> Variations:
    flat = points.flatten(0, 1).view(-1, *grid)

    def at(i: int) -> Tensors:
        return {**x, name: seen(x[name], spread(flat[i : i + 1], x[name]).to(x[name]), fill)}

    return Variations(len(flat), at)


def reference(
    f: Score, x: Tensors, *, designs: int = 32, cells: int = 7, fill: StandIn = "constant", value: float = 0.0
) -> Tensors:
    """The definition on the same design, cell by cell."""
    name = image_input(x)
    v, grid = x[name], grid_of(x[name], cells)
    count = grid[0] * grid[1]
    dimmed = _dimmed(x, name, design(designs, count), grid, stand_in(v, (2, 3), fill, value))
    at = [f(dimmed.at(j * (1 + count))) for j in range(designs)]
    variance = torch.stack(at).var(0, unbiased=False)
    index = torch.zeros(len(v), count, dtype=v.dtype)
    for i in range(count):
        for j in range(designs):
            index[:, i] += (at[j] - f(dimmed.at(j * (1 + count) + 1 + i))) ** 2 / (2 * designs)
    return {name: spread((index / variance[:, None]).view(-1, *grid), v)}
