"""Finding where a network last keeps places apart: a map of channels, or tokens that stand for a grid of patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pellucid.core.answer import Operations, ask, follow
from pellucid.core.errors import BadModel
from pellucid.core.facing import channels_second, turned
from pellucid.core.names import module_paths
from pellucid.core.replaced import at_embeddings
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.structure import leaves
from pellucid.core.tensors import Tensors, rows

Grid: TypeAlias = tuple[int, int]
_PREFIX = 16  # tokens before the patches: classes, registers


@dataclass(frozen=True, slots=True)
class Places:
    """The last site that holds a map, its size, and the sites behind it that hold a token for each of its places.

    `maps`: all sites that hold a map.
    """

    site: Site
    grid: Grid
    tokens: tuple[Site, ...]
    maps: frozenset[Site]


def places(f: Score, x: Tensors) -> Places:
    """Where the network keeps places apart on inputs of this shape; found by one pass and remembered.

    Raises `BadModel` when it does so nowhere.
    """
    given = f.fed(x)
    key = ("places", tuple((k, tuple(v.shape[1:])) for k, v in given.items()))
    found = f.net.remembered.get(key)
    if not isinstance(found, Places):
        found = f.net.remembered[key] = _look(f, rows(given, 0, 1))
    return found


def _look(f: Score, x: Tensors) -> Places:
    """Run once and note what puts out places: operations, and the modules that they end."""
    seen: list[tuple[Site, tuple[int, ...]]] = []
    axes = WeakIdKeyDictionary()  # tensor -> which of (batch, channels, height, width) each of its axes is

    def see(site: Site, args: tuple[Any, ...], out: Any) -> Any:
        name = site.at.partition(".")[0]
        order = order_after(name, args, out, axes) if isinstance(out, Tensor) and out.ndim == 4 else None
        if order is not None:
            axes[out] = order
        if name not in _NO_CHANGE and _is_map(out, axes):
            seen.append((site, tuple(out.shape)))
        return out

    def end(path: str, calls: Iterator[int], _module: nn.Module, _args: Any, out: Any) -> None:
        call = next(calls)
        if turned(f.net.model, path) and isinstance(out, Tensor) and out in axes and axes[out] == _LAST:
            out = channels_second(out)
            axes[out] = PICTURE
        if _is_map(out, axes) or (isinstance(out, Tensor) and out.ndim == 3):
            seen.append((Site(path, call), tuple(out.shape)))

    with f.net.lease() as model, ExitStack() as stack:  # a lease of its own: what this pass draws or counts is its own
        modules = module_paths(model)
        watch = Operations(follow(modules, stack), see)
        for path, module in modules.items():
            if path and not isinstance(module, torch.jit.ScriptModule):
                stack.callback(module.register_forward_hook(partial(end, path, count())).remove)
        given, changes = at_embeddings(x, f.embedded)
        with torch.no_grad(), watch:
            ask(f.net, model, given, changes=changes)
        return _sorted(seen, f.net.name)


def _sorted(seen: list[tuple[Site, tuple[int, ...]]], name: str) -> Places:
    last = max((i for i, (_, shape) in enumerate(seen) if len(shape) == 4), default=None)
    if last is None:
        raise BadModel(
            f"Nothing inside {name} is a map [batch, channels, height, width].",
            "Name a site, or use a method that needs none, such as occlusion or integrated_gradients.",
        )
    site, (_, _, height, width) = seen[last]
    behind = [(s, shape) for s, shape in seen[last + 1 :] if 0 <= shape[1] - height * width <= _PREFIX]
    # the stream of tokens is as wide as where it begins; queries and keys in one tensor, say, are not
    tokens = tuple(s for s, shape in behind if shape[2] == behind[0][1][2])
    return Places(site, (height, width), tokens, frozenset(s for s, shape in seen if len(shape) == 4))


def grid_at(f: Score, x: Tensors, site: Site) -> Grid | None:
    """The picture's places at a site, when it holds a map or a token for each; None when it does neither."""
    try:
        found = places(f, x)
    except BadModel:
        return None
    if site in found.tokens:
        return found.grid
    value = x[str(site)]
    return (value.shape[2], value.shape[3]) if site in found.maps else None


Order: TypeAlias = tuple[int, ...]
PICTURE: Order = (0, 1, 2, 3)
_LAST: Order = (0, 2, 3, 1)  # channels behind height and width
_NO_CHANGE = frozenset({"detach", "clone", "contiguous", "to", "data", "grad", "dropout"})
# after these, four axes are no longer a picture's in an order that is known
_MIXES = frozenset(
    """matmul bmm einsum softmax scaled_dot_product_attention T mT reshape view flatten unflatten swapaxes movedim
    moveaxis roll unfold fold""".split()  # noqa: SIM905 (read as words)
)


def order_after(name: str, args: tuple[Any, ...], out: Tensor, axes: Mapping[Tensor, Order]) -> Order | None:
    """What the axes of an operation's result are, as far as it can be told from its first picture-like input.

    Four axes alone do not make a map: attention's [batch, heads, tokens, width] has four, and so has a map whose
    channels come last.  A convolution's result is one; from there the order is followed.
    """
    if name in ("conv2d", "conv_transpose2d"):
        return PICTURE
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


def _is_map(out: object, axes: Mapping[Tensor, Order]) -> bool:
    if not isinstance(out, Tensor) or out.ndim != 4 or out.shape[2] * out.shape[3] == 1:
        return False
    return axes.get(out) == PICTURE
