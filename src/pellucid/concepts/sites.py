"""Which site to look for concepts at, and what is read there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.last_map import places
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors, rows

_NAMED = 5  # sites that an error names


def positive_map(f: Score, x: Tensors, at: Site | str | None) -> Site:
    """The site that is named, or the last module that puts out a map without negative values.

    Tried on the first sample.  Raises `BadInput` when the site holds no map `[batch, channels, height, width]` or goes
    below zero; the error names sites that do not.
    """
    one = rows(x, 0, 1)
    if at is None:
        found = _positive(f, one)
        if not found:
            raise BadInput(f"No module of {f.net.name} puts out a map without negative values.", "Name a site: at=...")
        return found[-1]
    site = at if isinstance(at, Site) else Site.parse(at)
    value = f.values(one, site)[site]
    if value.ndim != 4 or value.shape[2] * value.shape[3] == 1:
        raise BadInput(
            f"Site {str(site)!r} holds {tuple(value.shape)}; concepts are looked for in [batch, channels, height, "
            "width].",
            _instead(f, one, site),
        )
    if float(value.min()) < 0:
        raise BadInput(
            f"Site {str(site)!r} goes down to {float(value.min()):.3g}; parts without subtraction need values from 0 "
            "up, as behind a ReLU.",
            _instead(f, one, site),
        )
    return site


def _positive(f: Score, x: Tensors) -> list[Site]:
    """The modules that put out maps without negative values on this sample, in the order of definition."""
    maps = places(f, x).maps
    asked = [s for s in f.net.sites if s in maps]
    values = f.values(x, *asked)
    return [s for s in asked if float(values[s].min()) >= 0 and bool(values[s].any())]


def _instead(f: Score, x: Tensors, site: Site) -> str:
    found = _positive(f, x)
    order = {s: i for i, s in enumerate(f.net.sites)}
    here = order.get(site, len(order))
    near = sorted(found, key=lambda s: abs(order[s] - here))[:_NAMED]
    return f"Sites that fit: {', '.join(map(str, near))}." if near else "No site of this network fits."


def values_at(f: Score, batches: Iterator[Tensors], site: Site) -> Iterator[Float[Tensor, "batch *axes"]]:
    """What is at a site for batch after batch, in single precision at least."""
    for x in batches:
        yield exact(f.values(x, site)[site].detach())


def exact(v: Tensor) -> Tensor:
    """Values in which sums can be made: half precision becomes single, all else stays."""
    return v.float() if v.dtype in (torch.float16, torch.bfloat16) else v


def by_place(value: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "places channels"]:
    """A row for every place of every sample."""
    return value.movedim(1, -1).reshape(-1, value.shape[1])


def averaged(values: Iterator[Tensor]) -> Float[Tensor, "samples channels"]:
    """Each sample's mean over space."""
    return torch.cat([v.flatten(2).mean(2) for v in values])
