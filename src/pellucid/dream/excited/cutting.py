"""Patches: the parts of samples that activations looked at, cut out small enough to keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.samples import Collection
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors
from pellucid.dream.excited.layout import Layout, Part, layout_at
from pellucid.dream.excited.tallies import Strongest

SIDE = 128  # larger pictures are averaged down to this side, so that a result stays small


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One activation: its value, which sample it was found in, where, and what it looked at.

    `position` is its place at the site, `field` the part of the sample that it can depend on, `part` the part that was
    cut out, and `mark` what is to be marked in that; all as (first, one past the last) along the input's places.
    `crop` holds the cut part as it is to be shown: colors (uint8) where the network's preparation is known, else what
    the network saw; a picture larger than 128 pixels is averaged down.  `pattern` and `guided` are what the
    deconvolution network and guided backpropagation find in the same part (`patterns`), in the picture's units.
    """

    channel: int
    value: float
    sample: int
    name: str
    position: tuple[int, ...]
    field: Part
    part: Part
    mark: Part | None
    crop: Tensor = dataclasses.field(repr=False)
    pattern: Tensor | None = dataclasses.field(default=None, repr=False)
    guided: Tensor | None = dataclasses.field(default=None, repr=False)


class Scissors:
    """Cuts patches out of the samples of a collection, each of which is read once more."""

    def __init__(
        self, net: Network, model: nn.Module, samples: Collection, site: Site, crop: str, how: str, axis: int | None
    ) -> None:
        self.net, self.model, self.samples, self.site, self.axis = net, model, samples, site, axis
        self.whole = crop == "whole" or how == "mean"
        self.colors = False
        self.layouts: dict[tuple[tuple[int, ...], ...], Layout] = {}

    def layout(self, x: Tensors) -> Layout:
        """The layout at the site for samples of this shape."""
        shape = tuple(tuple(v.shape[1:]) for v in x.values())
        if shape not in self.layouts:
            self.layouts[shape] = layout_at(self.net, self.model, x, self.site, self.axis)
        return self.layouts[shape]

    def patches(self, kept: Strongest, channels: Sequence[int]) -> tuple[tuple[Patch, ...], ...]:
        """What was kept of each channel as patches, its order unchanged."""
        numbers, places, values = kept.samples.tolist(), kept.places.tolist(), kept.values.tolist()
        by_sample: dict[int, list[tuple[int, int]]] = {}
        for row, ranks in enumerate(numbers):
            for rank, number in enumerate(ranks):
                by_sample.setdefault(number, []).append((row, rank))
        found: dict[tuple[int, int], Patch] = {}
        for number, wanted in by_sample.items():
            x = like_the_model(self.samples[number], self.model)
            layout, cuts = self.layout(x), dict[Part, Tensor]()  # a part that many channels look at is kept once
            for row, rank in wanted:
                at = layout.position(places[row][rank])
                seen, part, mark = self._parts(layout, at)
                if part not in cuts:
                    cuts[part] = self._shown(cut(x[layout.input], layout.axes, part))
                value, name = values[row][rank], self.samples.name(number)
                found[row, rank] = Patch(channels[row], value, number, name, at, seen, part, mark, cuts[part])
        return tuple(tuple(found[row, rank] for rank in range(len(ranks))) for row, ranks in enumerate(numbers))

    def _parts(self, layout: Layout, at: tuple[int, ...]) -> tuple[Part, Part, Part | None]:
        """The field of a place, the part that is cut out, and what is marked in that."""
        seen = layout.seen(at)
        part = tuple((0, n) for n in layout.extent) if self.whole else seen
        wide = all(2 * (stop - start) > n for (start, stop), n in zip(seen, layout.extent, strict=True))
        return seen, part, layout.cell(at) if wide else seen if part != seen else None

    def _shown(self, x: Tensor) -> Tensor:
        preparation = self.net.preparation
        if preparation is not None and x.ndim == 4 and x.shape[1] == preparation.channels:
            self.colors = True
            return (small(preparation.restore(x))[0] * 255).round().to(torch.uint8).cpu()
        return small(x)[0].cpu()


def cut(x: Tensor, axes: Sequence[int], part: Part) -> Tensor:
    """A part of a batch, along its axes."""
    for axis, (start, stop) in zip(axes, part, strict=True):
        x = x.narrow(axis, start, stop - start)
    return x


def small(x: Tensor) -> Tensor:
    """Pictures `[batch, channels, height, width]`, larger ones averaged over blocks to at most 128; others as they are.

    The last block of a row or column may be a part of one.
    """
    if x.ndim != 4 or max(x.shape[2:]) <= SIDE:
        return x.clone()
    return F.avg_pool2d(x, -(-max(x.shape[2:]) // SIDE), ceil_mode=True, count_include_pad=False)
