r"""RISE: show the network random parts of the picture; the places that are seen when the score is high matter.

$$A_i = \frac{1}{p}\,\mathrm{Cov}\bigl(f(m \odot x + (1 - m) \odot x^0),\, m_i\bigr)
= \frac{1}{p}\,\mathbb{E}\bigl[(f - \mathbb{E}f)\,m_i\bigr]$$

A mask $m$ is a coarse grid of cells, each seen with probability $p$, enlarged bilinearly and shifted by less than a
cell.  The paper's map is $\mathbb{E}[f\,m_i]/p$, which differs from this by the constant $\mathbb{E}f$ alone; but with
finitely many masks that constant, times the chance by which a place was seen more often than another, is most of the
noise, so it is left out unless `centered` is off.

Good for: any model, also one without gradients; evidence in several places at once, since many cells vary together.
Not for:  small budgets: the error falls like one over the square root of the masks, and is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.spatial import image_input
from pellucid.core.tensors import Tensors, per_sample
from pellucid.probes.cells import Soft, grid_of, seen
from pellucid.probes.fills import StandIn, stand_in
from pellucid.probes.variations import Variations


@method(
    title="RISE",
    family="perturbation",
    paper="Petsiuk, Das, Saenko 2018, arXiv:1806.07421",
    promises=Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT,
    cost="`masks` forward passes, and 1",
)
def rise(
    f: Score,
    x: Tensors,
    *,
    masks: Annotated[int, Range(2, 100_000), "random masks"] = 1000,
    cells: Annotated[int, Range(1, 256), "cells of a mask along each side"] = 7,
    keep: Annotated[float, Range(0.01, 0.99), "probability that a cell is seen"] = 0.5,
    fill: Annotated[StandIn, "what stands where nothing is seen"] = "constant",
    value: Annotated[float, Range(-1e6, 1e6), "the constant, as the network sees it"] = 0.0,
    centered: Annotated[bool, "leave out the constant that the score has on average"] = True,
) -> Finding:
    """How much the score rises with each place being seen, `[batch, 1, height, width]`.

    The unit is the score's.  All samples see the same masks, which depend on the seed alone.
    `facts["standard error"]` is the largest standard error of any place, a number a sample.  A stopped run averages
    what it has.  Raises `BadInput` when no input is a picture.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(75, 1))
    >>> pl.methods.rise(net, torch.rand(1, 3, 5, 5), 0, masks=8, cells=2).resolution
    (2, 2)
    """
    name = image_input(x)
    v, grid = x[name], grid_of(x[name], cells)
    draws = Soft(grid, keep, v)
    shown = _shown(x, name, draws, stand_in(v, (2, 3), fill, value), masks)
    base = f(x) if centered else torch.zeros(len(v))
    sums = _Sums.none(v, keep, centered)
    for i, score in enumerate(f.scores(shown)):
        sums.add(score - base.to(score), draws.mask(i))
    if sums.count < 2:
        raise Stopped("Stopped before two masks were seen.", "Run it again to get a map.")
    found, error = sums.map(), sums.error().flatten(1).amax(1)
    low, high = found.flatten(1).aminmax(dim=1)
    drowned = int(((high > low) & (high - low < 4 * error)).sum())
    note = f"{drowned} of {len(v)} samples: the map's range is below four standard errors; take more masks."
    facts = {"masks": sums.count, "standard error": error.tolist()}
    return Finding({name: found}, resolution=grid, facts=facts, notes=(note,) if drowned else ())


def _shown(x: Tensors, name: str, draws: Soft, fill: Tensor, count: int) -> Variations:
    return Variations(count, lambda i: {**x, name: seen(x[name], draws.mask(i), fill)})


@dataclass(slots=True)
class _Sums:
    """Running sums over masks of d, m, mm, dm, dmm and ddmm, where d is the score and m the mask.

    For the centered map d counts from the score of the whole picture and m from its mean, which keeps rounding small.
    """

    keep: float
    centered: bool
    count: int
    d: Float[Tensor, "batch 1 1 1"]
    m: Float[Tensor, "1 1 height width"]
    mm: Float[Tensor, "1 1 height width"]
    dm: Float[Tensor, "batch 1 height width"]
    dmm: Float[Tensor, "batch 1 height width"]
    ddmm: Float[Tensor, "batch 1 height width"]

    @classmethod
    def none(cls, v: Tensor, keep: float, centered: bool) -> _Sums:
        shared, own = torch.zeros_like(v[:1, :1]), torch.zeros_like(v[:, :1])
        return cls(keep, centered, 0, own[..., :1, :1].clone(), shared, shared.clone(), *(own.clone() for _ in "123"))

    def add(self, score: Tensor, mask: Tensor) -> None:
        """One mask more."""
        d, m = per_sample(score.to(self.dm), self.dm), mask - self.keep if self.centered else mask
        self.count += 1
        self.d += d
        self.m += m
        self.mm += m * m
        self.dm += d * m
        self.dmm += d * (m * m)
        self.ddmm += d * d * (m * m)

    def map(self) -> Tensor:
        """The covariance of score and mask (or, as in the paper, the mean of their product), over `keep`."""
        if not self.centered:
            return self.dm / (self.count * self.keep)
        return (self.dm - self.d * self.m / self.count) / ((self.count - 1) * self.keep)

    def error(self) -> Tensor:
        """The standard error of the map: of the mean of (d - mean d) m, or of d m; to leading order in the count."""
        d = self.d / self.count if self.centered else 0 * self.d
        square = (self.ddmm - 2 * d * self.dmm + d * d * self.mm) / self.count
        mean = (self.dm - d * self.m) / self.count
        return ((square - mean * mean).clamp(min=0) / self.count).sqrt() / self.keep


def reference(
    f: Score,
    x: Tensors,
    *,
    masks: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    fill: StandIn = "constant",
    value: float = 0.0,
    centered: bool = True,
) -> Tensors:
    """The definition on the same masks, all of them kept."""
    name = image_input(x)
    draws = Soft(grid_of(x[name], cells), keep, x[name])
    every = torch.cat([draws.mask(i) for i in range(masks)])
    shown = _shown(x, name, draws, stand_in(x[name], (2, 3), fill, value), masks)
    scores = torch.stack([f(shown.at(i)) for i in range(masks)])
    if not centered:
        return {name: torch.einsum("nb,nchw->bchw", scores, every) / (masks * keep)}
    above = scores - scores.mean(0)
    return {name: torch.einsum("nb,nchw->bchw", above, every) / ((masks - 1) * keep)}
