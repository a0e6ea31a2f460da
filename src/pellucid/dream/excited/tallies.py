"""What is kept of a stream of activations: the strongest ones, moments, a histogram.  None grows with the stream.

All are exact and do not depend on how the stream was cut into blocks, but for the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import BadModel

Find: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (columns, channels) of what is kept -> places


@dataclass(frozen=True, slots=True)
class Statistics:
    """Least, greatest, mean and standard deviation (of the population) of each channel, float64 `[channels]`."""

    least: Tensor
    greatest: Tensor
    mean: Tensor
    spread: Tensor


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values of each channel fell into each bin.

    Bin j of channel c holds `width[c] * (first[c] + j) <= value < width[c] * (first[c] + j + 1)`.  A width is the
    smallest power of two with which the bins cover all of the channel's values, so counts are exact, and a quantile
    read off them is wrong by less than one width.
    """

    counts: Int[Tensor, "channels bins"]
    first: Int[Tensor, " channels"]
    width: Float[Tensor, " channels"]

    def edges(self, channel: int) -> Float[Tensor, " edges"]:
        """The borders of one channel's bins, one more than there are bins."""
        steps = torch.arange(self.counts.shape[1] + 1, dtype=torch.float64)
        return float(self.width[channel]) * (float(self.first[channel]) + steps)


class Strongest:
    """The `count` largest (or smallest) values of each channel so far, strongest first; of equal ones the earliest."""

    def __init__(self, channels: int, count: int, *, largest: bool = True) -> None:
        self.count, self.largest = count, largest
        self.values = torch.empty(channels, 0)
        self.samples = torch.empty(channels, 0, dtype=torch.long)
        self.places = torch.empty(channels, 0, dtype=torch.long)

    def add(self, values: Float[Tensor, "channels new"], samples: Int[Tensor, " new"], find: Find) -> None:
        """Take more values in, with the numbers of their samples; `find` gives the places of those that are kept."""
        values, had = values.cpu(), self.values.shape[1]
        if had == self.count and not bool(self._beats(values, self.values[:, -1:]).any()):
            return
        joined = torch.cat((self.values.to(values.dtype), values), 1)
        order = joined.sort(dim=1, descending=self.largest, stable=True).indices[:, : self.count]
        self.values = joined.gather(1, order)
        self.samples = torch.cat((self.samples, samples.expand(len(values), -1)), 1).gather(1, order)
        unknown = torch.full_like(values, -1, dtype=torch.long)
        self.places = torch.cat((self.places, unknown), 1).gather(1, order)
        rows, ranks = (order >= had).nonzero(as_tuple=True)
        self.places[rows, ranks] = find(order[rows, ranks] - had, rows).cpu()

    def _beats(self, new: Tensor, weakest: Tensor) -> Tensor:
        return new > weakest if self.largest else new < weakest


def strongest_places(
    v: Float[Tensor, "batch channels places"], count: int, *, largest: bool = True
) -> tuple[Float[Tensor, "channels found"], Int[Tensor, "channels found"]]:
    """The `count` strongest values of each sample's map and where they are, sample after sample."""
    values, places = list[Tensor](), list[Tensor]()
    for turn in range(min(count, v.shape[2])):
        if turn:  # what was found is taken out
            v = v.scatter(2, places[-1][..., None], -torch.inf if largest else torch.inf)
        found = v.max(2) if largest else v.min(2)
        values.append(found.values)
        places.append(found.indices)
    stacked = [torch.stack(parts, 2).movedim(1, 0).flatten(1) for parts in (values, places)]
    return stacked[0], stacked[1]


class Moments:
    """Running moments of each channel; sums are of distances from the first block's means, so that little cancels."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.origin = torch.empty(0)
        self.sums, self.squares = torch.zeros(2, channels, dtype=torch.float64)
        self.least, self.greatest = torch.tensor([[torch.inf], [-torch.inf]], dtype=torch.float64).expand(2, channels)

    def add(self, v: Float[Tensor, "batch channels places"], means: Tensor, least: Tensor, greatest: Tensor) -> None:
        """Take a block of values in, with the mean of each map and each channel's least and greatest value there."""
        if not self.count:
            self.origin = means.mean(0)
        places = v.shape[2]
        self.count += v.shape[0] * places
        self.sums = self.sums + places * (means.cpu().double() - self.origin.cpu().double()).sum(0)
        far = torch.linalg.vector_norm(v - self.origin[:, None], dim=2).cpu().double()
        self.squares = self.squares + far.square().sum(0)
        self.least, self.greatest = self.least.minimum(least.cpu()), self.greatest.maximum(greatest.cpu())

    def statistics(self) -> Statistics:
        """What is known so far."""
        apart = self.sums / self.count
        variance = self.squares / self.count - apart.square()
        mean = (self.origin.cpu().double() + apart).clamp(self.least, self.greatest)  # but for rounding it is there
        return Statistics(self.least, self.greatest, mean, variance.clamp(min=0).sqrt())


