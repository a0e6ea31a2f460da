"""Where a network still keeps places apart: the last site that holds a map, and back from its size to the input's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode

from pellucid.core.answer import ask, follow
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.names import module_paths, operation_name
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
    """Run once and note what was the last to put out more than one place: a module, or an operation between modules."""
    with f.net.lease() as model, ExitStack() as stack:  # a lease of its own: what this pass draws or counts is its own
        modules = module_paths(model)
        watch = _Maps(follow(modules, stack))
        for path, module in modules.items():
            if path and not isinstance(module, torch.jit.ScriptModule):
                stack.callback(module.register_forward_hook(partial(watch.module, path, count())).remove)
        with torch.no_grad(), watch:
            ask(f.net, model, x)
    if watch.last is None:
        raise BadModel(
            f"Nothing inside {f.net.name} is a map [batch, channels, height, width].",
            "Name a site, or use a method that needs none, such as occlusion or integrated_gradients.",
        )
    return watch.last


class _Maps(TorchFunctionMode):
    """Keeps the address of the last map; a module's address replaces that of the operation that ends it."""

    def __init__(self, inside: list[Site]) -> None:
        super().__init__()
        self.inside = inside
        self.last: Site | None = None
        self.done: dict[tuple[Site, str], int] = {}

    def module(self, path: str, calls: Iterator[int], _module: nn.Module, _args: Any, out: Any) -> None:
        """A module has run."""
        call = next(calls)
        if _is_map(out):
            self.last = Site(path, call)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and note it when it puts out a map."""
        out = func(*args, **(kwargs or {}))
        if isinstance(func, OpOverload):  # a kernel that another mode runs, seen a second time
            return out
        here, name = self.inside[-1], operation_name(func)
        number = self.done.get((here, name), 0)
        self.done[here, name] = number + 1
        if _is_map(out) and name not in _NO_CHANGE:
            self.last = Site(here.path, here.call, f"{name}.{number}")
        return out


_NO_CHANGE = frozenset({"detach", "clone", "contiguous", "to", "data", "grad", "dropout", "__get__"})


def _is_map(out: object) -> bool:
    return isinstance(out, Tensor) and out.ndim == 4 and out.shape[2] * out.shape[3] > 1


def check_map(value: Tensor, site: Site) -> None:
    """Refuse a site that holds no map."""
    if value.ndim != 4:
        raise BadInput(f"Site {str(site)!r} holds {tuple(value.shape)}; expected [batch, channels, height, width].")


def enlarged(
    small: Float[Tensor, "batch 1 low wide"], like: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch 1 height width"]:
    """A map at the size of the input, linearly between the centers of its cells."""
    return F.interpolate(small, like.shape[-2:], mode="bilinear", align_corners=False)
