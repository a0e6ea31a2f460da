"""Where a network still keeps places apart: the last site that holds a map, and back from its size to the input's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pellucid.core.answer import Operations, ask, follow
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.names import module_paths
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.structure import leaves
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
    """Run once and note what was the last to put out more than one place: an operation, or the module it ends."""
    found: list[Site] = []
    axes = WeakIdKeyDictionary()  # tensor -> which of (batch, channels, height, width) each of its axes is

    def see(site: Site, args: tuple[Any, ...], out: Any) -> Any:
        name = site.at.partition(".")[0]
        order = _order(name, args, out, axes) if isinstance(out, Tensor) and out.ndim == 4 else None
        if order is not None:
            axes[out] = order
        if _is_map(out, axes) and name not in _NO_CHANGE:
            found.append(site)
        return out

    def end(path: str, calls: Iterator[int], _module: nn.Module, _args: Any, out: Any) -> None:
        call = next(calls)
        if _is_map(out, axes):
            found.append(Site(path, call))

    with f.net.lease() as model, ExitStack() as stack:  # a lease of its own: what this pass draws or counts is its own
        modules = module_paths(model)
        watch = Operations(follow(modules, stack), see)
        for path, module in modules.items():
            if path and not isinstance(module, torch.jit.ScriptModule):
                stack.callback(module.register_forward_hook(partial(end, path, count())).remove)
        with torch.no_grad(), watch:
            ask(f.net, model, x)
    if not found:
        raise BadModel(
            f"Nothing inside {f.net.name} is a map [batch, channels, height, width].",
            "Name a site, or use a method that needs none, such as occlusion or integrated_gradients.",
        )
    return found[-1]


_Order: TypeAlias = tuple[int, ...]
_PICTURE: _Order = (0, 1, 2, 3)
_NO_CHANGE = frozenset({"detach", "clone", "contiguous", "to", "data", "grad", "dropout"})
# after these, four axes are no longer a picture's in an order that is known
_MIXES = frozenset(
    """matmul bmm einsum softmax scaled_dot_product_attention T mT reshape view flatten unflatten swapaxes movedim
    moveaxis roll unfold fold""".split()  # noqa: SIM905 (read as words)
)


def _order(name: str, args: tuple[Any, ...], out: Tensor, axes: Mapping[Tensor, _Order]) -> _Order | None:
    """What the axes of an operation's result are, as far as it can be told from its first picture-like input.

    Four axes alone do not make a map: attention's [batch, heads, tokens, width] has four, and so has a map whose
    channels come last.  A convolution's result is one; from there the order is followed.
    """
    if name in ("conv2d", "conv_transpose2d"):
        return _PICTURE
    source = next((v for v in leaves(args) if v.ndim == 4 and v in axes), None)
    if source is None or name in _MIXES:
        return None
    order = axes[source]
    if name in ("permute", "transpose"):
        dims = [int(d) for d in leaves(args[1:], int)]
        if name == "transpose":
            first, second = dims
            dims = list(range(4))
            dims[first], dims[second] = dims[second], dims[first]
        return tuple(order[d] for d in dims)
    if name == "linear" and order[-1] != 1:
        return None
    cropped = name == "getitem" and source.shape[2:] != out.shape[2:]
    return None if cropped else order


def _is_map(out: object, axes: Mapping[Tensor, _Order]) -> bool:
    if not isinstance(out, Tensor) or out.ndim != 4 or out.shape[2] * out.shape[3] == 1:
        return False
    return axes.get(out) == _PICTURE


def check_map(value: Tensor, site: Site) -> None:
    """Refuse a site that holds no map."""
    if value.ndim != 4:
        raise BadInput(f"Site {str(site)!r} holds {tuple(value.shape)}; expected [batch, channels, height, width].")


def enlarged(
    small: Float[Tensor, "batch 1 low wide"], like: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch 1 height width"]:
    """A map at the size of the input, linearly between the centers of its cells."""
    return F.interpolate(small, like.shape[-2:], mode="bilinear", align_corners=False)
