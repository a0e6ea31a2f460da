"""Inputs of whole numbers (token ids) have no gradient: they are explained at their embedding, found by watching."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.answer import Operations, follow
from pellucid.core.errors import BadModel
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.replaced import IDS
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors


def embedded(net: Network, model: nn.Module, x: Tensors) -> tuple[Tensors, dict[str, Site]]:
    """`x` with vectors in place of each input that is looked up in an embedding table, and where the table stands.

    The numbers themselves stay in `x` under another name, for the model still reads them (masks, positions).  Raises
    `BadModel` when nothing in `x` can be varied.
    """
    whole = {k: v for k, v in x.items() if not v.is_floating_point()}
    if not whole:
        return x, {}
    sites, vectors = _look_up(net, model, x, whole)
    if not sites and len(whole) == len(x):
        raise BadModel(
            f"{net.name} takes whole numbers ({', '.join(whole)}) and looks none of them up in an embedding table.",
            "Explain an inner site, or give the model floating-point input.",
        )
    ids = {k + IDS: whole[k] for k in sites}
    return {k: vectors.get(k, v) for k, v in x.items()} | ids, sites


def _look_up(net: Network, model: nn.Module, x: Tensors, whole: Tensors) -> tuple[dict[str, Site], Tensors]:
    found: list[tuple[Site, Tensor, Tensor]] = []

    def see(site: Site, args: tuple[Any, ...], out: Any) -> Any:
        if site.at.startswith("embedding.") and isinstance(out, Tensor):
            index = next((a for a in args if isinstance(a, Tensor) and not a.is_floating_point()), None)
            if index is not None:
                found.append((site, index, out.detach().clone()))  # the model may write into it
        return out

    with torch.no_grad(), ExitStack() as stack:
        stack.enter_context(Operations(follow(module_paths(model), stack), see))
        net.call(model, {k: v.clone() for k, v in x.items()})
    sites: dict[str, Site] = {}
    vectors: Tensors = {}
    for site, index, out in found:
        for name, v in whole.items():
            if name not in sites and index.shape == v.shape and torch.equal(index, v.to(index.dtype)):
                sites[name], vectors[name] = site, out
                break
    return sites, vectors
