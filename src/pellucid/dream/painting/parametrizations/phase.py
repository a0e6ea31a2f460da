r"""A picture whose amplitudes are photographs' own, so that only phases can be moved (MACO; Fel et al. 2023).

$$u = \mathrm{FFT}^{-1}\big(A_f\, e^{i\varphi_f}\big)$$

With a picture to start from, the amplitudes are that picture's (feature accentuation; Hamblin et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.parametrizations.color import unbounded
from pellucid.dream.painting.parametrizations.fourier import frequencies, refuse_flat
from pellucid.dream.painting.parametrizations.parametrization import Parametrization, noise, spatial
from pellucid.dream.painting.photographs import spectrum
from pellucid.dream.recipe import Recipe


def phase(
    canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator], seed: Tensor | None = None
) -> Parametrization:
    """Phases at random, or those of a picture `seed`.

    The frequencies 0 and 1/2 of the last axis come in pairs, whose phases together also move their amplitude.
    Of inputs that are no color pictures amplitudes fall with frequency to the power of `decay`.  Raises `BadOption`
    for inputs without spatial axes.
    """
    if not canvas.size:
        raise BadOption("This input has no space, so it has no frequencies.", 'Use parametrization="pixels".')
    offset = torch.zeros((), dtype=canvas.dtype, device=canvas.device)
    if seed is not None:
        u = unbounded(seed, canvas, recipe.decorrelated)
        offset = u.mean(spatial(u), keepdim=True)
        refuse_flat(u - offset)
        found = torch.fft.rfftn(u - offset, dim=spatial(u), norm="ortho")
        start, amplitude = found.angle(), found.abs()
    else:
        amplitude = _amplitude(canvas, recipe)[None]
        start = noise(canvas, amplitude.shape[1:], max(recipe.spread, 1e-6), generators)

    def paint(leaves: Tensors) -> Tensor:
        phases = leaves["phases"]
        spectrum_ = torch.polar(amplitude.expand_as(phases), phases)
        v = torch.fft.irfftn(spectrum_, s=canvas.size, dim=tuple(range(2, phases.ndim)), norm="ortho")
        painted: Tensor = v * (1.0 if seed is not None else recipe.contrast) + offset
        return painted

    return Parametrization({"phases": start}, paint)


def _amplitude(canvas: Canvas, recipe: Recipe) -> Tensor:
    if canvas.colors and recipe.decorrelated:
        return spectrum(*canvas.size).to(dtype=canvas.dtype, device=canvas.device)
    f = frequencies(canvas.size, canvas)
    a = f.clamp_min(1 / max(canvas.size)) ** -recipe.decay
    a.view(-1)[0] = 0
    return (a / a.square().mean().sqrt()).expand(canvas.channels, *a.shape)
