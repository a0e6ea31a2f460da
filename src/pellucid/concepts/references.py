"""What a channel stands for: the samples in which it matters most (RelMax), beside those that excite it most.

One pass over a collection of any length: for each channel the few best samples are kept, and nothing else.  (Achtibat,
Dreyer, Eisenbraun, Bosse, Wiegand, Samek, Lapuschkin 2023, arXiv:2206.03208.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from pellucid.concepts.pictures import colors
from pellucid.concepts.relevance import let_through, through
from pellucid.concepts.sets import over_places
from pellucid.concepts.work import Work, work_on
from pellucid.core.errors import BadInput, Stopped
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.origin import Origin
from pellucid.core.run import current, running
from pellucid.core.samples import Collection, Samples
from pellucid.core.score import Score
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.spatial import image_input
from pellucid.core.target import Target, logit
from pellucid.core.tensors import Tensors, per_sample
from pellucid.rules.lrp import Preset
from pellucid.rules.lrp import preset as rules_of

_BATCH = 16
_MOST_CHOSEN = 64


@dataclass(frozen=True, slots=True)
class References(Shown):
    """The samples that show best what channels stand for.

    `channels`: which, in the order of the rows.  `samples`: the numbers of the samples with the largest relevance, the
    best first (-1 where there are no more with any), `relevance` how much, as a share of all there is at the site or in
    the score's unit; `excited` and `values` the same by mean activation.  `pictures` and `maps` (conditional relevance,
    summed over color channels) are those of `samples`.  `seen`: how many samples there were.
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
    target: Target | int | str | None,
    at: Site | str,
    channels: Sequence[int] | None = None,
    *,
    best: Annotated[int, Range(1, 64), "samples a channel"] = 6,
    most: Annotated[int, Range(1, _MOST_CHOSEN), "channels, when none are named: the most relevant ones"] = 8,
    share: Annotated[bool, "count relevance as a share of all there is at the site, not in the score's unit"] = True,
    preset: Annotated[Preset, "which rule for which layer, as for pl.methods.lrp"] = "epsilon_plus_flat",
) -> References:
    """For each channel at a site, the samples in which it is most relevant for the target, with its maps.

    Without a target, for each sample's likeliest class.  Without `share`, samples with large scores come first for
    every channel.  Without `channels`, those whose relevance is largest on average over the samples.  Costs a forward
    and a backward pass a sample, and both again for each picture that is shown.  A stopped run has what was seen so
    far.  Raises `BadInput` when samples are no pictures, and for channels that the site has not.

    >>> import pellucid as pl
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    >>> found = pl.concepts.references(net, torch.rand(9, 3, 6, 6), 1, "1", [0, 2], best=3)
    >>> found.samples.shape, found.seen
    (torch.Size([2, 3]), 9)
    """
    options: dict[str, Any] = {"best": best, "most": most, "share": share, "preset": preset}
    checked(options_of(references, among=options), options, "references")
    site = at if isinstance(at, Site) else Site.parse(at)
    with work_on(net, 0 if target is None else target) as work:
        asked = _Asked(work.f, Collection(work.f.net, data), site, preset, own=target is None, share=share)
        tally = _tally(asked, best)
        chosen = _chosen(tally, channels, most, site)
        found = _shown(work, asked, tally, chosen, options)
        return found if target is not None else _of_own(found)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of which samples; `own`: each sample's likeliest class."""

    f: Score
    collection: Collection
    site: Site
    preset: Preset
    own: bool
    share: bool

    def like(self, x: Tensors) -> Tensors:
        """Samples as the network takes them."""
        assert self.f.model is not None  # noqa: S101 (bound by whoever leases)
        return like_the_model(x, self.f.model)

    def score(self, x: Tensors) -> Score:
        """The score of these samples."""
        if not self.own:
            return self.f
        outputs = self.f.outputs(x)
        if outputs.ndim != 2:
            raise BadInput(f"{self.f.net.name} puts out {tuple(outputs.shape)}: no likeliest class.", "Name a target.")
        return replace(self.f, target=logit(outputs.argmax(1).tolist()))

    def under_rules(self, f: Score) -> Score:
        """The score whose gradient is relevance."""
        return f.under(rules_of(self.preset, None, None))


def _of_own(found: References) -> References:
    return replace(found, origin=replace(found.origin, target="each sample's likeliest class"))


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


def _tally(asked: _Asked, best: int) -> _Tally:
    """One pass over the collection."""
    tally: _Tally | None = None
    run, site, net = current(), asked.site, asked.f.net
    for numbers, batch in asked.collection.batches(_BATCH):
        x = asked.like(batch)
        f = asked.score(x)
        seen = through(asked.under_rules(f), x, site)
        relevant = (over_places(net, seen.grad, site, sum_up=True) * f(x)[:, None]).cpu()
        if asked.share:
            relevant = relevant / relevant.abs().sum(1, keepdim=True).clamp(min=torch.finfo(relevant.dtype).tiny)
        active = over_places(net, seen.value, site, sum_up=False).cpu()
        if tally is None:
            tally = _Tally(_none(relevant, best), _none(relevant, best), torch.zeros(relevant.shape[1]).double())
        tally.relevant.take(relevant, numbers)
        tally.excited.take(active, numbers)
        tally.sums += relevant.double().sum(0)
        tally.seen += len(numbers)
        if run.stopping():
            run.meter.stopped = f"after {tally.seen} of {len(asked.collection)} samples"
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


def _shown(work: Work, asked: _Asked, tally: _Tally, chosen: list[int], options: dict[str, Any]) -> References:
    """The pictures again, each with the map of its channel; samples without relevance are left out."""
    relevant, names = tally.relevant.values[chosen], asked.collection.name
    whose = torch.where(relevant > 0, tally.relevant.whose[chosen], -1)
    with running(replace(current(), stop=None)):  # what was finished is put together
        rows = [[_one(asked, i, c) for i in row] for row, c in zip(whose.tolist(), chosen, strict=True)]
    return References(
        channels=tuple(chosen),
        samples=whose,
        relevance=torch.where(relevant > 0, relevant, 0.0),
        excited=tally.excited.whose[chosen],
        values=tally.excited.values[chosen],
        pictures=torch.stack([torch.stack([p for p, _ in row]) for row in rows]),
        maps=torch.stack([torch.stack([m for _, m in row]) for row in rows]),
        names=tuple(tuple(names(i) if i >= 0 else "" for i in row) for row in whose.tolist()),
        seen=tally.seen,
        origin=work.origin(str(asked.site), options, tuple(asked.collection.skipped.values())),
    )


def _one(asked: _Asked, i: int, channel: int) -> tuple[Tensor, Tensor]:
    """A sample as a person sees it, and the channel's map on it; nothing in either where there is no sample."""
    first = next(n for n in range(len(asked.collection)) if n not in asked.collection.skipped)
    x = asked.like(asked.collection[max(i, first)])
    name = image_input(x)
    if i < 0:
        return torch.zeros_like(colors(asked.f.net, x[name])[0]), torch.zeros_like(x[name][0, 0]).cpu()
    f = asked.score(x)
    found = let_through(asked.under_rules(f), asked.site, [channel]).grad(x)[name] * per_sample(f(x), x[name])
    return colors(asked.f.net, x[name])[0], found[0].sum(0).cpu()
