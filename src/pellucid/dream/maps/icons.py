"""Dreamed pictures for the cells of an atlas and the places of an activation grid: what each vector looks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, TypeVar

import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel
from pellucid.core.network import Network
from pellucid.core.option import Range
from pellucid.core.run import current, running
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import channel, direction
from pellucid.core.tensors import Inputs
from pellucid.dream.atlas import Atlas
from pellucid.dream.dream import Dream
from pellucid.dream.grid import ActivationGrid
from pellucid.dream.maps.collected import opened
from pellucid.dream.maps.neighbors import scaled
from pellucid.dream.maximize import maximize
from pellucid.dream.recipe import Recipe

Laid = TypeVar("Laid", Atlas, ActivationGrid)
_TOGETHER = 16


def illustrate(
    found: Laid,
    net: Network | nn.Module,
    *,
    like: Inputs | None = None,
    size: Annotated[int, Range(16, 1024), "side of each picture in pixels"] = 96,
    power: Annotated[float, Range(0, 16), "how strictly the direction is kept to: power of the cosine"] = 2.0,
    recipe: Recipe | None = None,
) -> Laid:
    """The same atlas or grid with a dreamed picture for each cell or place (Olah et al. 2018; Carter et al. 2019).

    A cell is dreamed by its whitened direction, so that what all vectors share is not drawn again and again; a place of
    a grid by its vector.  Small pictures are enough to see what is meant, and take a fifth of the time of the network's
    own size.  `recognized` then says how many of the dreams the network takes for their own cell.  When it is stopped,
    cells that were not reached stay gray; before the first, there are no icons.  Raises `BadModel` when the network's
    weights are not those of the result, `BadInput` for networks that take no pictures.
    """
    net = opened(net)
    if net.fingerprint != found.origin.fingerprint:
        raise BadModel(f"{net.name} has other weights than the {found.origin.network} of this map.", "Open that one.")
    site, way = Site.parse(found.origin.at), recipe or Recipe(steps=64, early=1.0)
    vectors = found.sought
    drawn, seen = torch.full((len(vectors), 3, size, size), 0.5), list[Tensor]()
    for start in range(0, len(vectors), _TOGETHER):
        if current().stopping():
            break
        part = vectors[start : start + _TOGETHER]
        targets = [direction(site, v / v.norm().clamp(min=1e-12), power, found.axis) for v in part]
        dream = maximize(net, targets, like=like, size=size, recipe=way)
        drawn[start : start + len(part)] = _in_colors(dream.pictures)
        seen.append(_vectors(net, dream, site, found.axis))
    return found.with_icons(drawn, _recognized(torch.cat(seen), found.held)) if seen else found


def _vectors(net: Network, dream: Dream, site: Site, axis: int) -> Tensor:
    """What the network makes of each dream at the site, the mean over places."""
    with torch.no_grad(), running(replace(current(), progress=None, stop=None)):
        value = Score(net, channel(site, 0)).values(dream.x, site)[site]
    return value.movedim(axis, 1).flatten(2).mean(2).float().cpu() if value.ndim > 2 else value.float().cpu()


def _recognized(seen: Tensor, held: Tensor) -> float:
    """The share of dreams whose vector points more nearly to their own cell's than to any other's, less the mean."""
    middle = held.mean(0)
    likeness = scaled(seen - middle, "cosine") @ scaled(held - middle, "cosine").T
    return float((likeness.argmax(1) == torch.arange(len(seen))).float().mean())


def _in_colors(pictures: Tensor) -> Tensor:
    if pictures.ndim != 4:
        raise BadInput(f"A dream of {tuple(pictures.shape)} is no picture.", "Icons are made for pictures only.")
    out = pictures.detach().float().cpu()
    return out if out.shape[1] == 3 else out.mean(1, keepdim=True).expand(-1, 3, -1, -1)
