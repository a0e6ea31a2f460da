"""What a channel stands for: the samples in which it matters most (RelMax), beside those that excite it most.

One pass over a collection of any length: for each channel the few best samples are kept, and nothing else.  (Achtibat,
Dreyer, Eisenbraun, Bosse, Wiegand, Samek, Lapuschkin 2023, arXiv:2206.03208.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from pellucid.concepts.origin import Origin, Work, work_on
from pellucid.concepts.pictures import colors
from pellucid.concepts.relevance import let_through, through
from pellucid.concepts.sets import over_places
from pellucid.core.errors import BadInput, Stopped
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.run import current
from pellucid.core.samples import Collection, Samples
from pellucid.core.score import Score
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.spatial import image_input
from pellucid.core.target import Target
from pellucid.core.tensors import per_sample
from pellucid.rules.lrp import Preset
from pellucid.rules.lrp import preset as rules_of

_BATCH = 16
_MOST_CHOSEN = 64


@dataclass(frozen=True, slots=True)
class References(Shown):
    """The samples that show best what channels stand for.

    `channels`: which, in the order of the rows.  `samples`: the numbers of the samples with the largest relevance, the
    best first (-1 where there are no more with any), `relevance` how much, in the score's unit; `excited` and `values`
    the same by mean activation.  `pictures` and `maps` (conditional relevance, summed over color channels) are those of
    `samples`.  `seen`: how many samples there were.
    """

    channels: tuple[int, ...]
    samples: Int64[Tensor, "channels best"]
    relevance: Float[Tensor, "channels best"]
    excited: Int64[Tensor, "channels best"] = field(repr=False)
    values: Float[Tensor, "channels best"] = field(repr=False)
    pictures: UInt8[Tensor, "channels best 3 height width"] = field(repr=False)
    maps: Float[Tensor, "channels best height width"] = field(repr=False)
    names: tuple[tuple[str, ...], ...]
    seen: int
    origin: Origin

    @property
    def shared(self) -> tuple[float, ...]:
        """For each channel, the share of its samples that are among those that excite it most, too."""
        pairs = zip(self.samples.tolist(), self.excited.tolist(), strict=True)
        kept = [([i for i in a if i >= 0], set(b)) for a, b in pairs]
        return tuple(sum(i in b for i in a) / len(a) if a else float("nan") for a, b in kept)


def references(
    net: Network | nn.Module,
    data: Samples,
    target: Target | int | str,
    at: Site | str,
    channels: Sequence[int] | None = None,
    *,
    best: Annotated[int, Range(1, 64), "samples a channel"] = 6,
    most: Annotated[int, Range(1, _MOST_CHOSEN), "channels, when none are named: the most relevant ones"] = 8,
    preset: Annotated[Preset, "which rule for which layer, as for pl.methods.lrp"] = "epsilon_plus_flat",
) -> References:
    """For each channel at a site, the samples in which it is most relevant for the target, with its maps.

    Without `channels`, those whose relevance is largest on average over the samples.  Costs a forward and a backward
    pass a sample, and both again for each picture that is shown.  A stopped run has what was seen so far.  Raises
    `BadInput` when samples are no pictures, and for channels that the site has not.

    >>> import pellucid as pl
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    >>> found = pl.concepts.references(net, torch.rand(9, 3, 6, 6), 1, "1", [0, 2], best=3)
    >>> found.samples.shape, found.seen
    (torch.Size([2, 3]), 9)
    """
    options: dict[str, Any] = {"best": best, "most": most, "preset": preset}
    checked(options_of(references, among=options), options, "references")
    site = at if isinstance(at, Site) else Site.parse(at)
    with work_on(net, target) as work:
        shared = work.f.under(rules_of(preset, None, None))
        collection = Collection(work.f.net, data)
        tally = _tally(work.f, shared, collection, site, best)
        chosen = _chosen(tally, channels, most, site)
        return _shown(work, shared, collection, site, tally, chosen, options)


@dataclass(slots=True)
class _Best:
    """The largest values of each channel so far, and whose they are: `[channels, best]`."""

    values: Tensor
    whose: Tensor

    def take(self, values: Float[Tensor, "batch channels"], numbers: list[int]) -> None:
        """Some more samples."""
        fresh = torch.tensor(numbers).expand(values.shape[1], -1)
        together, whose = torch.cat((self.values, values.T), 1), torch.cat((self.whose, fresh), 1)
        order = together.argsort(dim=1, descending=True, stable=True)[:, : self.values.shape[1]]
        self.values, self.whose = together.gather(1, order), whose.gather(1, order)


@dataclass(slots=True)
class _Tally:
    relevant: _Best
    excited: _Best
    sums: Tensor
    seen: int = 0


def _tally(f: Score, shared: Score, collection: Collection, site: Site, best: int) -> _Tally:
    """One pass over the collection."""
    tally: _Tally | None = None
    run = current()
    for numbers, batch in collection.batches(_BATCH):
        assert f.model is not None  # noqa: S101 (bound)
        x = like_the_model(batch, f.model)
        score = f(x)
        seen = through(shared, x, site)
        relevant = (over_places(f.net, seen.grad, site, sum_up=True) * score[:, None]).cpu()
        active = over_places(f.net, seen.value, site, sum_up=False).cpu()
        if tally is None:
            tally = _Tally(_none(relevant, best), _none(relevant, best), torch.zeros(relevant.shape[1]).double())
        tally.relevant.take(relevant, numbers)
        tally.excited.take(active, numbers)
        tally.sums += relevant.double().sum(0)
        tally.seen += len(numbers)
        if run.stopping():
            run.meter.stopped = f"after {tally.seen} of {len(collection)} samples"
            break
    if tally is None:
        raise Stopped("Stopped before one sample was seen.", "Run it again.")
    return tally


def _none(like: Tensor, best: int) -> _Best:
    shape = (like.shape[1], best)
    return _Best(torch.full(shape, float("-inf"), dtype=like.dtype), torch.full(shape, -1))


def _chosen(tally: _Tally, channels: Sequence[int] | None, most: int, site: Site) -> list[int]:
    count = len(tally.sums)
    if channels is None:
        return tally.sums.argsort(descending=True, stable=True)[:most].tolist()
    wrong = next((c for c in channels if not 0 <= c < count), None)
    if wrong is not None or not 0 < len(channels) <= _MOST_CHOSEN:
        asked = f"Channel {wrong} was" if wrong is not None else f"{len(channels)} channels were"
        raise BadInput(f"{asked} asked for; {site} has 0 to {count - 1}, and at most {_MOST_CHOSEN} are shown.")
    return list(channels)


def _shown(
    work: Work,
    shared: Score,
    collection: Collection,
    site: Site,
    tally: _Tally,
    chosen: list[int],
    options: dict[str, Any],
) -> References:
    """The pictures again, each with the map of its channel; samples without relevance are left out."""
    relevant = tally.relevant.values[chosen]
    whose = torch.where(relevant > 0, tally.relevant.whose[chosen], -1)
    pictures: list[Tensor] = []
    maps: list[Tensor] = []
    names: list[tuple[str, ...]] = []
    for row, channel in zip(whose.tolist(), chosen, strict=True):
        seen = [_one(shared, collection, i, site, channel) if i >= 0 else None for i in row]
        blank = next((s for s in seen if s is not None), None) or _one(shared, collection, 0, site, channel)
        filled = [s or (torch.zeros_like(blank[0]), torch.zeros_like(blank[1])) for s in seen]
        pictures.append(torch.stack([p for p, _ in filled]))
        maps.append(torch.stack([m for _, m in filled]))
        names.append(tuple(collection.name(i) if i >= 0 else "" for i in row))
    return References(
        channels=tuple(chosen),
        samples=whose,
        relevance=torch.where(relevant > 0, relevant, 0.0),
        excited=tally.excited.whose[chosen],
        values=tally.excited.values[chosen],
        pictures=torch.stack(pictures),
        maps=torch.stack(maps),
        names=tuple(names),
        seen=tally.seen,
        origin=work.origin(str(site), options, tuple(collection.skipped.values())),
    )


def _one(shared: Score, collection: Collection, i: int, site: Site, channel: int) -> tuple[Tensor, Tensor]:
    """A sample as a person sees it, and the channel's map on it."""
    assert shared.model is not None  # noqa: S101 (bound)
    x = like_the_model(collection[i], shared.model)
    name = image_input(x)
    score = Score(shared.net, shared.target, model=shared.model)(x)
    found = let_through(shared, site, [channel]).grad(x)[name] * per_sample(score, x[name])
    return colors(shared.net, x[name])[0], found[0].sum(0).cpu()
