r"""A picture as Fourier coefficients, low frequencies moving more easily, at a fixed contrast.

$$u = c\,\frac{v - \bar v}{s(v)}, \qquad v = \mathrm{FFT}^{-1}\big(p_f / \max(f, 1/N)^{d}\big)$$

An optimizer that gives every coefficient steps of one size then draws shapes before texture (Olah et al. 2017).  The
contrast $c$ is held: else the way to please a unit is to drive colors to their ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.tensors import Tensors
from pellucid.dream.canvas import Canvas
from pellucid.dream.parametrizations.color import bounded, unbounded
from pellucid.dream.parametrizations.parametrization import Parametrization, noise, spatial
from pellucid.dream.recipe import Recipe


def fourier(
    canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator], seed: Tensor | None = None
) -> Parametrization:
    """Coefficients of any number of spatial axes, at random or those of a picture `seed` `[n, channels, *size]`, 0..1.

    Raises `BadOption` for inputs without spatial axes.
    """
    if not canvas.size:
        raise BadOption("This input has no space, so it has no frequencies.", 'Use parametrization="pixels".')
    weights = 1 / frequencies(canvas.size, canvas).clamp_min(1 / max(canvas.size)) ** recipe.decay
    shape = (canvas.channels, *weights.shape)
    contrast = torch.tensor(recipe.contrast, dtype=canvas.dtype, device=canvas.device)
    offset = torch.zeros_like(contrast)
    if seed is None:
        start = noise(canvas, (*shape, 2), recipe.spread, generators)
    else:
        u = unbounded(seed, canvas, recipe.decorrelated)
        offset = u.mean(spatial(u), keepdim=True)
        contrast = _std(u - offset)
        start = torch.view_as_real(torch.fft.rfftn(u - offset, dim=spatial(u), norm="ortho") / weights)
        start = start / _std(start).clamp_min(1e-12)

    def paint(leaves: Tensors) -> Tensor:
        coefficients = torch.view_as_complex(leaves["coefficients"]) * weights
        axes = tuple(range(2, coefficients.ndim))
        v = torch.fft.irfftn(coefficients, s=canvas.size, dim=axes, norm="ortho")
        v = v - v.mean(tuple(range(1, v.ndim)), keepdim=True)
        v = v / _std(v).clamp_min(1e-8) * contrast + offset
        return bounded(v, canvas, recipe.decorrelated)

    return Parametrization({"coefficients": start}, paint)


def _std(v: Tensor) -> Tensor:
    """Each sample's spread, to be divided by."""
    return v.std(tuple(range(1, v.ndim)), keepdim=True)


def frequencies(size: Sequence[int], canvas: Canvas) -> Tensor:
    """The size of each frequency of `torch.fft.rfftn`, in cycles per sample."""
    axes = [torch.fft.fftfreq(n) for n in size[:-1]] + [torch.fft.rfftfreq(size[-1])]
    grid = torch.meshgrid(*axes, indexing="ij")
    return torch.stack(grid).square().sum(0).sqrt().to(dtype=canvas.dtype, device=canvas.device)
