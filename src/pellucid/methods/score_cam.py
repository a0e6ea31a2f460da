r"""Score-CAM: the channels of a late feature map, each weighted by the score of the picture seen through it.

$$A = \mathrm{ReLU}\Bigl(\sum_k \mathrm{softmax}_k(S)\,a_k\Bigr),\qquad S_k = f(x\odot H_k)$$

with $H_k$ the channel at the size of the picture, scaled to 0..1.  SS-CAM (`kind="smoothed"`) averages $S_k$ over noisy
copies of the channel, IS-CAM (`kind="integrated"`) over $f(x\odot\frac{n}{N} H_k)$, $n = 1\dots N$.

Good for: a map without gradients, from the network's own answers to parts of the picture.
Not for:  scores of large numbers, of which the softmax leaves one channel.  What the network is shown through a channel
          looks like no photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.errors import Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.spatial import At, FeatureMap, enlarged, feature_map, over_sites
from pellucid.core.tensors import Tensors
from pellucid.probes.variations import Variations

Kind = Literal["plain", "smoothed", "integrated"]


@method(
    title="Score-CAM",
    family="class activation",
    paper="Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu 2019, arXiv:1910.01279",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass a channel that is not the same everywhere (`samples` for the other kinds)",
    signed=False,
)
def score_cam(
    f: Score,
    x: Tensors,
    *,
    site: At = "",
    kind: Annotated[Kind, "one pass a channel; noisy copies (SS-CAM); steps of strength (IS-CAM)"] = "plain",
    samples: Annotated[int, Range(1, 256), "copies or steps a channel, for the kinds that average"] = 10,
    noise: Annotated[float, Range(0, 10), "SS-CAM's standard deviation, as a fraction of the channel's range"] = 0.1,
) -> Finding:
    """Where a late feature map speaks for the target: `[batch, 1, height, width]`, enlarged from its true size.

    `resolution` of the explanation is the true size.  Channels that are the same everywhere show nothing and are left
    out.  Raises `BadInput` when no input is a picture or the site holds no map.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> pl.methods.score_cam(net, torch.rand(1, 3, 9, 9), 0).resolution
    (4, 4)
    """
    return over_sites(f, x, site, partial(_cam, f, x, kind, samples, noise))


def _cam(f: Score, x: Tensors, kind: Kind, samples: int, noise: float, seen: FeatureMap) -> Tensor:
    copies = 1 if kind == "plain" else samples
    # a channel that is the same everywhere has no weight, so that its pass is saved: after a rectifier, half of them
    shown = _alive(seen.value).any(0).nonzero()[:, 0].tolist()
    masks = _masks(seen, x, kind, copies, noise, shown)
    scores, found = torch.zeros_like(seen.value[:, :, 0, 0]), 0
    for n, score in enumerate(f.scores(Variations(masks.count, partial(_through, x, seen.name, masks)))):
        scores[:, shown[n // copies]] += score / copies
        found += 1
    if found < masks.count:
        raise Stopped("Stopped before every channel had been looked through.", "Run it again to get a map.")
    return _weighted(seen.value, scores).relu()


def _masks(seen: FeatureMap, x: Tensors, kind: Kind, copies: int, noise: float, shown: Sequence[int]) -> Variations:
    """These channels as windows onto the picture, `{"mask": [batch, 1, height, width]}`, `copies` of each in a row."""
    spread = noise * (seen.value.amax((2, 3)) - seen.value.amin((2, 3)))[:, :, None, None]
    draw = current().normal(seen.value)

    def at(n: int) -> Tensors:
        k, copy = shown[n // copies], n % copies
        channel = seen.value[:, k : k + 1]
        if kind == "smoothed":
            channel = channel + (spread * draw(copy))[:, k : k + 1]
        strength = (copy + 1) / copies if kind == "integrated" else 1.0
        return {"mask": strength * _window(enlarged(channel, x[seen.name]))}

    return Variations(copies * len(shown), at)


def _window(channel: Tensor) -> Tensor:
    """Scaled to 0..1; what is the same everywhere becomes 0."""
    low, high = channel.amin((2, 3), keepdim=True), channel.amax((2, 3), keepdim=True)
    return torch.where(high > low, (channel - low) / (high - low), torch.zeros_like(channel))


def _through(x: Tensors, name: str, masks: Variations, n: int) -> Tensors:
    return {**x, name: x[name] * masks.at(n)["mask"]}


def _weighted(value: Tensor, scores: Tensor) -> Tensor:
    weights = torch.where(_alive(value), scores, -torch.inf).softmax(1).nan_to_num(0)
    return (weights[:, :, None, None] * value).sum(1, keepdim=True)


def _alive(value: Float[Tensor, "batch channels height width"]) -> Bool[Tensor, "batch channels"]:
    return value.amax((2, 3)) > value.amin((2, 3))


def reference(
    f: Score, x: Tensors, *, site: str = "", kind: Kind = "plain", samples: int = 10, noise: float = 0.1
) -> Tensors:
    """The definition: one window after another."""
    seen = feature_map(f, x, site)
    channels, copies = seen.value.shape[1], 1 if kind == "plain" else samples
    masks = _masks(seen, x, kind, copies, noise, range(channels))
    every = torch.stack([f(_through(x, seen.name, masks, n)) for n in range(channels * copies)], 1)
    scores = every.view(len(every), channels, copies).mean(2)
    cam = torch.zeros_like(seen.value[:, :1])
    for sample in range(len(cam)):
        alive = [k for k in range(channels) if seen.value[sample, k].max() > seen.value[sample, k].min()]
        total = sum(scores[sample, k].exp() for k in alive)
        for k in alive:
            cam[sample, 0] += scores[sample, k].exp() / total * seen.value[sample, k]
    return {seen.name: enlarged(cam.clamp(min=0), x[seen.name])}
