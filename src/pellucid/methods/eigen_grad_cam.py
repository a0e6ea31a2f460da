r"""Eigen-Grad-CAM: the strongest pattern of gradient times activation at a late feature map.

$$A = \mathrm{ReLU}(M v_1),\qquad M = \Bigl[\tfrac{\partial f}{\partial a}\odot a\Bigr]\in\mathbb{R}^{hw\times K}$$

with one row a place and one column a channel, $v_1$ the first right singular vector.  Singular vectors have no sign of
their own; this one is turned so that the map adds up to more than zero.

Good for: a map of the target like HiResCAM's with less of what its channels disagree on.
Not for:  telling evidence for the target from evidence against it: the strongest pattern may be either.
"""

from __future__ import annotations

import torch

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.spatial import At, enlarged, feature_map, first_component, over_sites
from pellucid.core.tensors import Tensors


@method(
    title="Eigen-Grad-CAM",
    family="class activation",
    paper="Gildenblat 2021, github.com/jacobgil/pytorch-grad-cam, after Muhammad, Yeasin 2020, arXiv:2008.00299",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on",
    signed=False,
)
def eigen_grad_cam(f: Score, x: Tensors, *, site: At = "") -> Finding:
    """The strongest pattern of gradient times activation at a feature map: `[batch, 1, height, width]`, enlarged.

    `resolution` of the explanation is the true size.  Raises `BadInput` when no input is a picture or the site holds no
    map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.eigen_grad_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, lambda seen: first_component(seen.grad * seen.value).relu())


def reference(f: Score, x: Tensors, *, site: str = "") -> Tensors:
    """The definition, by the eigenvectors of what the channels share instead of a decomposition of the matrix."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for sample, (a, g) in enumerate(zip(seen.value, seen.grad, strict=True)):
        m = (a * g).flatten(1).T
        along = m @ torch.linalg.eigh(m.T @ m).eigenvectors[:, -1]
        cam[sample, 0] = (along if along.sum() > 0 else -along).view(cam.shape[2:])
    return {seen.name: enlarged(cam.clamp(min=0), x[seen.name])}
