"""Is there as much of the coarse and of the fine in it as in photographs?  A flag: texture, not content."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.checks.dreams.measured import dream_measure, not_made, verdict
from pellucid.core.check import Check
from pellucid.dream.dream import Dream
from pellucid.dream.painting.natural import radial, radial_of_photographs
from pellucid.dream.painting.penalties import spectral_distance
from pellucid.dream.painting.photographs import photographs

LEAST = 32  # pixels: the spectra of smaller photographs scatter as widely as noise is away
SATURATED = 0.02  # of the range, from either end


@dream_measure(
    title="Spectrum against photographs",
    paper="Field 1987, doi:10.1364/JOSAA.4.002379",
    better="lower",
    cost="no pass",
    place=5,
)
def spectrum(dream: Dream) -> tuple[Check, ...]:
    """How far the fall of its spectrum is from photographs', in nats (root mean square over rings of frequency).

    HOLDS up to what 95 % of 800 photographs keep within (`references` name their percentiles); FAILS when it is nearer
    to white noise's distance than to the middle photograph's.  `facts` say the share of saturated pixels.  Color
    pictures of at least 32 pixels a side only.
    """
    if not dream.canvas.colors or min(dream.canvas.size) < LEAST:
        why = f"What natural pictures are like is known of color pictures of at least {LEAST} pixels a side."
        return tuple(not_made(why) for _ in dream.targets)
    x = dream.pictures.float()
    away, height, width = spectral_distance(x), x.shape[2], x.shape[3]
    known = radial_of_photographs(height, width)
    fall, white = known - known.mean(), float((known - known.mean()).square().mean().sqrt())
    usual = photographs().usual(min(height, width))
    finer = ((radial(x) - fall) * (torch.arange(len(fall)) - (len(fall) - 1) / 2)).sum(1)
    ends = ((x < SATURATED) | (x > 1 - SATURATED)).float().flatten(1).mean(1)
    return tuple(_one(a, f, e, usual, white) for a, f, e in zip(away, finer, ends, strict=True))


def _one(away: Tensor, finer: Tensor, ends: Tensor, usual: tuple[float, float, float], white: float) -> Check:
    value, (low, middle, high) = float(away), usual
    failed = value > (middle + white) / 2 and value > high
    found = verdict(value <= high, failed)
    kind = "fine grain" if float(finer) > 0 else "smooth areas"
    if value <= high:
        why = f"Coarse and fine are in balance as in photographs: {value:.2f} off; 95 % of them are below {high:.2f}."
    elif failed:
        why = (
            f"It is as unlike a photograph as noise is: far too much of it is {kind} ({value:.2f}; noise {white:.2f})."
        )
    else:
        why = f"More of it is {kind} than in photographs ({value:.2f}; 95 % of them are below {high:.2f})."
    share = float(ends)
    said = f" {share:.0%} of its values are at an end of the range." if share >= 0.005 else ""
    references = (("middle photograph", middle), ("95 % of photographs", high), ("white noise", white))
    facts = {"saturated": share, "photographs": {"5 %": low, "50 %": middle, "95 %": high}, "white noise": white}
    return Check("spectrum", value, found, why + said, references=references, facts=facts)
