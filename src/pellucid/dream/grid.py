"""The activation grid of one picture (Olah et al. 2018): what the network sees at each place of a site."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from pellucid.core.answer import Answer
from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.origin import Origin
from pellucid.core.samples import Collection
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.tensors import Inputs, Tensors, as_tensors, batch_size
from pellucid.dream.excited.layout import Layout
from pellucid.dream.maps.activations import by_place, colors, layout_of, refuse_another_shape, streamed, tiles
from pellucid.dream.maps.collected import Data, collected, metered, opened, site_of
from pellucid.dream.maps.crops import Crops, crops_of
from pellucid.dream.maps.neighbors import scaled

SIDE, PHOTO = 64, 448


@dataclass(frozen=True, slots=True)
class ActivationGrid(Shown):
    """The vector at each place, its length, its strongest channels, and what looks alike to the network.

    `sizes`: the vectors' Euclidean lengths.  `channels` and `values`: of each place the channels that are largest, in
    falling order.  `patches`: of each place the real patch whose vector points most nearly the same way, with the
    cosine (`likeness`) and the number of its sample (`sources`); of size zero without samples.  `icons`: dreamed
    pictures of the places, row by row, if any were made,
    `recognized` the share of them that the network takes for their own place.  `axis`: where the site's channels are.
    """

    picture: UInt8[Tensor, "3 height width"] = field(repr=False)
    vectors: Float[Tensor, "rows columns features"] = field(repr=False)
    sizes: Float[Tensor, "rows columns"] = field(repr=False)
    channels: Int[Tensor, "rows columns strongest"] = field(repr=False)
    values: Float[Tensor, "rows columns strongest"] = field(repr=False)
    patches: UInt8[Tensor, "found 3 side side"] = field(repr=False)
    likeness: Float[Tensor, " found"] = field(repr=False)
    sources: Int[Tensor, " found"] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    shown: str
    axis: int
    origin: Origin
    icons: UInt8[Tensor, "places 3 tall wide"] | None = field(default=None, repr=False)
    recognized: float = math.nan

    @property
    def sought(self) -> Float[Tensor, "places features"]:
        """What each place's dream looks for: its vector."""
        return self.vectors.flatten(0, 1)

    @property
    def held(self) -> Float[Tensor, "places features"]:
        """The vectors that the dreams are held against: the same."""
        return self.sought

    def with_icons(self, icons: Float[Tensor, "places 3 height width"], recognized: float = math.nan) -> ActivationGrid:
        """The same grid with a dreamed picture for each place, in 0..1; raises `BadInput` for another number."""
        if icons.ndim != 4 or icons.shape[:2] != (self.sizes.numel(), 3):
            raise BadInput(f"Icons of {tuple(icons.shape)} were given for {self.sizes.numel()} places.", "[n, 3, h, w]")
        drawn = (icons.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
        return replace(self, icons=drawn, recognized=recognized)


def activation_grid(
    net: Network | nn.Module,
    x: Inputs,
    at: Site | str,
    data: Data | None = None,
    *,
    strongest: Annotated[int, Range(1, 16), "channels that are listed for each place"] = 3,
    most: Annotated[int | None, Range(1, 10_000_000), "how many of the samples to take; none: all"] = None,
) -> ActivationGrid:
    """What the network sees at each place of a site in one picture, with the most alike patches of other samples.

    `x` is one picture; `data` a folder of pictures, a tensor, a list or a data set whose every place is compared, in
    one streaming pass.  A sample that equals `x` is left out.  Raises `BadInput` when the site keeps no places apart.

    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()))
    >>> found = activation_grid(net, torch.ones(1, 3, 6, 6), "1")
    >>> tuple(found.sizes.shape), tuple(found.channels.shape)
    ((4, 4), (4, 4, 3))
    """
    checked(options_of(activation_grid), {"strongest": strongest, "most": most}, "activation_grid")
    net = opened(net)
    site, given = site_of(net, at), as_tensors(x, net.inputs)
    if batch_size(given) != 1:
        raise BadInput(f"{batch_size(given)} pictures were given; a grid is of one.", "Give one: x[:1].")
    samples = None if data is None else collected(net, data, most)
    with metered(net, str(site), samples) as origin:
        one = _One(net, site)
        streamed(net, Collection(net, [{k: v[0] for k, v in given.items()}]), site, one.make, one.take)
        if one.crops is None:
            raise BadInput(f"Site {str(site)!r} keeps no places of a picture apart.", "Choose an earlier one.")
        near, stopped = _Nearest(net, site, one, given), ""
        if samples is not None:
            stopped = streamed(net, samples, site, near.make, near.take)
        vectors = one.vectors.reshape(*one.crops.grid, -1)
        values, channels = vectors.topk(min(strongest, vectors.shape[2]), dim=2)
        shown = tiles(colors(net, given[one.crops.name]), min(PHOTO, max(one.crops.picture)))[0]
        return ActivationGrid(
            shown, vectors, vectors.norm(dim=2), channels, values, *_patches(net, samples, near),
            () if samples is None else tuple(samples.name(i) for i in range(len(samples))),
            one.crops.words(), one.axis, origin(1 if samples is None else len(samples), stopped),
        )  # fmt: skip


class _One:
    """The vectors of the one picture."""

    def __init__(self, net: Network, site: Site) -> None:
        self.net, self.site = net, site
        self.crops: Crops | None = None
        self.layout: Layout | None = None
        self.shape: tuple[int, ...] = ()
        self.vectors, self.axis = torch.empty(0), 1

    def make(self, x: Tensors, answer: Answer) -> Tensors:
        """All places' vectors."""
        value = answer.at[self.site]
        self.shape, self.layout = tuple(value.shape[1:]), layout_of(self.net, x, self.site)
        self.crops, self.axis = crops_of(self.layout), self.layout.channel
        skip = self.crops.skip if self.crops is not None else 0
        return {"vectors": by_place(self.layout, value)[:, skip:].float().cpu()}

    def take(self, _numbers: list[int], found: Tensors) -> None:
        """Keep them."""
        self.vectors = found["vectors"][0]


class _Nearest:
    """Of each place, the vector of the samples seen so far that points most nearly the same way."""

    def __init__(self, net: Network, site: Site, one: _One, x: Tensors) -> None:
        assert one.layout is not None and one.crops is not None  # noqa: S101 (refused before)
        self.net, self.site, self.layout, self.crops, self.x = net, site, one.layout, one.crops, x
        self.shape = one.shape
        self.unit, n = scaled(one.vectors.double(), "cosine"), len(one.vectors)
        self.likeness = torch.full((n,), -2.0, dtype=torch.double)
        self.samples = torch.full((n,), -1)
        self.where = torch.zeros(n, dtype=torch.long)

    def make(self, x: Tensors, answer: Answer) -> Tensors:
        """Of each sample and place, the highest cosine and where it is."""
        refuse_another_shape(answer.at[self.site], self.shape, self.site)
        vectors = by_place(self.layout, answer.at[self.site])[:, self.crops.skip :].cpu().double()
        likeness, where = (self.unit @ torch.nn.functional.normalize(vectors, dim=2).mT).max(2)
        for i in range(len(vectors)):
            if all(v[i].shape == self.x[k][0].shape and torch.equal(v[i].cpu(), self.x[k][0]) for k, v in x.items()):
                likeness[i] = -2.0
        return {"likeness": likeness, "where": where}

    def take(self, numbers: list[int], found: Tensors) -> None:
        """Keep the best."""
        for number, likeness, where in zip(numbers, found["likeness"], found["where"], strict=True):
            better = likeness > self.likeness
            self.likeness = torch.where(better, likeness, self.likeness)
            self.where = torch.where(better, where, self.where)
            self.samples[better] = number


def _patches(net: Network, data: Collection | None, near: _Nearest) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest patches, their cosines and their samples; empty where nothing was compared."""
    if data is None or bool((near.samples < 0).any()):
        return torch.empty(0, 3, SIDE, SIDE, dtype=torch.uint8), torch.empty(0), torch.empty(0, dtype=torch.long)
    out = torch.zeros(len(near.samples), 3, SIDE, SIDE, dtype=torch.uint8)
    for sample in sorted(set(near.samples.tolist())):
        shown = colors(net, data[sample][near.crops.name])
        for at in (near.samples == sample).nonzero()[:, 0].tolist():
            rows, columns = near.crops.window(int(near.where[at]))
            out[at] = tiles(shown[:, :, rows, columns], SIDE)[0]
    return out, near.likeness.float(), near.samples
