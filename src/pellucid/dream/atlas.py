"""Activation atlas (Carter et al. 2019): what a network can see at a site, laid out as a map.

One vector from a random place of many pictures; alike vectors near each other; the mean of each cell of a grid, shown
by the real patches nearest to it, and by a dream of it where one was made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, TypeAlias

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from pellucid.core.answer import Answer
from pellucid.core.errors import BadInput, BadOption
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.origin import Origin
from pellucid.core.run import current
from pellucid.core.samples import Collection
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors, digest
from pellucid.dream.excited.layout import Layout
from pellucid.dream.maps.activations import (
    by_place,
    colors,
    layout_of,
    refuse_another_shape,
    refuse_nonsense,
    streamed,
    tiles,
)
from pellucid.dream.maps.behind import answers_to
from pellucid.dream.maps.cells import alike, by_cell, nearest_to_mean, spread
from pellucid.dream.maps.collected import Data, collected, metered, opened, site_of
from pellucid.dream.maps.crops import Crops, crops_of
from pellucid.dream.maps.map_trust import MapTrust, map_trust
from pellucid.dream.maps.neighbors import scaled
from pellucid.dream.maps.reduce import How, Moments, reduced, refuse_missing
from pellucid.dream.maps.whiten import directions, whitened

SIDE, CLASSES, NEIGHBORS = 64, 3, 10
Cells: TypeAlias = Annotated[int, Range(2, 128), "cells along each side of the map"]


@dataclass(frozen=True, slots=True)
class Atlas(Shown):
    """The cells of an activation atlas, and how far its map can be trusted.

    `cells` are (row, column) of those that hold enough vectors; `means` their mean vectors, `counts` how many there
    are, `alike` the mean cosine between two of them, less the overall mean (NaN for a single one; chance is 0).
    `directions` are the means whitened by the covariance of all: what a dream should look for.  `tops`: the classes
    whose scores a cell's mean at every place of the site raises most, compared with the mean of all vectors there, and
    `raised`: by how much, in the score's own unit.  `patches`: the real patches nearest to the mean, nearest first, of
    the samples `sources`.  `icons`: dreamed pictures of the cells, if any were made,
    `recognized` the share of them that the network takes for their own cell.  `places`: all vectors on the map,
    in 0..1.  `axis`: where the site's channels are.
    """

    places: Float[Tensor, "n 2"] = field(repr=False)
    cells: Int[Tensor, "cells 2"] = field(repr=False)
    counts: Int[Tensor, " cells"] = field(repr=False)
    alike: Float[Tensor, " cells"] = field(repr=False)
    means: Float[Tensor, "cells width"] = field(repr=False)
    directions: Float[Tensor, "cells width"] = field(repr=False)
    tops: Int[Tensor, "cells classes"] = field(repr=False)
    raised: Float[Tensor, "cells classes"] = field(repr=False)
    sources: Int[Tensor, "cells patches"] = field(repr=False)
    patches: UInt8[Tensor, "cells patches 3 side side"] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    how: str
    grid: int
    shown: str
    axis: int
    trust: MapTrust
    origin: Origin
    icons: UInt8[Tensor, "cells 3 tall wide"] | None = field(default=None, repr=False)
    recognized: float = math.nan

    @property
    def sought(self) -> Float[Tensor, "cells width"]:
        """What each cell's dream looks for: its whitened direction, so that what all share is not drawn each time."""
        return self.directions

    @property
    def held(self) -> Float[Tensor, "cells width"]:
        """The vectors that the dreams are held against: the means."""
        return self.means

    def with_icons(self, icons: Float[Tensor, "cells 3 height width"], recognized: float = math.nan) -> Atlas:
        """The same atlas with a dreamed picture for each cell, in 0..1; raises `BadInput` for another number."""
        if icons.ndim != 4 or icons.shape[:2] != (len(self.cells), 3):
            raise BadInput(f"Icons of {tuple(icons.shape)} were given for {len(self.cells)} cells.", "[cells, 3, h, w]")
        drawn = (icons.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
        return replace(self, icons=drawn, recognized=recognized)


def atlas(
    net: Network | nn.Module,
    data: Data,
    at: Site | str,
    *,
    how: How = "pca",
    grid: Cells = 16,
    each: Annotated[int, Range(1, 1024), "random places that are taken from each sample"] = 4,
    least: Annotated[int, Range(1, 1000), "vectors that a cell must hold to be shown"] = 3,
    whiten: Annotated[bool, "lay out vectors whose directions all vary alike (t-SNE and UMAP only)"] = False,
    most: Annotated[int | None, Range(4, 10_000_000), "how many of the samples to take; none: all"] = None,
) -> Atlas:
    """A map of what the network can see at a site: the mean vector of each cell, with real patches and classes.

    `data` is a folder of pictures, a tensor, a list or a data set.  Which places are taken depends on the seed and on
    each sample's content.  Samples are read once, and those whose patches are shown a second time.  Raises `BadInput`
    for a site that there is not, too few samples or a grid so fine that no cell holds `least` vectors, `BadOption` for
    whitening before PCA (nothing would be left of it), `Missing` when the map needs a package that is not there.

    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()))
    >>> found = atlas(net, torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)), "1", grid=3)
    >>> tuple(found.means.shape) == (len(found.cells), 8), int(found.counts.sum()) <= 80
    (True, True)
    """
    given = {"how": how, "grid": grid, "each": each, "least": least, "whiten": whiten, "most": most}
    checked(options_of(atlas), given, "atlas")
    if whiten and how == "pca":
        raise BadOption("whiten=True leaves no direction of larger variance for PCA to find.", "Use how='tsne'.")
    refuse_missing(how)
    net = opened(net)
    site, samples = site_of(net, at), collected(net, data, most)
    with metered(net, str(site), samples) as origin:
        drawn = _Drawn(net, site, each)
        stopped = streamed(net, samples, site, drawn.make, drawn.take)
        points, moments = drawn.points(), drawn.moments()
        if len(points) <= 2 * NEIGHBORS:
            raise BadInput(f"{len(points)} vectors are too few for a map.", "Give more samples, or raise `each`.")
        away = points - moments.mean.float()
        laid, trust = _laid_out(whitened(points, moments) if whiten else away, how)
        places = spread(laid)
        members = by_cell(places, grid, least)
        means = torch.stack([points[rows].mean(0) for rows in members.values()])
        near = nearest_to_mean(points, members, means)
        tops, raised, notes = _classes(net, samples, drawn, means, moments.mean.float())
        return Atlas(
            places, torch.tensor(list(members)), torch.tensor([len(rows) for rows in members.values()]),
            alike(away, members), means, directions(means, moments), tops, raised,
            drawn.samples()[near], _patches(net, samples, drawn, near),
            tuple(samples.name(i) for i in range(len(samples))), net.labels, how, grid,
            drawn.crops.words() if drawn.crops is not None else "", drawn.axis, trust,
            origin(drawn.count, stopped, notes),
        )  # fmt: skip


def _laid_out(vectors: Float[Tensor, "n width"], how: str) -> tuple[Float[Tensor, "n 2"], MapTrust]:
    """The vectors' places on a map by their angles, and how far it can be trusted."""
    points = scaled(vectors, "cosine")
    made = reduced(points, how)
    again = None if how == "pca" else reduced(points, how, start=1).places
    trust = map_trust(points, made.places, NEIGHBORS, again=again)
    return made.places, replace(trust, explained=made.explained)


class _Drawn:
    """Vectors drawn from random places, and where each is from."""

    def __init__(self, net: Network, site: Site, each: int) -> None:
        self.net, self.site, self.each, self.run = net, site, each, current()
        self.crops: Crops | None = None
        self.layout: Layout | None = None
        self.shape: tuple[int, ...] = ()
        self.count = 0
        self._parts: list[Tensors] = []
        self._samples: list[int] = []

    def make(self, x: Tensors, answer: Answer) -> Tensors:
        """A few vectors of each sample, `[batch, each, width]`, and their places."""
        value = answer.at[self.site]
        if not self.shape:
            self.shape, self.layout = tuple(value.shape[1:]), layout_of(self.net, x, self.site)
            self.crops = crops_of(self.layout)
        assert self.layout is not None  # noqa: S101 (found with the first batch)
        refuse_another_shape(value, self.shape, self.site)
        vectors = by_place(self.layout, value)[:, self.crops.skip if self.crops is not None else 0 :]
        first = next(iter(x.values()))
        chosen = torch.stack([self._places(v, vectors.shape[1]) for v in first])
        taken = vectors.gather(1, chosen.to(vectors.device)[:, :, None].expand(-1, -1, vectors.shape[2]))
        refuse_nonsense(taken, self.site)
        return {"vectors": taken.float().cpu(), "places": chosen}

    def _places(self, sample: Tensor, count: int) -> Tensor:
        generator = self.run.generator("atlas", str(self.site), digest(sample.float()))
        return torch.randperm(count, generator=generator)[: self.each]

    def take(self, numbers: list[int], found: Tensors) -> None:
        """Keep what was drawn."""
        width = found["vectors"].shape[2]
        self.count += len(numbers)
        self._samples += [i for i in numbers for _ in range(found["places"].shape[1])]
        self._parts.append({"vectors": found["vectors"].reshape(-1, width), "places": found["places"].reshape(-1)})

    @property
    def axis(self) -> int:
        """Where the site's channels are."""
        return self.layout.channel if self.layout is not None else 1

    def points(self) -> Float[Tensor, "n width"]:
        """All vectors."""
        return torch.cat([p["vectors"] for p in self._parts])

    def where(self) -> Int[Tensor, " n"]:
        """Which place of its sample each is from."""
        return torch.cat([p["places"] for p in self._parts])

    def samples(self) -> Int[Tensor, " n"]:
        """Which sample each is from."""
        return torch.tensor(self._samples)

    def moments(self) -> Moments:
        """Their mean and covariance."""
        moments = Moments(self._parts[0]["vectors"].shape[1])
        for part in self._parts:
            moments.add(part["vectors"])
        return moments


def _classes(
    net: Network, data: Collection, drawn: _Drawn, means: Tensor, middle: Tensor
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """The classes whose scores each mean raises most, in the overall mean's place; empty where it can't be asked.

    What goes around the site is seen by a second sample, whose scores then differ.
    """
    none = torch.empty(len(means), 0, dtype=torch.long), torch.empty(len(means), 0)
    if drawn.layout is not None and drawn.layout.grid is not None:
        return *none, ("Classes were not asked for: at this site tokens stand for places.",)
    samples = drawn.samples()
    scores = answers_to(
        net, data[int(samples[0])], drawn.site, torch.cat([middle[None], means]), drawn.shape, drawn.axis
    )
    if scores is None:
        return *none, ()
    raised, tops = (scores[1:] - scores[:1]).topk(min(CLASSES, scores.shape[1]))
    other = answers_to(net, data[int(samples[-1])], drawn.site, middle[None], drawn.shape, drawn.axis)
    if other is None or torch.allclose(other, scores[:1], rtol=1e-3, atol=1e-3 * float(scores.abs().max())):
        return tops, raised, ()
    note = "Something goes around this site: the classes of a cell also depend on the first sample."
    return tops, raised, (note,)


def _patches(
    net: Network, data: Collection, drawn: _Drawn, near: Int[Tensor, "cells patches"]
) -> UInt8[Tensor, "cells patches 3 side side"]:
    """The patches of the chosen vectors, each sample read once more."""
    out = torch.zeros(near.numel(), 3, SIDE, SIDE, dtype=torch.uint8)
    if drawn.crops is None:
        return out[:0].reshape(0, near.shape[1], 3, SIDE, SIDE)
    wanted: dict[int, list[int]] = {}
    samples, where = drawn.samples(), drawn.where()
    for at, point in enumerate(near.reshape(-1).tolist()):
        wanted.setdefault(int(samples[point]), []).append(at)
    for sample, ats in sorted(wanted.items()):
        shown = colors(net, data[sample][drawn.crops.name])
        for at in ats:
            rows, columns = drawn.crops.window(int(where[near.reshape(-1)[at]]))
            out[at] = tiles(shown[:, :, rows, columns], SIDE)[0]
    return out.reshape(*near.shape, 3, SIDE, SIDE)
