"""What a dream is worth: numbers of finished pictures that the recipe never saw while it drew them.

* robust activation: the target's mean over eight fresh views (shifts to 8 %, zooms .8 to 1.2, turns to 12 degrees),
  where 0 is the mean over photographs and 1 the largest value among them;
* transfer: what two other networks of the same task (EfficientNet-Lite1 and 2, other sizes, other weights) read from
  it: the probability of the class, and whether it is among the first one and five;
* spectrum: the distance of its fall with frequency from photographs' (`pellucid.dream.painting.penalties`), in nats;
* saturated: the share of values within .02 of black or white; colorful: Hasler and Suesstrunk's (2003) measure, as a
  multiple of photographs';
* 2AFC: which of two photographs excites a unit more, told from the likeness of each to the dream (Borowski et al.
  2021 ask people): pairs of one from the unit's best tenth and one from its lower half, likeness being the cosine
  of the last layer's features, less photographs' mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

import pellucid as pl
from benchmarks.dreams.subjects import lite, photographs
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import Target, each
from pellucid.dream.painting.penalties import spectral_distance
from pellucid.dream.painting.transforms import seen, view_of
from pellucid.dream.recipe import Recipe

VIEWS = 8
FRESH = Recipe(jitter=0.08, shrink=0.8, zoom=1.2, rotate=12, noise=0)


def judged(shown: Tensor, targets: Sequence[Target]) -> list[dict[str, float]]:
    """The numbers of each picture `[n, 3, h, w]` in 0..1; of targets that are classes, transfer too."""
    x = at_size((shown.clamp(0, 1) * 255).round() / 255, 224)
    mean, most = natural(tuple(targets))
    spread = most - mean
    robust = torch.stack([values(targets, moved(x, i)) for i in range(VIEWS)]).mean(0)
    numbers = {
        "activation": (values(targets, x) - mean) / spread,
        "robust": (robust - mean) / spread,
        "spectrum": spectral_distance(x),
        "saturated": ((x < 0.02) | (x > 0.98)).float().flatten(1).mean(1),
        "colorful": colorfulness(x) / colorfulness(photographs()).median(),
    }
    if targets[0].classes:
        wanted = torch.tensor([int(t.classes[0]) for t in targets])
        for variant in (1, 2):
            numbers |= transfer(variant, shown, wanted)
    else:
        numbers["2AFC"] = choices(x, targets)
    return [{k: round(float(v[i]), 4) for k, v in numbers.items()} for i in range(len(x))]


def at_size(x: Tensor, side: int) -> Tensor:
    """Pictures at another size."""
    if x.shape[-1] == side:
        return x
    return interpolate(x, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def fed(net: Network, x: Tensor) -> dict[str, Tensor]:
    """Values in 0..1 as the network takes them."""
    if net.preparation is None:
        raise RuntimeError("The zoo states every network's preparation.")
    return {net.inputs[0]: net.preparation.normalize(x)}


def moved(x: Tensor, number: int) -> Tensor:
    """A fresh view of each picture, the same whatever it shows."""
    view = view_of(FRESH, [str(i) for i in range(len(x))], 2, 0, number, x.shape[1:])
    return seen(x, view, x.shape[2:], tile=False)


def values(targets: Sequence[Target], x: Tensor) -> Tensor:
    """Each picture's own target."""
    net = lite()
    found: Tensor = Score(net, each([t.named(net) for t in targets]))(fed(net, x))
    return found


@cache
def of_photographs(targets: tuple[Target, ...]) -> Tensor:
    """What each photograph makes of each target, `[targets, photographs]`."""
    net = lite()
    sites = tuple(dict.fromkeys(s for t in targets for s in t.sites))
    x = fed(net, photographs())
    if not sites:
        found = Score(net, pl.logit(0)).outputs(x)
        return torch.stack([found[:, int(t.classes[0])] for t in targets])
    at = Score(net, targets[0]).values(x, *sites)
    return torch.stack([at[t.sites[0]][:, t.terms[0].args[1]].mean((1, 2)) for t in targets])


def natural(targets: tuple[Target, ...]) -> tuple[Tensor, Tensor]:
    """Mean and largest value over photographs, of each target."""
    found = of_photographs(targets)
    return found.mean(1), found.amax(1)


def transfer(variant: int, shown: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """What another network reads from the pictures, at its own size."""
    net = lite(variant)
    side = net.preparation.size if net.preparation is not None else 224
    found = Score(net, pl.logit(0)).outputs(fed(net, at_size(shown, side)))
    probability = found.softmax(1).gather(1, wanted[:, None])[:, 0]
    rank = (found > found.gather(1, wanted[:, None])).sum(1)
    return {f"lite{variant}": probability, f"first{variant}": rank < 1, f"five{variant}": rank < 5}


def colorfulness(x: Tensor) -> Tensor:
    """Hasler and Suesstrunk (2003): the spread and the distance from grey of the two opponent colors."""
    red, green, blue = x.flatten(2).unbind(1)
    one, other = red - green, 0.5 * (red + green) - blue
    spread = (one.var(1) + other.var(1)).sqrt()
    return spread + 0.3 * (one.mean(1).square() + other.mean(1).square()).sqrt()


def features(x: Tensor) -> Tensor:
    """The last layer's features of each picture, less photographs' mean, of unit length."""
    return normalize(raw_features(x) - usual(), dim=1)


def raw_features(x: Tensor) -> Tensor:
    """The mean over space of what the head puts out."""
    net = lite()
    site = pl.Site("head")
    return Score(net, pl.logit(0)).values(fed(net, x), site)[site].mean((2, 3))


@cache
def usual() -> Tensor:
    """Photographs' mean features."""
    return raw_features(photographs()).mean(0, keepdim=True)


@cache
def features_of_photographs() -> Tensor:
    """Of each photograph."""
    return features(photographs())


def choices(x: Tensor, targets: Sequence[Target]) -> Tensor:
    """How often the photograph that is more like the dream is the one that excites the unit more."""
    likeness = features(x) @ features_of_photographs().T
    excited = of_photographs(tuple(targets))
    order = excited.argsort(dim=1, descending=True)
    count = order.shape[1]
    high = likeness.gather(1, order[:, : count // 10])
    low = likeness.gather(1, order[:, count // 2 :])
    return (high[:, :, None] > low[:, None, :]).float().flatten(1).mean(1)


def together(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over pictures; medians of activations, whose units differ by much."""
    found = {}
    for k in rows[0]:
        v = torch.tensor([row[k] for row in rows])
        found[k] = float(v.median() if k in ("activation", "robust") else v.mean())
    return found
