"""A map of a data set as the network sees it: samples that are alike at a site lie near each other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from pellucid.core.answer import Answer
from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.origin import Origin
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors
from pellucid.dream.excited.layout import Layout
from pellucid.dream.maps.activations import by_place, layout_of, likeliest, refuse_nonsense, small_pictures, streamed
from pellucid.dream.maps.collected import Data, collected, metered, opened, site_of
from pellucid.dream.maps.map_trust import MapTrust, map_trust
from pellucid.dream.maps.neighbors import Metric, nearest, scaled
from pellucid.dream.maps.reduce import How, reduced, refuse_missing

SIDE, MOST_PICTURES = 48, 1024
Keep: TypeAlias = Annotated[
    Literal["float32", "float16"], "how features are kept: float16 takes half the memory, and costs three digits"
]
Neighbors: TypeAlias = Annotated[
    int, Range(1, 100), "nearest neighbors that are listed, and by which the map is judged"
]


@dataclass(frozen=True, slots=True)
class Embedding(Shown):
    """Where each sample lies on a map, its neighbors in the full space, and how far the map can be trusted.

    `features`: the mean over places of the value at the site.  `nearest` and `distances`: of each sample, the nearest
    others in the full space, nearest first.  `tops` and `shares`: the class that the network sees in each, where it
    names classes (`labels`).  `pictures`: the first samples, small, where they are pictures.
    """

    features: Float[Tensor, "n width"] = field(repr=False)
    places: Float[Tensor, "n 2"] = field(repr=False)
    nearest: Int[Tensor, "n neighbors"] = field(repr=False)
    distances: Float[Tensor, "n neighbors"] = field(repr=False)
    tops: Int[Tensor, " n"] = field(repr=False)
    shares: Float[Tensor, " n"] = field(repr=False)
    pictures: UInt8[Tensor, "count 3 side side"] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    how: str
    metric: str
    trust: MapTrust
    origin: Origin

    def neighbors(self, sample: int) -> list[tuple[str, float]]:
        """The names of a sample's nearest neighbors in the full space, with their distances, nearest first."""
        pairs = zip(self.nearest[sample].tolist(), self.distances[sample].tolist(), strict=True)
        return [(self.names[i], d) for i, d in pairs]


def embedding(
    net: Network | nn.Module,
    data: Data,
    at: Site | str,
    *,
    how: How = "pca",
    neighbors: Neighbors = 10,
    metric: Metric = "cosine",
    keep: Keep = "float32",
    most: Annotated[int | None, Range(4, 10_000_000), "how many of the samples to take; none: all"] = None,
) -> Embedding:
    """A map of many samples by what the network makes of them at a site, with neighbors and the map's own trust.

    `data` is a folder of pictures, a tensor, a list or a data set.  One streaming pass keeps a vector a sample (the
    mean over places); inputs are dropped.  A second map from another start says how far chance placed things (t-SNE
    and UMAP).  With the cosine, vectors are brought to length one before anything else.  Raises `BadInput` for a site
    that there is not or too few samples, `Missing` when the map needs a package that is not there.

    >>> net = Network(torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)))
    >>> found = embedding(net, torch.eye(3).repeat(10, 1), "1", neighbors=3)
    >>> tuple(found.places.shape), found.trust.points
    ((30, 2), 30)
    """
    given = {"how": how, "neighbors": neighbors, "metric": metric, "keep": keep, "most": most}
    checked(options_of(embedding), given, "embedding")
    refuse_missing(how)
    net = opened(net)
    site, samples = site_of(net, at), collected(net, data, most)
    if len(samples) <= 2 * neighbors:
        raise BadInput(
            f"{len(samples)} samples were given for {neighbors} neighbors.", "Give more than twice as many samples."
        )
    with metered(net, str(site), samples) as origin:
        seen = _Seen(net, site, torch.float16 if keep == "float16" else torch.float32)
        stopped = streamed(net, samples, site, seen.make, seen.take, whole=True)
        features = torch.cat(seen.features)
        neighbors = min(neighbors, (len(features) - 1) // 2)
        if neighbors < 1:
            raise BadInput(f"Only {len(features)} samples could be read.", next(iter(samples.skipped.values()), ""))
        apart, numbers = nearest(features, neighbors, metric)
        points = scaled(features.float(), metric)
        made = reduced(points, how, neighbors=max(neighbors, 15))
        again = None if how == "pca" else reduced(points, how, neighbors=max(neighbors, 15), start=1).places
        trust = map_trust(features, made.places, neighbors, metric, again)
        return Embedding(
            features, made.places, numbers, apart.float(), *seen.answers(), seen.small(),
            tuple(samples.name(i) for i in seen.numbers), net.labels, how, metric,
            replace(trust, explained=made.explained), origin(len(features), stopped),
        )  # fmt: skip


class _Seen:
    """What is kept of each batch."""

    def __init__(self, net: Network, site: Site, dtype: torch.dtype) -> None:
        self.net, self.site, self.dtype = net, site, dtype
        self.layout: Layout | None = None
        self.numbers: list[int] = []
        self.features: list[Tensor] = []
        self._answers: list[Tensors] = []
        self._small: list[Tensor] = []

    def make(self, x: Tensors, answer: Answer) -> Tensors:
        """Of a batch: features, the class that the network sees, and small pictures."""
        self.layout = self.layout or layout_of(self.net, x, self.site)
        value = by_place(self.layout, answer.at[self.site]).float().mean(1)
        refuse_nonsense(value, self.site)
        small = small_pictures(self.net, x, SIDE) if len(self.numbers) < MOST_PICTURES else None
        return {"features": value.to(self.dtype).cpu(), **likeliest(answer)} | (
            {} if small is None else {"small": small}
        )

    def take(self, numbers: list[int], found: Tensors) -> None:
        """Keep what was made."""
        self.numbers += numbers
        self.features.append(found["features"])
        if "top" in found:
            self._answers.append({"top": found["top"].cpu(), "share": found["share"].cpu()})
        if "small" in found:
            self._small.append(found["small"])

    def answers(self) -> tuple[Tensor, Tensor]:
        """The classes and their shares; empty where there are none."""
        parts = self._answers
        if not parts:
            return torch.empty(0, dtype=torch.long), torch.empty(0)
        return torch.cat([p["top"] for p in parts]), torch.cat([p["share"] for p in parts])

    def small(self) -> Tensor:
        """The small pictures; empty where the samples are none."""
        size = (0, 3, SIDE, SIDE)
        return torch.cat(self._small)[:MOST_PICTURES] if self._small else torch.empty(size, dtype=torch.uint8)
