r"""LayerCAM: every value of a feature map, weighted by its own positive gradient.

$$A = \mathrm{ReLU}\Bigl(\sum_k \mathrm{ReLU}\Bigl(\frac{\partial f}{\partial a_k}\Bigr)\,a_k\Bigr)$$

Good for: earlier and finer feature maps than Grad-CAM can use, since every place has a weight of its own.
Not for:  evidence against the class, which is cut away.
"""

from __future__ import annotations

import torch

from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.spatial import At, enlarged, feature_map, over_sites
from pellucid.core.tensors import Tensors


@method(
    title="LayerCAM",
    family="class activation",
    paper="Jiang, Zhang, Hou, Cheng, Wei 2021, doi:10.1109/TIP.2021.3089943",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass, and a gradient pass from the site on",
    signed=False,
)
def layer_cam(f: Score, x: Tensors, *, site: At = "") -> Finding:
    """Where a feature map speaks for the target: `[batch, 1, height, width]`, enlarged linearly from its true size.

    `resolution` of the explanation is the true size.  Raises `BadInput` when no input is a picture or the site holds no
    map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.layer_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, lambda seen: (seen.grad.relu() * seen.value).sum(1, keepdim=True).relu())


def reference(f: Score, x: Tensors, *, site: str = "") -> Tensors:
    """The definition, channel by channel."""
    seen = feature_map(f, x, site)
    cam = torch.zeros_like(seen.value[:, :1])
    for k in range(seen.value.shape[1]):
        cam[:, 0] += seen.grad[:, k].clamp(min=0) * seen.value[:, k]
    return {seen.name: enlarged(cam.clamp(min=0), x[seen.name])}
