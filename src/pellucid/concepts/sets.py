"""Sets of samples as vectors at sites, and how concept, random and class samples are drawn from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.concepts.sites import exact
from pellucid.core.counts import count, were_given
from pellucid.core.errors import BadInput
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.run import current
from pellucid.core.samples import Collection, Samples
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import batch_size, digest, rows

LEAST = 6  # samples of a concept
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Sets:
    """Vectors by site and name of the set (None: the random samples), `size` of which take part in a run."""

    vectors: Mapping[tuple[Site, str | None], Float[Tensor, "samples channels"]] = field(repr=False)
    size: int
    relative: bool
    notes: tuple[str, ...] = ()

    def chance(self, site: Site, run: int) -> tuple[Tensor, Tensor]:
        """Random samples in a concept's place, and the random samples that they are told from: none in both."""
        pool = self.vectors[site, None]
        order = torch.randperm(len(pool), generator=current().generator("random sets", run))
        return pool[order[: self.size]], pool[order[self.size :]]

    def concept(self, site: Site, name: str, run: int) -> tuple[Tensor, Tensor]:
        """A concept's samples, and those that they are told from: as many as `chance` has."""
        mine, rest = _some(self.vectors[site, name], self.size, name, run), self.chance(site, run)[1]
        if not self.relative:
            return mine, rest
        rivals = [v for (s, other), v in self.vectors.items() if s == site and other not in (None, name)]
        return mine, _some(torch.cat(rivals), len(rest), f"not {name}", run)


def _some(v: Tensor, size: int, name: str, run: int) -> Tensor:
    return v[torch.randperm(len(v), generator=current().generator("concept", name, run))[:size]]


def sets_of(
    f: Score, concepts: Mapping[str, Samples], random: Samples, sites: tuple[Site, ...], *, relative: bool
) -> Sets:
    """Every set at every site; raises `BadInput` for sets that are too small, or that share a sample."""
    if not concepts:
        raise BadInput("No concept was given.", 'Give samples by name: {"striped": pictures}.')
    if relative and len(concepts) < 2:
        raise BadInput("A relative test tells concepts from each other; one was given.", "Give at least two.")
    _refuse_small(concepts, random)
    vectors: dict[tuple[Site, str | None], Tensor] = {}
    seen: dict[str, str] = {}
    notes: list[str] = []
    for name, data in ((None, random), *concepts.items()):
        collection = Collection(f.net, data)
        for site, v in _vectors(f, collection, sites, seen, name or "the random samples").items():
            vectors[site, name] = v
        notes.extend(collection.skipped.values())
    sizes = {name: len(v) for (_, name), v in vectors.items()}
    _refuse_small({k: range(n) for k, n in sizes.items() if k is not None}, range(sizes[None]))
    size = min(min(n for k, n in sizes.items() if k is not None), sizes[None] // 2)
    return Sets(vectors, size, relative, tuple(notes))


def _refuse_small(concepts: Mapping[str, Samples], random: Samples) -> None:
    small = next((name for name, data in concepts.items() if len(data) < LEAST), None)
    if small is not None:
        raise BadInput(
            f"The concept {small!r} has {count(len(concepts[small]), 'sample')}; at least {LEAST} are needed."
        )
    if len(random) < 2 * LEAST:
        raise BadInput(f"{were_given(len(random), 'random sample')}; at least {2 * LEAST} are needed.", "Give more.")


def _vectors(
    f: Score, collection: Collection, sites: tuple[Site, ...], seen: dict[str, str], name: str
) -> dict[Site, Tensor]:
    """A set's values at the sites, averaged over places; samples that another set holds are refused."""
    parts: dict[Site, list[Tensor]] = {s: [] for s in sites}
    for numbers, batch in collection.batches(_BATCH):
        for row, i in enumerate(numbers):
            key = " ".join(digest(v[row]) for v in batch.values())
            if seen.setdefault(key, name) != name:
                raise BadInput(
                    f"{collection.name(i)} is in {name} and in {seen[key]}: the sets overlap.",
                    "Take it out of one of them.",
                )
        assert f.model is not None  # noqa: S101 (bound by whoever leases)
        values = f.values(like_the_model(batch, f.model), *sites)
        for s in sites:
            parts[s].append(over_places(f.net, values[s].detach(), s, sum_up=False))
    return {s: torch.cat(v) for s, v in parts.items()}


def slopes_of(f: Score, data: Samples, sites: tuple[Site, ...]) -> dict[Site, Float[Tensor, "samples channels"]]:
    """The slope of the score at the sites, summed over places, for every sample of the class."""
    parts: dict[Site, list[Tensor]] = {s: [] for s in sites}
    for _, batch in Collection(f.net, data).batches(_BATCH):
        assert f.model is not None  # noqa: S101 (bound by whoever leases)
        x = like_the_model(batch, f.model)
        for i in range(0, batch_size(x), _BATCH):
            seen = f.watch(rows(x, i, i + _BATCH), *sites)
            for s in sites:
                parts[s].append(over_places(f.net, seen[s].grad, s, sum_up=True))
    return {s: torch.cat(v) for s, v in parts.items()}


def over_places(net: Network, v: Tensor, site: Site, *, sum_up: bool) -> Float[Tensor, "batch channels"]:
    """One number a channel: the mean over places, or the sum.  Tokens `[batch, tokens, width]` have width channels."""
    if v.ndim < 2:
        raise BadInput(f"Site {str(site)!r} holds {tuple(v.shape)}; a direction needs [batch, channels, ...].")
    v = exact(v).movedim(channel_axis(net, v.ndim), 1)
    flat = v.flatten(2) if v.ndim > 2 else v[:, :, None]
    return flat.sum(2) if sum_up else flat.mean(2)


def channel_axis(net: Network, axes: int) -> int:
    """Which axis counts channels: 1, but the last of `[batch, tokens, width]`."""
    return 2 if axes == 3 and not any(isinstance(m, nn.Conv1d) for m in net.model.modules()) else 1
