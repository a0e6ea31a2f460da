r"""A picture as Fourier coefficients, low frequencies moving more easily, at a fixed contrast.

$$u = c\,\frac{v - \bar v}{s(v)}, \qquad v = \mathrm{FFT}^{-1}\big(p_f / \max(f, 1/N)^{d}\big)$$

An optimizer that gives every coefficient steps of one size then draws shapes before texture (Olah et al. 2017).  The
contrast $c$ is held: else the way to please a unit is to drive colors to their ends.  With `contrast=0` it is free,
for dreams that are to be like a picture, whatever its contrast.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption
from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.parametrizations.color import unbounded
from pellucid.dream.painting.parametrizations.parametrization import Parametrization, noise, spatial
from pellucid.dream.recipe import Recipe

FAINT = 0.1  # spread at the start, of a picture whose contrast is free


def fourier(
    canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator], seed: Tensor | None = None
) -> Parametrization:
    """Coefficients of any number of spatial axes, at random or those of a picture `seed` `[n, channels, *size]`, 0..1.

    Raises `BadOption` for inputs without spatial axes, `BadInput` for a `seed` of one color.
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
        refuse_flat(u - offset)
        start = torch.view_as_real(torch.fft.rfftn(u - offset, dim=spatial(u), norm="ortho") / weights)
        start = start / _std(start)

    def drawn(coefficients: Tensor) -> Tensor:
        weighed = torch.view_as_complex(coefficients) * weights
        found: Tensor = torch.fft.irfftn(weighed, s=canvas.size, dim=tuple(range(2, weighed.ndim)), norm="ortho")
        return found

    began = FAINT if seed is None else contrast
    gain = None if recipe.contrast else began / _std(drawn(start))

    def paint(leaves: Tensors) -> Tensor:
        v = drawn(leaves["coefficients"])
        if gain is not None:
            return v * gain + offset
        v = v - v.mean(tuple(range(1, v.ndim)), keepdim=True)
        painted: Tensor = v * (contrast / _std(v)) + offset
        return painted

    return Parametrization({"coefficients": start}, paint)


def _std(v: Tensor) -> Tensor:
    """Each sample's spread around zero, to be divided by (several times faster than `std`)."""
    return (v.square().mean(tuple(range(1, v.ndim)), keepdim=True) + 1e-16).sqrt()


def refuse_flat(u: Tensor) -> None:
    """Raise `BadInput` for a picture of one color: it has no contrast that could be held."""
    if not bool((u.flatten(1).abs().amax(1) > 1e-4).all()):
        raise BadInput(
            "A picture to begin at is one color, and this parametrization holds its contrast.",
            'Use parametrization="laplacian" or "pixels".',
        )


def frequencies(size: Sequence[int], canvas: Canvas) -> Tensor:
    """The size of each frequency of `torch.fft.rfftn`, in cycles per sample."""
    axes = [torch.fft.fftfreq(n) for n in size[:-1]] + [torch.fft.rfftfreq(size[-1])]
    grid = torch.meshgrid(*axes, indexing="ij")
    return torch.stack(grid).square().sum(0).sqrt().to(dtype=canvas.dtype, device=canvas.device)
