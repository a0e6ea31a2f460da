r"""Guided Grad-CAM: the fine strokes of guided backpropagation, where Grad-CAM sees evidence for the class.

$$A_i = G_i(x)\;C_i(x)$$

with $G$ the gradient under the guided rule and $C$ Grad-CAM's map at the size of the input.

Good for: pictures of fine detail that follow the class by where they lie.
Not for:  deciding anything by its detail, which guided backpropagation draws nearly alike for every class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score, Strict
from pellucid.core.spatial import At, FeatureMap, enlarged, feature_map, over_sites
from pellucid.core.tensors import Tensors
from pellucid.rules.guided import GUIDED


@method(
    title="Guided Grad-CAM",
    family="class activation",
    paper="Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, arXiv:1610.02391",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="2 forward passes, 1 gradient pass, and one from the site on",
    slopes=True,
)
def guided_grad_cam(f: Score, x: Tensors, *, site: At = "", strict: Strict = False) -> Finding:
    """Guided backpropagation times Grad-CAM; shaped like the picture.

    Grad-CAM runs under the plain gradient.  `without_rule` of the explanation names nonlinear operations that the
    guided rule does not speak of.  Raises `BadInput` when no input is a picture or the site holds no map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.guided_grad_cam(net, torch.rand(1, 3, 9, 9), 0).values.shape
    torch.Size([1, 3, 9, 9])
    """
    found = over_sites(f, x, site, _cam)
    ((name, place),) = found.maps.items()
    return Finding({name: f.under(GUIDED, strict=strict).grad(x)[name] * place}, facts=found.facts)


def _cam(seen: FeatureMap) -> Tensor:
    return (seen.grad.mean((2, 3), keepdim=True) * seen.value).sum(1, keepdim=True).relu()


def reference(f: Score, x: Tensors, *, site: str = "") -> Tensors:
    """The definition, channel by channel."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for k in range(seen.value.shape[1]):
        cam[:, 0] += seen.grad[:, k].mean((1, 2))[:, None, None] * seen.value[:, k]
    strokes, place = f.under(GUIDED).grad(x)[seen.name], enlarged(cam.clamp(min=0), x[seen.name])
    return {seen.name: torch.cat([strokes[:, c : c + 1] * place for c in range(strokes.shape[1])], 1)}
