"""Where a network still keeps places apart: the last site that holds a map, and back from its size to the input's."""

from __future__ import annotations

from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pellucid.core.answer import ask
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.names import module_paths
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors, rows


def image_input(x: Tensors) -> str:
    """The name of the first input that is a picture, `[batch, channels, height, width]`."""
    name = next((k for k, v in x.items() if v.ndim == 4 and v.is_floating_point()), None)
    if name is None:
        shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in x.items())
        raise BadInput(f"No input is a picture: {shapes}.", "This method needs [batch, channels, height, width].")
    return name


def map_site(f: Score, x: Tensors, site: str) -> Site:
    """The site that a class activation map is read at: the one named, or the last that holds a map."""
    if site:
        return Site.parse(site)
    key = ("last map", tuple((k, tuple(v.shape[1:])) for k, v in x.items()))
    found = f.net.remembered.get(key)
    if not isinstance(found, Site):
        found = f.net.remembered[key] = _last_map(f, rows(x, 0, 1))
    return found


def _last_map(f: Score, x: Tensors) -> Site:
    """Run once and note which module was the last to put out more than one place."""
    found: list[Site] = []

    def note(path: str, call: int, out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim == 4 and out.shape[2] * out.shape[3] > 1 and path:
            found.append(Site(path, call))

    with f.net.lease() as model:  # not the score's: what this pass draws or counts must not change what follows
        hooks = []
        for path, module in module_paths(model).items():
            calls = count()
            hooks.append(
                module.register_forward_hook(lambda _m, _i, out, path=path, calls=calls: note(path, next(calls), out))
            )
        try:
            with torch.no_grad():
                ask(f.net, model, x)
        finally:
            for hook in hooks:
                hook.remove()
    if not found:
        raise BadModel(
            f"No module of {f.net.name} puts out a map [batch, channels, height, width].",
            "Name a site, or use a method that needs none, such as occlusion or integrated_gradients.",
        )
    return found[-1]


def check_map(value: Tensor, site: Site) -> None:
    """Refuse a site that holds no map."""
    if value.ndim != 4:
        raise BadInput(f"Site {str(site)!r} holds {tuple(value.shape)}; expected [batch, channels, height, width].")


def enlarged(
    small: Float[Tensor, "batch 1 low wide"], like: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch 1 height width"]:
    """A map at the size of the input, linearly between the centers of its cells."""
    return F.interpolate(small, like.shape[-2:], mode="bilinear", align_corners=False)
