r"""HiResCAM: gradient times activation at a late feature map, added over the channels.

$$A = \sum_k \frac{\partial f}{\partial a_k}\odot a_k$$

Good for: networks whose last map feeds one linear layer (with or without mean pooling): the values then add up to the
          score, up to its bias, so that the map shows what the network really used (the paper's theorem).
Not for:  fine detail: the map is as coarse as the feature map, whatever size it is drawn at.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.spatial import At, FeatureMap, enlarged, feature_map, over_sites
from pellucid.core.tensors import Tensors


@method(
    title="HiResCAM",
    family="class activation",
    paper="Draelos, Carin 2020, arXiv:2011.08891",
    promises=Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on",
)
def hi_res_cam(
    f: Score,
    x: Tensors,
    *,
    site: At = "",
    rectify: Annotated[bool, "keep only evidence for the target"] = False,
) -> Finding:
    """What each place of a late feature map adds to the score: `[batch, 1, height, width]`, enlarged.

    `resolution` of the explanation is the true size; the unit is the score's, a place of the feature map.  Raises
    `BadInput` when no input is a picture or the site holds no map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.hi_res_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, partial(_cam, rectify), signed=not rectify)


def _cam(rectify: bool, seen: FeatureMap) -> Tensor:
    cam = (seen.grad * seen.value).sum(1, keepdim=True)
    return cam.relu() if rectify else cam


def reference(f: Score, x: Tensors, *, site: str = "", rectify: bool = False) -> Tensors:
    """The definition, place by place."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for u in range(cam.shape[2]):
        for v in range(cam.shape[3]):
            cam[:, 0, u, v] = torch.linalg.vecdot(seen.grad[:, :, u, v], seen.value[:, :, u, v])
    return {seen.name: enlarged(cam.clamp(min=0) if rectify else cam, x[seen.name])}
