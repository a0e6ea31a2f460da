r"""KPCA-CAM: the strongest pattern of a late feature map, where places are compared by how alike they are.

$$A = \mathrm{ReLU}(\sqrt{\lambda_1}\,u_1),\qquad \tilde K u_1 = \lambda_1 u_1,\qquad
K_{pq} = e^{-\gamma\lVert a_p - a_q\rVert^2}$$

with one row and column a place, $a_p$ its channels, and $\tilde K$ the kernel centered on both sides: principal
components in a space where the channels may work together in any smooth way.  An eigenvector has no sign of its own;
this one is turned so that it is higher where the channels are stronger.

Good for: seeing where the network is most active when that is no single direction of its channels (Eigen-CAM's).
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
    title="KPCA-CAM",
    family="class activation",
    paper="Karmani, Sivakaran, Prasad, Ali, Yang, Tang 2024, arXiv:2410.00267",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on to find it",
    signed=False,
)
def kpca_cam(
    f: Score,
    x: Tensors,
    *,
    site: At = "",
    gamma: Annotated[
        float | None, Range(1e-9, 1e9), "how fast likeness falls; none: to 1/e at the mean squared distance of places"
    ] = None,
) -> Finding:
    """The strongest pattern of likeness among the places of a feature map: `[batch, 1, height, width]`, enlarged.

    `resolution` of the explanation is the true size.  Raises `BadInput` when no input is a picture or the site holds no
    map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.kpca_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, partial(_cam, gamma))


def _cam(gamma: float | None, seen: FeatureMap) -> Tensor:
    places = seen.value.double().flatten(2).mT  # batch, places, channels
    kernel = torch.exp(-_rate(places, gamma) * torch.cdist(places, places).square())
    centered = kernel - kernel.mean(1, keepdim=True)
    centered = centered - centered.mean(2, keepdim=True)
    values, vectors = torch.linalg.eigh(centered)
    along = values[:, -1:].clamp(min=0).sqrt() * vectors[:, :, -1]
    strength = places.norm(dim=2)
    turned = (along * (strength - strength.mean(1, keepdim=True))).sum(1, keepdim=True) < 0
    along = torch.where(turned, -along, along)
    return along.view(len(along), 1, *seen.value.shape[2:]).relu().to(seen.value.dtype)


def _rate(places: Tensor, gamma: float | None) -> Tensor:
    """One over the mean squared distance of two places, if nothing else is said; 1 where all are the same."""
    if gamma is not None:
        return torch.tensor(gamma, dtype=places.dtype, device=places.device)
    spread = 2 * places.var(1, correction=0).sum(1)
    return torch.where(spread > 0, 1 / spread, torch.ones_like(spread))[:, None, None]


def reference(f: Score, x: Tensors, *, site: str = "", gamma: float | None = None) -> Tensors:
    """The definition, place by place, by repeated multiplication (power iteration) instead of a decomposition."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for sample, channels in enumerate(seen.value):
        places = channels.flatten(1).T
        far = torch.stack([(places - place).square().sum(1) for place in places])
        kernel = torch.exp(-far * (gamma or 1 / far.mean()))
        middle = torch.eye(len(places), dtype=places.dtype) - 1 / len(places)
        kernel, strength = middle @ kernel @ middle, places.norm(dim=1)
        v = strength - strength.mean()
        for _ in range(20_000):
            v = kernel @ v
            v = v / v.norm()
        along = (v @ kernel @ v).sqrt() * v
        cam[sample, 0] = (along if (along * (strength - strength.mean())).sum() > 0 else -along).view(cam.shape[2:])
    return {seen.name: enlarged(cam.clamp(min=0), x[seen.name])}
