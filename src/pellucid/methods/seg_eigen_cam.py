r"""Seg-Eigen-CAM: the strongest pattern of activations, weighted place by place by the size of the gradient.

$$A = \mathrm{ReLU}(\pm M v_1),\qquad M = \Bigl[\bigl|\tfrac{\partial f}{\partial a}\bigr|\odot a\Bigr]\in
\mathbb{R}^{hw\times K}$$

with one row a place and one column a channel, $v_1$ the first right singular vector.  The sign is the one that makes
the value of the largest size positive.  It was made for segmentation: the target then is a region (`pl.region`), or all
places of a class.

Good for: where the network is active and the score depends on it, for scores that many places have a part in.
Not for:  telling evidence for the target from evidence against it: gradients count by their size alone.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.spatial import At, FeatureMap, enlarged, feature_map, first_component, over_sites
from pellucid.core.tensors import Tensors


@method(
    title="Seg-Eigen-CAM",
    family="class activation",
    paper="Chung, Ying 2025, doi:10.3390/app15137562",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on",
    signed=False,
)
def seg_eigen_cam(
    f: Score,
    x: Tensors,
    *,
    site: At = "",
    centered: Annotated[bool, "take off each channel's mean beforehand, as pytorch-grad-cam does"] = False,
) -> Finding:
    """The strongest pattern of activations weighted by sizes of gradients: `[batch, 1, height, width]`, enlarged.

    `resolution` of the explanation is the true size.  Raises `BadInput` when no input is a picture or the site holds no
    map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.seg_eigen_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, partial(_cam, centered))


def _cam(centered: bool, seen: FeatureMap) -> Tensor:
    weighted = seen.grad.abs() * seen.value
    if centered:
        weighted = weighted - weighted.mean((2, 3), keepdim=True)
    along = first_component(weighted)
    low, high = along.amin((1, 2, 3), keepdim=True), along.amax((1, 2, 3), keepdim=True)
    return torch.where(-low > high, -along, along).relu()


def reference(f: Score, x: Tensors, *, site: str = "", centered: bool = False) -> Tensors:
    """The definition, by the eigenvectors of what the channels share instead of a decomposition of the matrix."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for sample, (a, g) in enumerate(zip(seen.value, seen.grad, strict=True)):
        m = (a * g.abs()).flatten(1).T
        m = m - m.mean(0) if centered else m
        along = m @ torch.linalg.eigh(m.T @ m).eigenvectors[:, -1]
        cam[sample, 0] = (along * along[along.abs().argmax()].sign()).view(cam.shape[2:])
    return {seen.name: enlarged(cam.clamp(min=0), x[seen.name])}
