r"""Grad-CAM: the channels of a late feature map, each weighted by the score's mean gradient on it.

$$A = \mathrm{ReLU}\Bigl(\sum_k w_k\,a_k\Bigr),\qquad w_k = \frac{1}{hw}\sum_{u,v}\frac{\partial f}{\partial a_{kuv}}$$

Good for: roughly where the evidence for a class lies, at the price of little more than one forward pass.
Not for:  fine detail: the map is as coarse as the feature map (7x7, say), whatever size it is drawn at; and evidence
          against the class is cut away unless `rectify` is off.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.spatial import At, FeatureMap, Rectify, enlarged, feature_map, over_sites
from pellucid.core.tensors import Tensors


@method(
    title="Grad-CAM",
    family="class activation",
    paper="Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, arXiv:1610.02391",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on",
    signed=False,
)
def grad_cam(
    f: Score,
    x: Tensors,
    *,
    site: At = "",
    rectify: Rectify = True,
) -> Finding:
    """Where a late feature map speaks for the target: `[batch, 1, height, width]`, enlarged from its true size.

    `resolution` of the explanation is the true size.  Raises `BadInput` when no input is a picture or the site holds no
    map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.grad_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, partial(_cam, rectify), signed=not rectify)


def _cam(rectify: bool, seen: FeatureMap) -> Tensor:
    cam = (seen.grad.mean((2, 3), keepdim=True) * seen.value).sum(1, keepdim=True)
    return cam.relu() if rectify else cam


def reference(f: Score, x: Tensors, *, site: str = "", rectify: bool = True) -> Tensors:
    """The definition, channel by channel."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for k in range(seen.value.shape[1]):
        cam[:, 0] += seen.grad[:, k].mean((1, 2))[:, None, None] * seen.value[:, k]
    return {seen.name: enlarged(cam.clamp(min=0) if rectify else cam, x[seen.name])}
