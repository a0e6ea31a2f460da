r"""Finer-CAM: Grad-CAM of what sets the class apart from the classes that the network finds most like it.

$$A = \mathrm{ReLU}\Bigl(\sum_k w_k\,a_k\Bigr),\qquad
w_k = \frac{1}{hw}\sum_{u,v}\frac{\partial}{\partial a_{kuv}}\Bigl(z_c - \frac{\gamma}{n}\sum_{d} z_d\Bigr)$$

over the $n$ classes $d$ whose scores $z_d$ are closest to that of the class, $z_c$.

Good for: telling near classes apart (which mark makes this bird that species), where Grad-CAM shows the whole bird.
Not for:  all of the evidence for a class: what its neighbors share is taken out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.spatial import At, FeatureMap, Rectify, enlarged, feature_map, over_sites
from pellucid.core.target import logit
from pellucid.core.tensors import Tensors


@method(
    title="Finer-CAM",
    family="class activation",
    paper="Zhang, Gu, Chowdhury, Mai, Carlyn, Berger-Wolf, Su, Chao 2025, arXiv:2501.11309",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="2 forward passes, and a gradient pass from the site on",
    signed=False,
)
def finer_cam(
    f: Score,
    x: Tensors,
    *,
    site: At = "",
    others: Annotated[int, Range(1, 100), "classes to compare with: those with the closest scores"] = 3,
    strength: Annotated[float, Range(0, 2), "how much of the other classes' score is taken off (0: Grad-CAM)"] = 1.0,
    rectify: Rectify = True,
) -> Finding:
    """Where a late feature map speaks for the class rather than for its neighbors: `[batch, 1, height, width]`.

    `facts["compared with"]` lists each sample's other classes.  Raises `BadInput` when the target is not one class's
    logit, no input is a picture, or the site holds no map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.finer_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    near = _nearest(f, x, others)
    found = over_sites(_against(f, near, strength), x, site, partial(_cam, rectify), signed=not rectify)
    return replace(found, facts={**found.facts, "compared with": near.tolist()})


def _cam(rectify: bool, seen: FeatureMap) -> Tensor:
    cam = (seen.grad.mean((2, 3), keepdim=True) * seen.value).sum(1, keepdim=True)
    return cam.relu() if rectify else cam


def _nearest(f: Score, x: Tensors, others: int) -> Tensor:
    """The classes whose scores are closest to the target's, `[batch, others]`."""
    term = f.target.terms[0]
    if len(f.target.terms) != 1 or term.kind != "logit":
        raise BadInput(f"Finer-CAM compares classes; {f.target} is not a class's logit.", "Use pl.logit(class).")
    scores, own = f.outputs(x), f(x)[:, None]
    if scores.shape[1] < 2:
        raise BadInput("Finer-CAM compares classes; this network has one output.", "Use grad_cam.")
    gaps = (scores - own / term.weight).abs()
    own_class = torch.as_tensor(term.args[0], device=scores.device).expand(len(scores))
    gaps[torch.arange(len(scores)), own_class] = float("inf")
    return gaps.topk(min(others, scores.shape[1] - 1), largest=False).indices


def _against(f: Score, near: Tensor, strength: float) -> Score:
    share = strength * f.target.terms[0].weight / near.shape[1]
    target = f.target
    for classes in near.T.tolist():
        target = target - share * logit(classes)
    return replace(f, target=target)


def reference(
    f: Score, x: Tensors, *, site: str = "", others: int = 3, strength: float = 1.0, rectify: bool = True
) -> Tensors:
    """The definition: the mean of Grad-CAM's weights over pairs of classes, pair by pair."""
    near = _nearest(f, x, others)
    plain = feature_map(f, x, site)
    cam = torch.zeros_like(plain.value[:, :1])
    for classes in near.T.tolist():
        other = feature_map(replace(f, target=logit(classes)), x, str(plain.site))
        pair = (plain.grad - strength * other.grad).mean((2, 3), keepdim=True)
        cam += (pair * plain.value).sum(1, keepdim=True) / near.shape[1]
    return {plain.name: enlarged(cam.clamp(min=0) if rectify else cam, x[plain.name])}
