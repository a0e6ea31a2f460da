"""Patches: the parts of samples that activations looked at, cut out small enough to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.samples import Collection
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors
from pellucid.dream.layout import Layout, Part, layout_at
from pellucid.dream.tallies import Strongest

SIDE = 160  # larger pictures are averaged down to this side, so that a result stays small


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One activation: its value, which sample it was found in, where, and what it looked at.

    `position` is its place at the site, `field` the part of the sample that it can depend on, `part` the part that was
    cut out, and `mark` what is to be marked in that; all as (first, one past the last) along the input's places.
    `crop` holds the cut part as it is to be shown: colors in 0..1 where the network's preparation is known, else what
    the network saw; a picture larger than 160 pixels is averaged down.  `pattern` and `guided` are what the
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
    crop: Tensor = field(repr=False)
    pattern: Tensor | None = field(default=None, repr=False)
    guided: Tensor | None = field(default=None, repr=False)


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
            cuts: dict[Part, Tensor] = {}  # many channels may look at the same part: it is kept once
            for row, rank in wanted:
                at = self.layout(x).position(places[row][rank])
                found[row, rank] = self._patch(x, number, channels[row], values[row][rank], at, cuts)
        return tuple(tuple(found[row, rank] for rank in range(len(ranks))) for row, ranks in enumerate(numbers))

    def _patch(
        self, x: Tensors, number: int, channel: int, value: float, at: tuple[int, ...], cuts: dict[Part, Tensor]
    ) -> Patch:
        layout = self.layout(x)
        everything = tuple((0, n) for n in layout.extent)
        seen = layout.seen(at)
        part = everything if self.whole else seen
        mark = layout.cell(at) if seen == everything else seen if part != seen else None
        if part not in cuts:
            cuts[part] = self._shown(cut(x[layout.input], layout.axes, part))
        return Patch(channel, value, number, self.samples.name(number), at, seen, part, mark, cuts[part])

    def _shown(self, x: Tensor) -> Tensor:
        preparation = self.net.preparation
        if preparation is not None and x.ndim == 4 and x.shape[1] == preparation.channels:
            self.colors = True
            x = preparation.restore(x)
        return small(x)[0].cpu()


def cut(x: Tensor, axes: Sequence[int], part: Part) -> Tensor:
    """A part of a batch, along its axes."""
    for axis, (start, stop) in zip(axes, part, strict=True):
        x = x.narrow(axis, start, stop - start)
    return x


def small(x: Tensor) -> Tensor:
    """Pictures `[batch, channels, height, width]` at most 160 pixels large, averaged; others as they are, copied."""
    if x.ndim != 4 or max(x.shape[2:]) <= SIDE:
        return x.clone()
    scale = SIDE / max(x.shape[2:])
    size = [max(1, round(n * scale)) for n in x.shape[2:]]
    return F.interpolate(x.float(), size, mode="area")
