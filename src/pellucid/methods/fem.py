r"""FEM: where channels of a late feature map are far above their own average, whatever the target.

$$A = \mathrm{ReLU}\Bigl(\sum_k \mu_k\,[\,a_k \ge \mu_k + s\,\sigma_k\,]\Bigr)$$

with $\mu_k$ and $\sigma_k$ the mean and the standard deviation of channel $k$ over its places.

Good for: seeing where the network finds something unusual at all, without a gradient.
Not for:  explaining a decision: neither the target nor anything behind the feature map enters, and the trust card says
          so when the map is not what the score rests on.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.spatial import At, FeatureMap, enlarged, feature_map, over_sites
from pellucid.core.tensors import Tensors


@method(
    title="Feature explanation method",
    family="class activation",
    paper="Fuad, Martin, Giot, Bourqui, Benois-Pineau, Zemmari 2020, doi:10.1109/IPTA50016.2020.9286629",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on to find it",
    signed=False,
)
def fem(
    f: Score,
    x: Tensors,
    *,
    site: At = "",
    sigmas: Annotated[float, Range(0, 10), "standard deviations above its mean at which a channel counts"] = 2.0,
) -> Finding:
    """Where channels of a feature map are unusually strong: `[batch, 1, height, width]`, enlarged.

    `resolution` of the explanation is the true size.  Raises `BadInput` when no input is a picture or the site holds no
    map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.fem(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, partial(_cam, sigmas))


def _cam(sigmas: float, seen: FeatureMap) -> Tensor:
    mean = seen.value.mean((2, 3), keepdim=True)
    spread = seen.value.std((2, 3), correction=0, keepdim=True)
    # a channel that is the same everywhere stands out nowhere
    strong = (seen.value >= mean + sigmas * spread) & (spread > 0)
    return (mean * strong).sum(1, keepdim=True).relu()


def reference(f: Score, x: Tensors, *, site: str = "", sigmas: float = 2.0) -> Tensors:
    """The definition, channel by channel and place by place."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for sample, channels in enumerate(seen.value):
        for channel in channels:
            mean = channel.sum() / channel.numel()
            spread = ((channel - mean).square().sum() / channel.numel()).sqrt()
            for u, v in (channel >= mean + sigmas * spread).nonzero().tolist():
                cam[sample, 0, u, v] += mean if spread > 0 else 0
    return {seen.name: enlarged(cam.clamp(min=0), x[seen.name])}
