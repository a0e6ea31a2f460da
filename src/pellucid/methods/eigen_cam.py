r"""Eigen-CAM: the strongest pattern of a late feature map, whatever the target.

$$A = \mathrm{ReLU}(M v_1),\qquad M = U\Sigma V^\top\in\mathbb{R}^{hw\times K}$$

with one row a place and one column a channel, $v_1$ the first right singular vector.  Singular vectors have no sign of
their own; this one is turned so that the map adds up to more than zero.

Good for: seeing where the network is most active at all, without a gradient; steady under noise.
Not for:  explaining a decision: neither the target nor anything behind the feature map enters, and the trust card says
          so when the map is not what the score rests on.
"""

from __future__ import annotations

import torch

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.spatial import At, enlarged, feature_map, first_component, over_sites
from pellucid.core.tensors import Tensors


@method(
    title="Eigen-CAM",
    family="class activation",
    paper="Muhammad, Yeasin 2020, arXiv:2008.00299",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on to find it",
    signed=False,
)
def eigen_cam(f: Score, x: Tensors, *, site: At = "") -> Finding:
    """The strongest pattern among the channels of a feature map: `[batch, 1, height, width]`, enlarged.

    `resolution` of the explanation is the true size.  Raises `BadInput` when no input is a picture or the site holds no
    map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.eigen_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, lambda seen: first_component(seen.value).relu())


def reference(f: Score, x: Tensors, *, site: str = "") -> Tensors:
    """The definition, by repeated multiplication (power iteration) instead of a decomposition."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for sample, channels in enumerate(seen.value):
        m = channels.flatten(1).T
        v = torch.ones(m.shape[1], dtype=m.dtype)
        for _ in range(5000):
            v = m.T @ (m @ v)
            v = v / v.norm()
        along = m @ v
        cam[sample, 0] = (along if along.sum() > 0 else -along).view(cam.shape[2:])
    return {seen.name: enlarged(cam.clamp(min=0), x[seen.name])}
