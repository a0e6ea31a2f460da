r"""XRAI: integrated gradients gathered into regions, the densest first.

$$s_{k+1} = \arg\max_s\ \frac{\sum_{i\in s\setminus M_k} A_i}{|s\setminus M_k|},\qquad M_{k+1} = M_k\cup s_{k+1}$$

where $A$ is the mean of the integrated gradients from black and from white, so that neither is nothing, and $s$ are the
segments of the picture at several scales.  Each place shows the mean of the part that it came in with; what is above a
threshold is a region, and the sum over the map is that of the gradients.

Good for: showing which things in a picture mattered, in one glance.
Not for:  detail inside a thing, and pictures that fall into no segments.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.spatial import image_input
from pellucid.core.tensors import Tensors, per_sample
from pellucid.probes.baselines import mean_change
from pellucid.probes.path import shares
from pellucid.probes.segments import of_all_scales

SCALES = (50.0, 100.0, 150.0, 250.0, 500.0, 1200.0)


@method(
    title="XRAI",
    family="gradient",
    paper="Kapishnikov, Bolukbasi, Viegas, Terry 2019, arXiv:1906.02825",
    promises=Promise.NONE,
    cost="2 `steps` gradient passes",
)
def xrai(
    f: Score,
    x: Tensors,
    *,
    steps: Annotated[int, Range(1, 1024), "points on each of the two paths, from black and from white"] = 64,
) -> Finding:
    """The mean integrated gradient of the region that each place belongs to, `[batch, 1, height, width]`.

    The unit is the score's, a pixel.  Black and white are those of the network's preparation; of a picture without one,
    its smallest and largest value.  A stopped run averages what it has of the paths.  Raises `BadInput` when no input
    is a picture, `Missing` without scikit-image.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.xrai(net, torch.rand(1, 3, 16, 16), 2, steps=2).values.shape
    torch.Size([1, 1, 16, 16])
    """
    name = image_input(x)
    beginnings = [x | {name: v} for v in _black_and_white(f, x[name])]
    change = mean_change(f, x, beginnings)
    maps, _ = shares(f, beginnings, x, steps)
    density = maps[name].sum(1)
    found, regions = [], []
    for picture, here in zip(x[name], density, strict=True):
        map_, count = gathered(of_all_scales(picture, SCALES), here.double().cpu())
        found.append(map_)
        regions.append(count)
    whole = torch.stack(found)[:, None].to(x[name])
    gap = ((whole.flatten(1).sum(1) - change).abs() / change.abs().clamp(min=1e-6)).tolist()
    return Finding({name: whole}, gap=tuple(gap), facts={"regions": regions, "points": 2 * steps})


def _black_and_white(f: Score, v: Tensor) -> tuple[Tensor, Tensor]:
    """The two ends of what the network may see, shaped like the picture."""
    preparation = f.net.preparation
    if preparation is not None and preparation.channels == v.shape[1] and f.inner is None:
        return preparation.normalize(torch.zeros_like(v)), preparation.normalize(torch.ones_like(v))
    low, high = v.flatten(1).aminmax(dim=1)
    return per_sample(low, v).expand_as(v), per_sample(high, v).expand_as(v)


def gathered(
    segments: Bool[Tensor, "segments height width"], density: Float[Tensor, "height width"]
) -> tuple[Float[Tensor, "height width"], int]:
    """Add segments, the one with the densest new part first, until all is covered; and how many were added.

    A part of less than 0.1 % of the picture is not worth a segment; what is left over in the end is one part.  Places
    that lie in the same segments are one: what each of them adds up to is all that is needed.
    """
    least = max(1, round(0.001 * density.numel()))
    member, place = torch.unique(segments.flatten(1), dim=1, return_inverse=True)
    member = member.to(density.dtype)
    sums = torch.zeros(member.shape[1], dtype=density.dtype).index_add_(0, place, density.flatten())
    sizes = place.bincount(minlength=member.shape[1]).to(density.dtype)
    inside, area, value = member @ sums, member @ sizes, torch.zeros_like(sums)
    left, added = torch.ones_like(sums, dtype=torch.bool), 0
    while bool((area >= least - 0.5).any()):
        best = int((inside / area.clamp(min=1)).masked_fill(area < least - 0.5, -torch.inf).argmax())
        new = left & (member[best] > 0)
        value[new] = sums[new].sum() / sizes[new].sum()
        inside, area = inside - member[:, new] @ sums[new], area - member[:, new] @ sizes[new]
        left, added = left & ~new, added + 1
    if bool(left.any()):
        value[left] = sums[left].sum() / sizes[left].sum()
    return value[place].view_as(density), added


def reference(f: Score, x: Tensors, *, steps: int = 64) -> Tensors:
    """The definition: every segment is tried at every step, on the pixels themselves."""
    name = image_input(x)
    maps, _ = shares(f, [x | {name: v} for v in _black_and_white(f, x[name])], x, steps)
    out = []
    for picture, density in zip(x[name], maps[name].sum(1).double(), strict=True):
        segments, covered, found = of_all_scales(picture, SCALES), torch.zeros_like(density).bool(), density.clone()
        least = max(1, round(0.001 * density.numel()))
        while True:
            parts = [s & ~covered for s in segments if (s & ~covered).sum() >= least]
            if not parts:
                break
            best = max(parts, key=lambda p: float(density[p].mean()))
            found[best], covered = density[best].mean(), covered | best
        if not bool(covered.all()):
            found[~covered] = density[~covered].mean()
        out.append(found)
    return {name: torch.stack(out)[:, None].to(x[name])}
