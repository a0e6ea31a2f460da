"""Does the map point into a region that somebody marked?  Needs a mask or boxes; says where, not whether it should."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.run import current
from pellucid.core.tensors import digest
from pellucid.trials.layout import layout_of
from pellucid.trials.regions import Marked, region

NULLS = 499


@dataclass(frozen=True, slots=True)
class Located:
    """One map and one region.

    `energy`: the share of the positive evidence inside; `area`: the region's share of the picture (chance); `hit`: is
    the strongest place inside (ties count in part); `random`: what the best twentieth of rolled maps reach.
    """

    energy: float
    area: float
    hit: float
    random: float
    p: float


@measure(
    title="Evidence inside a region",
    family="localization",
    paper="Wang et al. 2020, arXiv:1910.01279; Zhang et al. 2016, arXiv:1608.00507",
    better="higher",
    cost="no pass",
    place=7,
)
def localization(explanation: Explanation, *, mask: Marked | None = None) -> Check:
    """The share, in 0..1, of the map's positive evidence that lies in the region, beside the region's area.

    `mask`: `[height, width]` or `[batch, height, width]`, true inside; or boxes (left, top, right, bottom) in pixels,
    for all samples or a list for each.
    HOLDS when no more than one in twenty copies of the map, rolled at random, has as much evidence inside.  Of several
    samples the mean is told, with the range.  UNKNOWN without a mask.  Raises `BadInput` when the mask does not fit
    or is empty.  Energy after Wang et al. 2020 (energy-based pointing game), hit after Zhang et al. 2016.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1, bias=False))
    >>> net[1].weight.data = torch.zeros(8, 8).index_fill_(0, torch.tensor([0, 1]), 1.0).view(1, 64)
    >>> why = pl.methods.saliency(net, torch.ones(1, 1, 8, 8), 0)
    >>> localization(why, mask=[(0, 0, 8, 2)]).value  # left, top, right, bottom
    1.0
    """
    if mask is None:
        return Check("localization", math.nan, Verdict.UNKNOWN, "Nobody marked a region to compare the map with.")
    layout = layout_of(explanation.net, explanation.x)
    if explanation.at:
        raise BadInput(f"The map is one of the places at {explanation.at}, not of the marked picture's.")
    if layout.kind != "picture":
        raise BadInput(f"A region can be marked in a picture's map only; this input is a {layout.kind}.")
    maps = layout.map_of(explanation)
    regions = region(mask, layout, len(maps))
    return _worded([located(m, r) for m, r in zip(maps, regions, strict=True)])


def located(places: Float[Tensor, "height width"], inside: Bool[Tensor, "height width"]) -> Located:
    """One map and one region.  NaN where the map has no positive value."""
    positive = places.double().clamp(min=0)
    area = float(inside.double().mean())
    total = float(positive.sum())
    if total <= 0:
        return Located(math.nan, area, math.nan, math.nan, math.nan)
    energy = float(positive[inside].sum()) / total
    top = places == places.max()
    hit = float((top & inside).sum() / top.sum())
    rolled = _rolled(positive, inside) / total
    p = float(1 + (rolled >= energy - 1e-9).sum()) / (NULLS + 1)
    return Located(energy, area, hit, float(rolled.quantile(0.95)), p)


def _rolled(positive: Float[Tensor, "height width"], inside: Bool[Tensor, "height width"]) -> Float[Tensor, " nulls"]:
    """The sum inside when the map is rolled over the border: every roll at once by Fourier transform, some drawn."""
    product = torch.fft.rfft2(inside.double()) * torch.fft.rfft2(positive).conj()
    sums: Tensor = torch.fft.irfft2(product, s=positive.shape)
    generator = current().generator("localization", digest(positive))
    return sums.flatten()[torch.randint(sums.numel(), (NULLS,), generator=generator)]


def _worded(found: list[Located]) -> Check:
    known = [f for f in found if not math.isnan(f.energy)]
    if not known:
        return Check("localization", math.nan, Verdict.UNKNOWN, "The map has no positive value, so it points nowhere.")
    energy, area, hit, random = (_mean([getattr(f, k) for f in known]) for k in ("energy", "area", "hit", "random"))
    beats = sum(f.p <= 0.05 for f in known)
    holds = beats > len(known) / 2
    several = f" In {beats} of {len(known)} samples that is more than chance." if len(known) > 1 else ""
    strongest = (
        f"the strongest point is inside in {hit:.0%} of samples"
        if len(known) > 1
        else ("the strongest point is " + ("inside" if hit == 1 else "outside" if hit == 0 else "partly inside (ties)"))
    )
    verdict = "more than" if holds else "no more than"
    why = (
        f"{energy:.0%} of the map's evidence lies in the marked region, which covers {area:.0%} of the picture: "
        f"{verdict} a map rolled at random may have ({random:.0%}); {strongest}.{several} "
        "This says where the map points, not where the network should look."
    )
    low, high = (min(f.energy for f in known), max(f.energy for f in known)) if len(known) > 1 else (math.nan, math.nan)
    return Check(
        "localization", energy, Verdict.HOLDS if holds else Verdict.FAILS, why, low, high,
        (("chance", area), ("random", random), ("hit", hit)),
    )  # fmt: skip


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
