r"""Shapley-CAM: Grad-CAM, its weights corrected by how the gradient bends on the way to nothing.

$$A = \mathrm{ReLU}\Bigl(\sum_k w_k\,a_k\Bigr),\qquad
w_k = \frac{1}{hw}\sum_{u,v}\Bigl[\frac{\partial f}{\partial a} - \tfrac12\,H a\Bigr]_{kuv}$$

with $H$ the score's Hessian at the feature map $a$.  To second order this is each value's Shapley share of the score's
change when the map goes from zero to $a$, where the gradient alone would be its share to first order.

Good for: probabilities and other scores that level off, whose gradient at the input says little.
Not for:  logits of networks that are linear in pieces behind the map (a ReLU network's): $H$ is zero, and the map is
          Grad-CAM's.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.spatial import At, FeatureMap, Rectify, bend, enlarged, feature_map, over_sites
from pellucid.core.tensors import Tensors


@method(
    title="Shapley-CAM",
    family="class activation",
    paper="Cai 2025, arXiv:2501.06261",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="2 forward passes, and 3 gradient passes from the site on",
    signed=False,
)
def shapley_cam(f: Score, x: Tensors, *, site: At = "", rectify: Rectify = True) -> Finding:
    """Where a late feature map speaks for the target, to second order: `[batch, 1, height, width]`, enlarged.

    `resolution` of the explanation is the true size.  Raises `BadInput` when no input is a picture or the site holds no
    map, `BadModel` where an operation behind the site has no second derivative; of the user's own functions, one marked
    `once_differentiable` cannot be told from a linear one.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.shapley_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, partial(_cam, f, x, rectify), signed=not rectify)


def _cam(f: Score, x: Tensors, rectify: bool, seen: FeatureMap) -> Tensor:
    slope = seen.grad - bend(f, x, seen) / 2
    cam = (slope.mean((2, 3), keepdim=True) * seen.value).sum(1, keepdim=True)
    return cam.relu() if rectify else cam


def reference(f: Score, x: Tensors, *, site: str = "", rectify: bool = True, step: float = 1e-5) -> Tensors:
    """The definition, channel by channel; the Hessian times the map from gradients a little before and behind it."""
    seen = feature_map(f, x, site)
    ahead, behind = (
        feature_map(f.do({seen.site: partial(torch.mul, 1 + s)}), x, str(seen.site)) for s in (step, -step)
    )
    slope = seen.grad - (ahead.grad - behind.grad) / (2 * step) / 2
    cam = torch.zeros_like(seen.value[:, :1])
    for k in range(seen.value.shape[1]):
        cam[:, 0] += slope[:, k].mean((1, 2))[:, None, None] * seen.value[:, k]
    return {seen.name: enlarged(cam.clamp(min=0) if rectify else cam, x[seen.name])}
