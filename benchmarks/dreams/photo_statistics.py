"""Measure how the colors of photographs vary and how their spectrum falls; writes dream/painting/photographs.json.

    python -m benchmarks.dreams.photo_statistics FOLDER

Photographs are cut to their central square and reduced to 224 pixels a side.  Colors in 0..1 are first unbounded,
`log(c / (1 - c))` with c kept within 0.02..0.98, because a dream is bounded by the inverse of that.  Their covariance
gives the mixing matrix `L` (its columns are the principal axes, brightness first): colors = mean + L u, with u of unit
variance, uncorrelated.  The
spectrum is the root mean square over photographs of |FFT(u)|, orthonormal, under no window, in rings of frequency
(cycles per picture, equally spaced in the logarithm) and sectors of orientation.

How far single photographs are from that fall of the spectrum (`spectral_distance`) is told for pictures of 224, 128, 64
and 32 pixels a side, as the 5th, 50th and 95th percentile: a dream is held against it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from benchmarks.harness import replace
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.samples import Collection
from pellucid.doors.pictures.folder import pictures
from pellucid.dream.painting.dreaming import resized
from pellucid.dream.painting.natural import radial_of_photographs
from pellucid.dream.painting.penalties import spectral_distance
from pellucid.dream.painting.photographs import photographs

SIDE, RINGS, SECTORS = 224, 24, 8
SIDES = (224, 128, 64, 32)
TARGET = Path(__file__).parents[2] / "src" / "pellucid" / "dream" / "painting" / "photographs.json"


def main(folder: str) -> None:
    """Measure the photographs of a folder."""
    net = Network(torch.nn.Flatten(), preparation=Preparation(size=SIDE))
    collection = Collection(net, pictures(net, folder))
    plain = torch.cat([x["input"] for _, x in collection.batches(64)])
    z = plain.clamp(0.02, 0.98).logit()
    flat = z.permute(1, 0, 2, 3).flatten(1).double()
    mean = flat.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    mix = (vectors @ values.sqrt().diag()).flip(1)  # brightness first
    mix = mix * torch.where(mix[0] < 0, -1.0, 1.0)
    u = torch.einsum("kc,nchw->nkhw", torch.linalg.inv(mix).float(), z - mean.float().view(1, 3, 1, 1))
    power = torch.zeros(3, SIDE, SIDE // 2 + 1, dtype=torch.double)
    for part in u.split(32):
        power += torch.fft.rfft2(part, norm="ortho").abs().double().square().sum(0)
    power /= len(u)
    fy, fx = torch.fft.fftfreq(SIDE, 1 / SIDE)[:, None], torch.arange(SIDE // 2 + 1)[None].float()
    radius = (fy.square() + fx.square()).sqrt()
    turn = torch.atan2(fy, fx).remainder(torch.pi) / torch.pi
    edges = torch.logspace(0, torch.log10(torch.tensor(SIDE / 2.0)).item(), RINGS + 1)
    ring = torch.bucketize(radius, edges, right=True) - 1
    sector = ((turn + 0.5 / SECTORS) * SECTORS).long().remainder(SECTORS)
    table = torch.full((3, RINGS, SECTORS), torch.nan, dtype=torch.double)
    for i in range(RINGS):
        for j in range(SECTORS):
            here = (ring == i) & (sector == j)
            if here.any():
                table[:, i, j] = power[:, here].mean(1).sqrt()
        gaps = table[0, i].isnan()
        if gaps.any() and not gaps.all():  # few frequencies lie in the first rings
            table[:, i, gaps] = table[:, i, ~gaps].mean(1, keepdim=True)
    rings = [i for i in range(RINGS) if not bool(table[0, i].isnan().any())]
    middles = (edges[:-1] * edges[1:]).sqrt()
    found = {
        "source": f"{len(z)} photographs, one of each of {len(z)} ImageNet classes "
        "(github.com/EliSchwartz/imagenet-sample-images); benchmarks/dreams/photo_statistics.py",
        "mean": [round(float(v), 4) for v in mean],
        "mix": [[round(float(v), 4) for v in row] for row in mix],
        "side": SIDE,
        "cycles": [round(float(middles[i]), 3) for i in rings],
        "amplitude": [[[round(float(v), 4) for v in table[c, i]] for i in rings] for c in range(3)],
        "distances": {},
    }
    replace(TARGET, json.dumps(found) + "\n")
    replace(TARGET, json.dumps({**found, "distances": distances(plain)}) + "\n")
    sys.stdout.write(f"{TARGET.name}: {len(z)} photographs, {len(rings)} rings\n")


def distances(plain: torch.Tensor) -> dict[str, list[float]]:
    """By side: percentiles 5, 50 and 95 of photographs' distances from the fall of the spectrum just written."""
    photographs.cache_clear()
    radial_of_photographs.cache_clear()
    at = torch.tensor([0.05, 0.5, 0.95])
    found = {side: torch.cat([spectral_distance(resized(p, (side, side))) for p in plain.split(64)]) for side in SIDES}
    return {str(side): [round(float(v), 3) for v in torch.quantile(one, at)] for side, one in found.items()}


if __name__ == "__main__":
    main(sys.argv[1])