class Counts:
    """A running histogram: where the range outgrows the bins, neighboring ones are joined, two by two."""

    def __init__(self, channels: int, bins: int) -> None:
        self.counts = torch.zeros(channels, bins, dtype=torch.long)
        self.exponent = torch.full((channels,), -1022, dtype=torch.long)
        self.first = torch.zeros(channels, dtype=torch.long)
        self.least, self.greatest = torch.full((2, channels), torch.nan, dtype=torch.float64)

    def add(self, v: Float[Tensor, "batch channels places"], least: Tensor, greatest: Tensor) -> None:
        """Take a block of values in; `least` and `greatest` are each channel's in this block."""
        self._widen(least.double().cpu(), greatest.double().cpu())
        channels, bins = self.counts.shape
        scale = torch.exp2(-self.exponent.double()).to(v.dtype)[:, None].to(v.device)  # exact: a power of two
        number = (v * scale).floor_().to(torch.int32)
        start = (torch.arange(channels) * bins - self.first).to(torch.int32)[:, None].to(v.device)
        found = torch.bincount((number + start).flatten(), minlength=channels * bins)
        self.counts += found.view(channels, bins).cpu()

    def _widen(self, least: Tensor, greatest: Tensor) -> None:
        least, greatest = least.fmin(self.least), greatest.fmax(self.greatest)
        if torch.equal(least, self.least) and torch.equal(greatest, self.greatest):
            return
        self.least, self.greatest = least, greatest
        bins = self.counts.shape[1]
        size = torch.maximum(least.abs(), greatest.abs())
        # 2**23 widths reach any value: what a float32 can tell apart, and what a 32-bit number can count
        finest = torch.where(size > 0, torch.frexp(size).exponent.long() - 23, -100).clamp(min=-100)
        wanted = torch.maximum(self.exponent, finest)
        while bool((over := _cells(least, greatest, wanted) > bins).any()):
            wanted = wanted + over.long()
        shift = (wanted - self.exponent).clamp(max=62)
        first = (least * torch.exp2(-wanted.double())).floor().long()
        old = (torch.arange(bins) + self.first[:, None]) >> shift[:, None]
        place = (old - first[:, None]).clamp(0, bins - 1)  # what lies beyond has counted nothing
        self.counts = torch.zeros_like(self.counts).scatter_add_(1, place, self.counts)
        self.exponent, self.first = wanted, first

    def histogram(self) -> Histogram:
        """What is known so far."""
        return Histogram(self.counts, self.first, torch.exp2(self.exponent.double()))


def _cells(least: Tensor, greatest: Tensor, exponent: Tensor) -> Tensor:
    scale = torch.exp2(-exponent.double())
    return (greatest * scale).floor() - (least * scale).floor() + 1


class Tally:
    """Everything that is kept of the activations of some channels at a site."""

    def __init__(self, channels: int, *, count: int, bottom: int, per_sample: int, how: str, bins: int) -> None:
        self.per_sample, self.how = per_sample, how
        self.top = Strongest(channels, count)
        self.bottom = Strongest(channels, bottom, largest=False)
        self.values, self.peaks, self.means = Moments(channels), Moments(channels), Moments(channels)
        self.zeros = torch.zeros(channels, dtype=torch.long)
        self.counts = Counts(channels, bins)

    def add(self, v: Float[Tensor, "batch channels places"], samples: Int[Tensor, " batch"]) -> None:
        """Take the activations of some samples in."""
        v = v.to(torch.promote_types(v.dtype, torch.float32)).contiguous()
        peaks, means, lows = v.amax(2), v.mean(2), v.amin(2)
        low, high = lows.amin(0), peaks.amax(0)
        if not bool(torch.isfinite(low).all() & torch.isfinite(high).all()):
            bad = next(int(s) for s, part in zip(samples, v, strict=True) if not torch.isfinite(part).all())
            raise BadModel(f"The network puts out NaN or infinite values for sample {bad}.", "Look for overflow in it.")
        self.values.add(v, means, low, high)
        self.peaks.add(peaks[..., None], peaks, peaks.amin(0), high)
        self.means.add(means[..., None], means, means.amin(0), means.amax(0))
        self.zeros += v.shape[0] * v.shape[2] - torch.linalg.vector_norm(v, 0, dim=2).sum(0).long().cpu()
        self.counts.add(v, low, high)
        ranked = {"peak": peaks, "mean": means}[self.how]
        for kept in (self.top, self.bottom):
            if kept.count:
                self._rank(kept, v, ranked, samples)

    def _rank(self, kept: Strongest, v: Tensor, ranked: Tensor, samples: Tensor) -> None:
        if self.how == "mean" or (self.per_sample == 1 and kept.largest):
            kept.add(ranked.T, samples, lambda batch, channel: v[batch, channel].argmax(1))
        else:
            values, places = strongest_places(v, self.per_sample, largest=kept.largest)
            turns = values.shape[1] // len(samples)
            kept.add(values, samples.repeat_interleave(turns), lambda column, channel: places[channel, column])
