r"""Which parts of a data set excite a channel most: its strongest patches, and what it does on everything else.

For each channel $c$ at a site, the places $p$ of the samples $x_i$ with the largest activations

$$\operatorname{top}_k \{a_c(x_i, p)\}, \quad \text{at most } m \text{ from one sample}$$

each cut out of its sample by its exact receptive field (Zeiler, Fergus 2014, arXiv:1311.2901; the fields by Araujo,
Norris, Sim 2019).  One pass over the data; what is kept of it does not grow with it.

Good for: naming what a channel responds to, with real data; the reference that a dream is judged by.
Not for:  what the channel could respond to and the data do not hold: see `maximize`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Annotated, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.explanation import Cost
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.run import Meter, Run, current, running
from pellucid.core.samples import Collection, Samples
from pellucid.core.score import Score
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.target import channel
from pellucid.core.tensors import Tensors
from pellucid.dream.excited.cutting import Patch, Scissors
from pellucid.dream.excited.layout import Layout
from pellucid.dream.excited.tallies import Histogram, Statistics, Tally

BLOCK = 16  # samples that are tallied at once; passes are sized by memory, whatever this is
How: TypeAlias = Annotated[
    Literal["peak", "mean"], "what ranks the samples: the channel's strongest place, or its mean over all places"
]
Crop: TypeAlias = Annotated[
    Literal["field", "whole"], "what is cut out: the receptive field, or the whole sample with the field marked"
]


@dataclass(frozen=True, slots=True)
class Patches(Shown):
    """The strongest (`top`) and weakest (`bottom`) patches of each of `channels` at a site, strongest first.

    `values`, `peaks` and `means` are statistics of each channel: over every place of every sample, over each sample's
    largest activation, and over each sample's mean.  `zeros` is the share of activations that are exactly zero; a
    channel of which it is 1 was dead on these data.  `seen` of `total` samples were looked at; `skipped` are those
    that could not be read.  `stopped` says how far a stopped run came.  `colors`: the crops are colors.
    """

    site: str
    channels: tuple[int, ...]
    how: str
    crop: str
    top: tuple[tuple[Patch, ...], ...] = field(repr=False)
    bottom: tuple[tuple[Patch, ...], ...] = field(repr=False)
    values: Statistics = field(repr=False)
    peaks: Statistics = field(repr=False)
    means: Statistics = field(repr=False)
    zeros: Tensor = field(repr=False)
    histogram: Histogram = field(repr=False)
    seen: int
    total: int
    skipped: tuple[str, ...] = ()
    stopped: str = ""
    network: str = ""
    fingerprint: str = ""
    colors: bool = False
    axis: int | None = None
    without_rule: tuple[str, ...] = ()
    cost: Cost = field(default_factory=lambda: Cost(0, 0, 0.0))

    @property
    def maxima(self) -> Tensor:
        """The largest activation of each channel over all data, `[channels]`."""
        return self.peaks.greatest

    @property
    def mean(self) -> Tensor:
        """The mean activation of each channel over all places and samples, `[channels]`."""
        return self.values.mean

    @property
    def spread(self) -> Tensor:
        """The standard deviation of each channel's activations over all places and samples, `[channels]`."""
        return self.values.spread

    @property
    def dead(self) -> tuple[int, ...]:
        """The channels that were zero everywhere."""
        return tuple(c for c, share in zip(self.channels, self.zeros.tolist(), strict=True) if share == 1)

    def row(self, channel: int) -> int:
        """Which row of `top`, `values` and the others a channel has; raises `BadOption` when it was not asked for."""
        if channel not in self.channels:
            raise BadOption(f"Channel {channel} was not looked at.", f"These were: {_listed(self.channels)}.")
        return self.channels.index(channel)


def patches(
    net: Network | nn.Module,
    data: Samples,
    at: Site | str,
    channels: Sequence[int] | None = None,
    *,
    count: Annotated[int, Range(1, 1024), "patches of each channel"] = 9,
    bottom: Annotated[int, Range(0, 1024), "weakest patches of each channel"] = 0,
    per_sample: Annotated[int, Range(1, 1024), "patches of one channel that may come from one sample"] = 1,
    how: How = "peak",
    crop: Crop = "field",
    bins: Annotated[int, Range(4, 4096), "bins of the histograms"] = 64,
    axis: Annotated[int | None, Range(1, 8), "the axis of the channels, where it cannot be told"] = None,
) -> Patches:
    """The strongest patches of channels (by default all) at a site, over a data set, in one pass.

    `data` is a tensor `[samples, ...]`, a list, a torch data set or `pellucid.pictures`.  Of maps a patch is one place;
    of tokens one token; of plain units the whole sample.  Equal activations are ranked by their order in the data.
    Units are the network's own.  Raises `BadInput` for unknown sites and empty data, `BadOption` for channels that the
    site does not have.  A stop returns what is known.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
    >>> found = patches(net, torch.rand(4, 1, 8, 8), "1", count=2)
    >>> len(found.top), len(found.top[0]), found.top[0][0].crop.shape, found.seen
    (2, 2, torch.Size([1, 3, 3]), 4)
    """
    given = {"count": count, "bottom": bottom, "per_sample": per_sample, "how": how, "crop": crop, "bins": bins}
    options = checked(options_of(patches), {**given, "axis": axis}, "patches")
    network, site = net if isinstance(net, Network) else Network(net), at if isinstance(at, Site) else Site.parse(at)
    outer, collection = current(), Collection(network, data)
    with ExitStack() as stack:
        model = stack.enter_context(network.lease())
        run = stack.enter_context(running(replace(outer, meter=Meter(), progress=None)))  # told here, in samples
        stack.callback(outer.meter.add, run.meter)
        stack.enter_context(torch.no_grad())
        return _found(network, model, collection, site, channels, options, outer)


