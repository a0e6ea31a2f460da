"""Putting values where the network's own would be: embedding vectors at the embedding, anything at a site."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from pellucid.core.answer import Change
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors

# An embedded input's token ids travel beside its vectors, under this suffix.
IDS = " (ids)"


def instead(new: Tensor) -> Change:
    """The change that puts a value in the place of what was there."""
    return partial(_instead, new)


def _instead(new: Tensor, _old: Tensor) -> Tensor:
    return new.clone()  # the model may write into it


def at_embeddings(x: Tensors, sites: Mapping[str, Site]) -> tuple[Tensors, dict[Site, Change]]:
    """What the model is given, and the changes that put embedding vectors where the embedding's output was."""
    if not sites:
        return x, {}
    return {k.removesuffix(IDS): v for k, v in x.items() if k not in sites}, {
        site: instead(x[name]) for name, site in sites.items()
    }
