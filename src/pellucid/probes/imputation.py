"""Noisy linear imputation: what was removed becomes a weighted mean of its neighbors, all of them solved jointly.

Rong et al. 2022 (ROAD): a removed pixel is the mean of its eight neighbors, the four beside it weighing 1/6 and the
four at its corners 1/12; those beyond the picture's edge are left out.  Removed neighbors are unknown too, so this is
one linear equation a removed pixel.  A little noise hides that the hole is smooth: otherwise its shape could be read.

The equations are those of a discrete Laplacian with the kept pixels as its border, so they are symmetric and positive.
Solved by conjugate gradients, preconditioned by a multigrid cycle over 2 x 2 blocks of unknowns: a few rounds for holes
of any shape, no sparse matrix, all masks of a batch at once.  A sample's solution depends on itself alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from pellucid.core.errors import BadOption
from pellucid.core.run import current
from pellucid.core.tensors import digest
from pellucid.probes.infill import pull_push

NOISE = 0.01  # standard deviation, as the network sees the input: that of the paper's own code
TOLERANCE = 1e-5  # of the equations' residual, as a share of the largest value of the input
ROUNDS = 200  # far beyond what any hole was seen to need
_DAMPED = 0.9  # Jacobi steps: every eigenvalue that a 2 x 2 block cannot show is brought down to less than 0.4
_FURTHER = 1.8  # what constant blocks correct is too little, by up to 2 (Braess 1995)
_COARSEST = 4

Picture: TypeAlias = Float[Tensor, "batch channels height width"]


def noisy_linear(x: Picture, mask: Bool[Tensor, "batch height width"], noise: float = NOISE) -> Picture:
    """Removed parts as weighted means of their neighbors, plus normal noise of standard deviation `noise`.

    The noise is drawn from the seed and each sample's content: the same field for every mask.  Raises `BadInput` when
    a mask leaves nothing, `BadOption` for negative noise.

    >>> plane = torch.arange(7.0).expand(1, 1, 7, 7)
    >>> hole = torch.zeros(1, 7, 7, dtype=torch.bool); hole[:, 2:5, 1:6] = True
    >>> torch.allclose(noisy_linear(plane, hole, noise=0.0), plane, atol=1e-4)
    True
    """
    if not noise >= 0:
        raise BadOption(f"noise={noise}: expected a standard deviation, 0 or more.")
    filled = linear(x, mask)
    return torch.where(mask.unsqueeze(1), filled + noise * _noise(x), x) if noise else filled


def _noise(x: Picture) -> Picture:
    """Each sample's own noise; copies of one sample, which follow one another, get the same."""
    found: list[Tensor] = []
    for i, v in enumerate(x):
        again = i > 0 and (v.data_ptr() == x[i - 1].data_ptr() or torch.equal(v, x[i - 1]))
        generator = current().generator("noisy_linear", digest(v.float())) if not again else None
        found.append(found[-1] if generator is None else torch.randn(v.shape, generator=generator))
    return torch.stack(found).to(x)


def linear(x: Picture, mask: Bool[Tensor, "batch height width"], tolerance: float = TOLERANCE) -> Picture:
    """The same without noise: the solution of the equations, starting from what pull-push paints.

    >>> x, hole = torch.tensor([[[[1.0, 0.0, 3.0]]]]), torch.tensor([[[False, True, False]]])
    >>> linear(x, hole).flatten().tolist()
    [1.0, 2.0, 3.0]
    """
    u = pull_push(x if x.dtype == torch.double else x.float(), mask)
    hole = mask.unsqueeze(1).to(u.dtype)
    weight = _nine(torch.ones_like(hole[:1])) - 4  # 12, and less at the edge: the equations times 12
    levels = _levels(hole, weight)

    def operator(e: Tensor) -> Tensor:
        return _nine(e).sub_((weight + 4) * e).mul_(-hole)

    size = u.abs().flatten(2).amax(2)[..., None, None]
    e = _solved(operator, lambda r: _cycle(r, operator, levels), -operator(u), 12 * tolerance * size)
    return torch.where(mask.unsqueeze(1), (u + e).to(x.dtype), x)


