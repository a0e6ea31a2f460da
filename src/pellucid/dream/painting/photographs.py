"""What photographs are like on average: how their colors vary, and how much of each frequency they hold.

The numbers are in `photographs.json`, with their source; colors are unbounded there, `log(c / (1 - c))`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Photographs:
    """`mean` and `mix`: unbounded colors are `mean + mix @ u`, u uncorrelated, of unit variance, brightness first.

    `amplitude [3, rings, sectors]`: the root mean square of |FFT(u)| (orthonormal, for `side` pixels) at `cycles` per
    picture and at equally spaced orientations from 0 to 180 degrees.  `distances`: how far single photographs are from
    the fall of that spectrum (`penalties.spectral_distance`), by side in pixels: percentiles 5, 50 and 95.
    """

    source: str
    mean: Float[Tensor, " 3"]
    mix: Float[Tensor, "3 3"]
    side: int
    cycles: Float[Tensor, " rings"]
    amplitude: Float[Tensor, "3 rings sectors"]
    distances: Mapping[int, tuple[float, float, float]]

    def usual(self, side: int) -> tuple[float, float, float]:
        """The percentiles of `distances` for the side that is nearest, in octaves."""
        nearest = min(self.distances, key=lambda known: abs(math.log(known / side)))
        return self.distances[nearest]


@cache
def photographs() -> Photographs:
    """The statistics that come with the package."""
    found = json.loads((Path(__file__).parent / "photographs.json").read_text(encoding="utf-8"))
    tensors = {k: torch.tensor(found[k]) for k in ("mean", "mix", "cycles", "amplitude")}
    distances = {int(side): (v[0], v[1], v[2]) for side, v in found["distances"].items()}
    return Photographs(found["source"], side=found["side"], distances=distances, **tensors)


def spectrum(height: int, width: int) -> Float[Tensor, "3 height freqs"]:
    """The amplitude of every frequency of `torch.fft.rfft2` for photographs of this size, whatever it is.

    A picture shows the same scene at every size, so that frequencies are counted in cycles per picture; beyond those
    that were measured the amplitude falls on as it did.  The constant is 0: it says nothing but the mean color.

    >>> spectrum(8, 8).shape, float(spectrum(8, 8)[0, 0, 0])
    (torch.Size([3, 8, 5]), 0.0)
    """
    known = photographs()
    fy = torch.fft.fftfreq(height, 1 / height)[:, None]
    fx = torch.arange(width // 2 + 1)[None].float()
    at = (fy.square() + fx.square()).sqrt().clamp_min(0.5).log()
    log_cycles, table = known.cycles.log(), known.amplitude.log()
    ring = (torch.searchsorted(log_cycles, at) - 1).clamp(0, len(log_cycles) - 2)
    low, high = log_cycles[ring], log_cycles[ring + 1]
    between = ((at - low) / (high - low)).clamp_min(0)  # above 1 beyond the last ring: the line goes on
    sectors = table.shape[2]
    turn = torch.atan2(fy, fx).remainder(torch.pi) / torch.pi * sectors
    first, share = turn.long() % sectors, turn.frac()
    second = (first + 1) % sectors

    def ring_value(i: Tensor) -> Tensor:
        return table[:, i, first] * (1 - share) + table[:, i, second] * share

    amplitude = (ring_value(ring) * (1 - between) + ring_value(ring + 1) * between).exp()
    amplitude[:, 0, 0] = 0
    found: Tensor = amplitude * ((height * width) ** 0.5 / known.side)
    return found
