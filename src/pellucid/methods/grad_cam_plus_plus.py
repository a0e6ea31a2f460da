r"""Grad-CAM++: the channels of a late feature map, each weighted by its positive gradients, the rarer the heavier.

$$A = \mathrm{ReLU}\Bigl(\sum_k w_k\,a_k\Bigr),\qquad
w_k = \sum_{u,v}\alpha_{kuv}\,\mathrm{ReLU}\Bigl(\frac{\partial f}{\partial a_{kuv}}\Bigr),\qquad
\alpha_{kuv} = \frac{g_{kuv}^2}{2g_{kuv}^2 + g_{kuv}^3\sum_{u',v'} a_{ku'v'}}$$

with $g = \partial f/\partial a$.  The paper explains $\exp(f)$, whose higher derivatives behind a last rectifier are
powers of the first; the factor $\exp(f)$ that this leaves is the same everywhere and is dropped.

Good for: pictures with several objects of the class, which Grad-CAM's mean over places rates by their size.
Not for:  evidence against the class; and the powers speak of the score's unit, so that twice the score is another map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.spatial import At, FeatureMap, enlarged, feature_map, over_sites
from pellucid.core.tensors import Tensors


@method(
    title="Grad-CAM++",
    family="class activation",
    paper="Chattopadhay, Sarkar, Howlader, Balasubramanian 2018, arXiv:1710.11063",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on",
    signed=False,
)
def grad_cam_plus_plus(f: Score, x: Tensors, *, site: At = "") -> Finding:
    """Where a late feature map speaks for the target: `[batch, 1, height, width]`, enlarged from its true size.

    `resolution` of the explanation is the true size.  Raises `BadInput` when no input is a picture or the site holds no
    map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.grad_cam_plus_plus(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, _cam)


def _cam(seen: FeatureMap) -> Tensor:
    g, a = seen.grad, seen.value
    # the paper's fraction with g * g cancelled, so that small gradients do not vanish in rounding
    below = 2 + g * a.sum((2, 3), keepdim=True)
    alpha = torch.where((g == 0) | (below == 0), torch.zeros_like(g), 1 / below)
    weights = (alpha * g.relu()).sum((2, 3), keepdim=True)
    return (weights * a).sum(1, keepdim=True).relu()


def reference(f: Score, x: Tensors, *, site: str = "") -> Tensors:
    """The definition, value by value, with the powers written out."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for sample in range(len(cam)):
        for a, g in zip(seen.value[sample], seen.grad[sample], strict=True):
            cam[sample, 0] += a * sum(_weight(v, a.sum()) for v in g.flatten())
    return {seen.name: enlarged(cam.clamp(min=0), x[seen.name])}


def _weight(g: Tensor, total: Tensor) -> Tensor:
    if g <= 0:
        return torch.zeros_like(g)
    return g**2 / (2 * g**2 + total * g**3) * g
