"""Class activation maps: the feature map that they are made of, and back from its size to the input's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pellucid.core.curvature import curvature_at
from pellucid.core.errors import BadInput, BadModel, BadOption
from pellucid.core.last_map import Grid, places
from pellucid.core.method import Finding
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors, rows

At: TypeAlias = Annotated[
    str,
    "module whose output is used, or several, with commas between them (the mean of their maps) or asterisks (their "
    "product, Refine-CAM); empty: the last one that keeps places apart",
]

Rectify: TypeAlias = Annotated[bool, "keep only evidence for the target, as the paper does"]


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """The channels at a site, and the score's gradient on them; `name` is the picture that they belong to.

    A transformer's tokens are laid back onto their grid; those that stand for no patch (classes, registers) are left
    out.  `raw` is what is at the site, as the network has it.
    """

    name: str
    site: Site
    value: Float[Tensor, "batch channels height width"]
    grad: Float[Tensor, "batch channels height width"]
    raw: Float[Tensor, "batch *axes"]


def image_input(x: Tensors) -> str:
    """The name of the first input that is a picture, `[batch, channels, height, width]`."""
    name = next((k for k, v in x.items() if v.ndim == 4 and v.is_floating_point()), None)
    if name is None:
        shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in x.items())
        raise BadInput(f"No input is a picture: {shapes}.", "This method needs [batch, channels, height, width].")
    return name


def feature_map(f: Score, x: Tensors, site: str) -> FeatureMap:
    """The feature map at the site that is named, or the last one on which the score depends place by place.

    Raises `BadInput` when no input is a picture or the site holds no map, `BadModel` when nothing in the network does.
    """
    name = image_input(x)
    where = Site.parse(site) if site else _last(f, x)
    seen = f.watch(x, where)[where]
    value, grad = (_as_map(v, f, x, where) for v in (seen.value, seen.grad))
    return FeatureMap(name, where, value, grad, seen.value)


def over_sites(
    f: Score, x: Tensors, site: str, cam: Callable[[FeatureMap], Tensor], *, signed: bool = False
) -> Finding:
    """What `cam` makes of the feature map at a site, `[batch, 1, low, wide]`, at the size of the picture.

    Of several sites, the mean of their maps, each divided by its largest size; the resolution is the finest one's.
    With asterisks between them the product of what is positive in these maps (Refine-CAM, arXiv:2605.14641), which has
    no sign.  Raises `BadOption` when commas and asterisks are mixed.
    """
    mark = "*" if "*" in site else ","
    if mark == "*" and "," in site:
        raise BadOption(
            f"site={site!r} has commas and asterisks.", "Choose one: the mean of the maps or their product."
        )
    seen = [feature_map(f, x, part.strip()) for part in site.split(mark)]
    small = [cam(one) for one in seen]
    name, size = seen[0].name, max((v.shape[2], v.shape[3]) for v in small)
    maps = torch.stack([enlarged(v if len(small) == 1 else _of_size_one(v), x[name]) for v in small])
    facts = {"site": (" * " if mark == "*" else ", ").join(str(one.site) for one in seen)}
    if mark == "*":
        return Finding({name: maps.relu().prod(0)}, signed=False, resolution=size, facts=facts)
    return Finding({name: maps.mean(0)}, signed=signed, resolution=size, facts=facts)


def _of_size_one(v: Tensor) -> Tensor:
    """Each sample's map divided by its largest size; what is zero everywhere stays so."""
    largest = v.abs().amax((1, 2, 3), keepdim=True)
    return torch.where(largest > 0, v / largest, v)


def bend(f: Score, x: Tensors, of: FeatureMap) -> Float[Tensor, "batch channels height width"]:
    """The score's second derivative at a feature map, times the map: how much the gradient changes along it."""
    return _as_map(curvature_at(f, x, of.site), f, x, of.site)


def enlarged(
    small: Float[Tensor, "batch 1 low wide"], like: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch 1 height width"]:
    """A map at the size of the input, linearly between the centers of its cells."""
    return F.interpolate(small, like.shape[-2:], mode="bilinear", align_corners=False)


def first_component(
    channels: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch 1 height width"]:
    """Each place's coordinate along the direction in which the channels are strongest (uncentered, of length one).

    The direction is known up to its sign only: it is turned so that the coordinates add up to more than zero.
    """
    matrix = channels.flatten(2).mT  # places by channels
    u, s, _ = torch.linalg.svd(matrix, full_matrices=False)
    along = u[:, :, :1] * s[:, None, :1]
    along = torch.where(along.sum(1, keepdim=True) < 0, -along, along)
    return along.mT.reshape(len(channels), 1, *channels.shape[2:])


def _last(f: Score, x: Tensors) -> Site:
    """The last site of tokens whose patches the score depends on (a classifier reads one token of the last block, so
    that the others matter up to its attention only), or the last map; tried on one sample, and remembered.
    """
    found = places(f, x)
    known = f.net.remembered.get(found)
    if isinstance(known, Site):
        return known
    one = rows(x, 0, 1)
    last = next((s for s in reversed(found.tokens) if _matters(f, one, s, found.grid)), found.site)
    f.net.remembered[found] = last
    return last


def _matters(f: Score, x: Tensors, site: Site, grid: Grid) -> bool:
    try:
        seen = f.watch(x, site)[site]
    except BadModel:  # the score does not depend on what is there at all
        return False
    return bool(_on_grid(seen.grad, grid).any())


def _as_map(v: Tensor, f: Score, x: Tensors, site: Site) -> Tensor:
    if v.ndim == 3 and v.shape[1] >= math.prod(places(f, x).grid):
        return _on_grid(v, places(f, x).grid)
    if v.ndim != 4:
        raise BadInput(f"Site {str(site)!r} holds {tuple(v.shape)}; expected [batch, channels, height, width].")
    return v


def _on_grid(tokens: Float[Tensor, "batch tokens width"], grid: Grid) -> Float[Tensor, "batch width height across"]:
    """Tokens as a map; those before the patches' are left out."""
    return tokens[:, -math.prod(grid) :].mT.reshape(len(tokens), -1, *grid)