def _solved(
    operator: Callable[[Tensor], Tensor], nearly: Callable[[Tensor], Tensor], rest: Picture, enough: Tensor
) -> Picture:
    """Conjugate gradients, a number a channel: whoever is done stands still while the others go on."""
    e, direction, before = torch.zeros_like(rest), torch.zeros_like(rest), torch.ones_like(enough)
    for i in range(ROUNDS):
        open_ = rest.abs().flatten(2).amax(2)[..., None, None] > enough
        if not bool(open_.any()):
            break
        corrected = nearly(rest)
        now = _dot(rest, corrected)
        direction = corrected + (now / before if i else 0.0) * direction
        ahead = operator(direction)
        step = torch.where(open_, now / _dot(direction, ahead), 0.0)
        e = e + step * direction
        rest = rest - step * ahead
        before = torch.where(open_, now, 1.0)
    return e


def _dot(a: Picture, b: Picture) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)


def _nine(u: Picture) -> Picture:
    """Each place's 3 x 3 neighborhood: four times itself, twice what is beside it, once what is at its corners."""
    p = functional.pad(u, (1, 1, 1, 1))
    p = p[..., :-1, :] + p[..., 1:, :]
    p = p[..., :-1, :] + p[..., 1:, :]
    p = p[..., :-1] + p[..., 1:]
    return p[..., :-1] + p[..., 1:]


@dataclass(frozen=True, slots=True)
class _Level:
    """The equations on blocks: what each place takes of its nine neighbors, and one over its own weight (0: known)."""

    stencil: Float[Tensor, "batch 3 3 height width"]
    inverse: Float[Tensor, "batch 1 height width"]

    def __call__(self, e: Picture) -> Picture:
        height, width = e.shape[-2:]
        p = functional.pad(e, (1, 1, 1, 1))
        out = torch.zeros_like(e)
        for i in range(3):
            for j in range(3):
                out.addcmul_(self.stencil[:, i, j, None], p[..., i : i + height, j : j + width])
        return out


def _levels(hole: Float[Tensor, "batch 1 height width"], weight: Tensor) -> list[_Level]:
    """The equations of the pixels themselves, then of blocks twice the size (Galerkin), until hardly any is left."""
    height, width = hole.shape[-2:]
    p = functional.pad(hole, (1, 1, 1, 1))
    sides = ((1, 2, 1), (2, 0, 2), (1, 2, 1))
    rows = [
        torch.stack([-sides[i][j] * p[..., i : i + height, j : j + width] * hole for j in range(3)], 1)
        for i in range(3)
    ]
    stencil = torch.stack(rows, 1).squeeze(3)
    stencil[:, 1, 1] = (weight * hole).squeeze(1)
    levels = [_level(stencil)]
    while max(stencil.shape[-2:]) > _COARSEST:
        stencil = _halved(_halved(stencil).transpose(1, 2).transpose(3, 4)).transpose(1, 2).transpose(3, 4).contiguous()
        levels.append(_level(stencil))
    return levels


def _level(stencil: Tensor) -> _Level:
    own = stencil[:, 1, 1].unsqueeze(1)
    return _Level(stencil, torch.where(own > 0, 1 / own, 0.0))


def _halved(stencil: Float[Tensor, "batch 3 3 height width"]) -> Float[Tensor, "batch 3 3 half width"]:
    """Pairs of lines made one: what the upper takes from above and the lower from below stays a neighbor's."""
    padded = functional.pad(stencil, (0, 0, 0, stencil.shape[-2] % 2))
    upper, lower = padded[..., 0::2, :], padded[..., 1::2, :]
    inner = upper[:, 1] + upper[:, 2] + lower[:, 0] + lower[:, 1]
    return torch.stack([upper[:, 0], inner, lower[:, 2]], 1)


def _cycle(rest: Picture, operator: Callable[[Tensor], Tensor], levels: list[_Level]) -> Picture:
    """An approximate solution: a Jacobi step, the same on blocks for what is left, a Jacobi step."""
    here, *coarser = levels
    e = _DAMPED * here.inverse * rest
    if coarser:
        height, width = rest.shape[-2:]
        left = functional.pad(rest - operator(e), (0, width % 2, 0, height % 2))
        left = left[..., 0::2, :] + left[..., 1::2, :]
        blocks = left[..., 0::2] + left[..., 1::2]
        found = _cycle(blocks, coarser[0], coarser)
        wide = found.repeat_interleave(2, -2).repeat_interleave(2, -1)[..., :height, :width]
        e.addcmul_((here.inverse > 0).to(e.dtype), wide, value=_FURTHER)
    return e + _DAMPED * here.inverse * (rest - operator(e))
