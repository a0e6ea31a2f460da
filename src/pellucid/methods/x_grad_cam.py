r"""XGrad-CAM: the channels of a late feature map, each weighted by its mean gradient where it is active.

$$A = \mathrm{ReLU}\Bigl(\sum_k w_k\,a_k\Bigr),\qquad
w_k = \sum_{u,v}\frac{a_{kuv}}{\sum_{u',v'} a_{ku'v'}}\,\frac{\partial f}{\partial a_{kuv}}$$

Good for: what Grad-CAM is for; unrectified, its values add up to gradient times activation, as a first-order change of
          the score should (the paper's two axioms: sensitivity and conservation).
Not for:  fine detail: the map is as coarse as the feature map; feature maps with negative values, whose sums can come
          close to zero.
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
    title="XGrad-CAM",
    family="class activation",
    paper="Fu, Hu, Dong, Guo, Gao, Li 2020, arXiv:2008.02312",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on",
    signed=False,
)
def x_grad_cam(
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
    >>> pl.methods.x_grad_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, partial(_cam, rectify), signed=not rectify)


def _cam(rectify: bool, seen: FeatureMap) -> Tensor:
    together = seen.value.sum((2, 3), keepdim=True)
    # a channel that sums to zero has no weights to share out
    share = torch.where(together == 0, torch.zeros_like(seen.value), seen.value / together)
    cam = ((share * seen.grad).sum((2, 3), keepdim=True) * seen.value).sum(1, keepdim=True)
    return cam.relu() if rectify else cam


def reference(f: Score, x: Tensors, *, site: str = "", rectify: bool = True) -> Tensors:
    """The definition, channel by channel."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for sample in range(len(cam)):
        for a, g in zip(seen.value[sample], seen.grad[sample], strict=True):
            if a.sum() != 0:
                cam[sample, 0] += a * ((a * g).sum() / a.sum())
    return {seen.name: enlarged(cam.clamp(min=0) if rectify else cam, x[seen.name])}