def _found(
    net: Network,
    model: nn.Module,
    samples: Collection,
    site: Site,
    channels: Sequence[int] | None,
    options: Mapping[str, Any],
    outer: Run,
) -> Patches:
    run, since = current(), time.monotonic()
    batches = samples.batches(min(BLOCK, run.max_batch or BLOCK))
    numbers, x = next(batches)
    one = like_the_model({k: v[:1] for k, v in x.items()}, model)
    scissors = Scissors(net, model, samples, site, options["crop"], options["how"], options["axis"])
    layout = scissors.layout(one)
    chosen = _chosen(channels, layout, site)
    tally = Tally(len(chosen), **{k: options[k] for k in ("count", "bottom", "per_sample", "how", "bins")})
    seen, pick = 0, partial(_picked, layout, None if channels is None else list(chosen))
    try:
        f = Score(net, channel(site, 0), model=model)
        for rows, value in _activations(f, model, _again(numbers, x, batches), site, pick):
            tally.add(value, torch.tensor(rows))
            seen += len(rows)
            outer.report("samples", seen, len(samples), since)
    except Stopped:
        if not seen:
            raise
    top, low = (scissors.patches(kept, chosen) for kept in (tally.top, tally.bottom))
    left = len(samples) - seen - len(samples.skipped)
    return Patches(
        site=str(site), channels=tuple(chosen), how=options["how"], crop=options["crop"], top=top, bottom=low,
        values=tally.values.statistics(), peaks=tally.peaks.statistics(), means=tally.means.statistics(),
        zeros=tally.zeros.double() / max(tally.values.count, 1), histogram=tally.counts.histogram(),
        seen=seen, total=len(samples), skipped=tuple(samples.skipped.values()),
        stopped=f"after {seen} of {len(samples)} samples" if left else "",
        network=net.name, fingerprint=net.fingerprint, colors=scissors.colors, axis=options["axis"],
        cost=Cost(run.meter.forwards, 0, time.monotonic() - since),
    )  # fmt: skip


def _chosen(channels: Sequence[int] | None, layout: Layout, site: Site) -> Sequence[int]:
    """The channels that are looked at; raises `BadOption` for those that there are not."""
    if channels is None:
        return range(layout.channels)
    chosen = [int(c) for c in channels]
    bad = next((c for c in chosen if not 0 <= c < layout.channels), None)
    if bad is not None:
        raise BadOption(f"Channel {bad} was asked for; {site} has channels 0 to {layout.channels - 1}.")
    if not chosen or len(set(chosen)) < len(chosen):
        raise BadOption(f"channels={_listed(chosen)}: expected at least one, and none twice.")
    return chosen


def _listed(channels: Sequence[int]) -> str:
    return ", ".join(map(str, channels[:12])) + (" ..." if len(channels) > 12 else "") or "none"


def _picked(layout: Layout, channels: list[int] | None, value: Tensor) -> Tensor:
    flat = layout.flat(value)
    return flat if channels is None else flat[:, channels]


Block: TypeAlias = tuple[list[int], Tensors]
Pick: TypeAlias = Callable[[Tensor], Tensor]


def _again(numbers: list[int], x: Tensors, batches: Iterator[Block]) -> Iterator[Block]:
    """The first block, which was looked at already, and all others."""
    yield numbers, x
    yield from batches


def _activations(
    f: Score, model: nn.Module, batches: Iterator[Block], site: Site, pick: Pick
) -> Iterator[tuple[list[int], Tensor]]:
    """The activations `[batch, channels, places]` of block after block; samples of one shape share passes."""

    def one(f: Score, x: Tensors, rows: Tensor) -> Tensors:
        return {"picked": pick(f.scored(x, rows)[0].at[site])}

    for _, alike in groupby(batches, key=lambda block: [tuple(v.shape[1:]) for v in block[1].values()]):
        waiting = deque[list[int]]()
        for found in f.passes(_noted(alike, waiting, model), one, "forward passes"):
            yield waiting.popleft(), found["picked"]
        if current().meter.stopped:
            return


def _noted(blocks: Iterator[Block], waiting: deque[list[int]], model: nn.Module) -> Iterator[Tensors]:
    """The samples of each block, for the model; their numbers wait until the results come."""
    for numbers, x in blocks:
        waiting.append(numbers)
        yield like_the_model(x, model)
