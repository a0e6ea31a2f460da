r"""Ablation-CAM: the channels of a late feature map, each weighted by what the score loses without it.

$$A = \mathrm{ReLU}\Bigl(\sum_k w_k\,a_k\Bigr),\qquad w_k = f(a) - f(a\ \text{with}\ a_k = 0)$$

The paper divides $w_k$ by $f(a)$.  That scales the map, and turns its sign where the score is negative: left out.

Good for: Grad-CAM's question without a gradient, so that saturated or stepwise networks are no trouble.
Not for:  earlier feature maps of many channels when time is short: each channel takes a pass from the site on.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from pellucid.core.behind import scores_behind
from pellucid.core.errors import Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.spatial import At, FeatureMap, Rectify, enlarged, feature_map, over_sites
from pellucid.core.tensors import Tensors, rows
from pellucid.probes.variations import Variations

_TOGETHER = 128  # copies that are made at once


@method(
    title="Ablation-CAM",
    family="class activation",
    paper="Desai, Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 pass a channel, from the site on; about 6 forward passes before",
    signed=False,
)
def ablation_cam(
    f: Score,
    x: Tensors,
    *,
    site: At = "",
    rectify: Rectify = True,
) -> Finding:
    """Where a late feature map speaks for the target: `[batch, 1, height, width]`, enlarged from its true size.

    `resolution` of the explanation is the true size.  Only what lies behind the site is run for each channel, where
    that gives the same.  Raises `BadInput` when no input is a picture or the site holds no map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.ablation_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, partial(_cam, f, x, rectify), signed=not rectify)


def _cam(f: Score, x: Tensors, rectify: bool, seen: FeatureMap) -> Tensor:
    cam = (_falls(f, x, seen)[:, :, None, None] * seen.value).sum(1, keepdim=True)
    return cam.relu() if rectify else cam


def _falls(f: Score, x: Tensors, seen: FeatureMap) -> Tensor:
    """What the score loses without each channel, `[batch, channels]`."""
    channels, falls = seen.value.shape[1], list[Tensor]()
    for i, value in enumerate(torch.split(seen.raw, 1)):
        variations = Variations(math.ceil((channels + 1) / _TOGETHER), partial(_without, value, channels))
        scores = torch.cat(list(scores_behind(f.among([i]), rows(x, i, i + 1), seen.site, variations)))
        if len(scores) <= channels:
            raise Stopped("Stopped before every channel had been left out.", "Run it again to get a map.")
        falls.append(scores[0] - scores[1:])
    return torch.stack(falls)


def _without(value: Tensor, channels: int, block: int) -> Tensors:
    """A block of copies: number 0 of all is the value as it is, the others lack channel number - 1."""
    numbers = range(block * _TOGETHER, min((block + 1) * _TOGETHER, channels + 1))
    copies = value.repeat(len(numbers), *[1] * (value.ndim - 1))
    for copy, number in zip(copies, numbers, strict=True):
        if number:
            copy.select(0 if value.ndim == 4 else -1, number - 1).zero_()
    return {"value": copies}


def _channel_off(channel: int, value: Tensor) -> Tensor:
    """What is at a site with one channel set to zero; a map's channels are axis 1, those of tokens the last."""
    value = value.clone()
    value.select(1 if value.ndim == 4 else -1, channel).zero_()
    return value


def reference(f: Score, x: Tensors, *, site: str = "", rectify: bool = True) -> Tensors:
    """The definition: a whole pass for each channel."""
    seen = feature_map(f, x, site)
    base, cam = f(x), torch.zeros_like(seen.value[:, :1])
    for k in range(seen.value.shape[1]):
        without = f.do({seen.site: partial(_channel_off, k)})
        cam[:, 0] += (base - without(x))[:, None, None] * seen.value[:, k]
    return {seen.name: enlarged(cam.clamp(min=0) if rectify else cam, x[seen.name])}
