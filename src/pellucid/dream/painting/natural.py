"""How the spectrum of pictures falls with frequency, and how photographs' does."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.run import current
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.parametrizations.color import bounded
from pellucid.dream.painting.parametrizations.phase import phase
from pellucid.dream.painting.photographs import photographs
from pellucid.dream.recipe import Recipe

LOW = 4  # cycles per picture; below that a picture's content decides
WINDOW = 0.45  # of the side: frequencies above are the resampling's


def radial(x: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n rings"]:
    """The log of the mean power in each ring of one cycle per picture, of the grey picture under a Hann window."""
    height, width = x.shape[2:]
    grey = x.mean(1)
    window = torch.hann_window(height, dtype=x.dtype, device=x.device)[:, None] * torch.hann_window(
        width, dtype=x.dtype, device=x.device
    )
    power = torch.fft.rfft2((grey - grey.mean((1, 2), keepdim=True)) * window, norm="ortho").abs().square()
    ring, rings = _rings(height, width)
    ring = ring.to(x.device)
    sums = x.new_zeros(len(x), rings + 1).index_add_(1, ring, power.flatten(1))
    counts = x.new_zeros(rings + 1).index_add_(0, ring, torch.ones_like(ring, dtype=x.dtype))
    return (sums / counts).clamp_min(1e-12).log()[:, LOW:rings]


@cache
def _rings(height: int, width: int) -> tuple[Tensor, int]:
    """The ring of each frequency of `rfft2`, those beyond the last all in one more, and how many rings there are."""
    fy, fx = torch.fft.fftfreq(height, 1 / height)[:, None], torch.arange(width // 2 + 1)[None].float()
    rings = max(LOW + 2, int(WINDOW * min(height, width)))
    return (fy.square() + fx.square()).sqrt().round().long().clamp(max=rings).flatten(), rings


@cache
def radial_of_photographs(height: int, width: int) -> Float[Tensor, " rings"]:
    """What `radial` gives for photographs on average, but for a constant.

    From the brightness axis of the measured spectrum, whose rings are joined by straight lines in log-log.
    """
    known = photographs()
    at = torch.arange(LOW, _rings(height, width)[1]).float().log()
    x, y = known.cycles.log(), known.amplitude[0].square().mean(1).log()
    i = (torch.searchsorted(x, at) - 1).clamp(0, len(x) - 2)
    return y[i] + (y[i + 1] - y[i]) * (at - x[i]) / (x[i + 1] - x[i])


def random_phases(canvas: Canvas, count: int) -> Float[Tensor, "count channels *size"]:
    """Pictures without content: amplitudes as photographs have them, phases at random; without space, plain noise."""
    generators = [current().generator("random phases", i) for i in range(count)]
    if not canvas.size:
        drawn = [torch.rand(canvas.channels, generator=g) for g in generators]
        return torch.stack(drawn).to(dtype=canvas.dtype, device=canvas.device)
    many_turns = Recipe(parametrization="phase", contrast=1.0, spread=10.0)  # so that every phase is as likely
    made = phase(canvas, many_turns, generators)
    return bounded(made.paint(made.start), canvas, many_turns.decorrelated)
