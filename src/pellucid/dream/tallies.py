"""What is kept of a stream of activations: the strongest ones, moments, a histogram.  None grows with the stream.

All are exact and do not depend on how the stream was cut into blocks, but for the rounding of sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import BadModel


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

    def __init__(self, channels: int, count: int, *, largest: bool = True, device: torch.device | None = None) -> None:
        self.count, self.largest = count, largest
        self.values = torch.empty(channels, 0, device=device)
        self.samples = torch.empty(channels, 0, dtype=torch.long, device=device)
        self.places = torch.empty(channels, 0, dtype=torch.long, device=device)

    def add(
        self, values: Float[Tensor, "channels new"], samples: Int[Tensor, " new"], places: Int[Tensor, "channels new"]
    ) -> None:
        """Take more values in, with the numbers of their samples and their places there."""
        if self.values.shape[1] == self.count and not bool(self._beats(values, self.values[:, -1:]).any()):
            return
        joined = torch.cat((self.values.to(values.dtype), values), 1)
        order = joined.sort(dim=1, descending=self.largest, stable=True).indices[:, : self.count]
        self.values = joined.gather(1, order)
        self.samples = torch.cat((self.samples, samples.expand(len(values), -1)), 1).gather(1, order)
        self.places = torch.cat((self.places, places), 1).gather(1, order)

    def _beats(self, new: Tensor, weakest: Tensor) -> Tensor:
        return new > weakest if self.largest else new < weakest


def strongest_places(
    v: Float[Tensor, "batch channels places"], count: int, *, largest: bool = True
) -> tuple[Float[Tensor, "channels found"], Int[Tensor, "channels found"]]:
    """The `count` strongest values of each sample's map and where they are, sample after sample."""
    values, places = [], []
    for turn in range(min(count, v.shape[2])):
        if turn:  # what was found is taken out; maps are as a rule asked for one place only
            out = -torch.inf if largest else torch.inf
            v = v.scatter(2, places[-1][..., None], out)
        found = v.max(2) if largest else v.min(2)
        values.append(found.values)
        places.append(found.indices)
    stacked = [torch.stack(parts, 2).movedim(1, 0).flatten(1) for parts in (values, places)]
    return stacked[0], stacked[1]


@dataclass(slots=True)
class Moments:
    """Running moments of each channel, merged block by block (Chan, Golub, LeVeque 1979)."""

    channels: int
    count: int = 0
    mean: Tensor = field(init=False)
    squares: Tensor = field(init=False)
    least: Tensor = field(init=False)
    greatest: Tensor = field(init=False)

    def __post_init__(self) -> None:
        zero = torch.zeros(self.channels, dtype=torch.float64)
        self.mean, self.squares = zero.clone(), zero.clone()
        self.least, self.greatest = zero + torch.inf, zero - torch.inf

    def add(self, v: Float[Tensor, "batch channels places"], ends: tuple[Tensor, Tensor] | None = None) -> None:
        """Take a block of values in; `ends` are each channel's least and greatest there, if they are known."""
        variance, mean = torch.var_mean(v, (0, 2), correction=0)
        variance, mean = variance.double().cpu(), mean.double().cpu()
        new, total = v.shape[0] * v.shape[2], self.count + v.shape[0] * v.shape[2]
        apart = mean - self.mean
        self.mean = self.mean + apart * (new / total)
        self.squares = self.squares + variance * new + apart.square() * (self.count * new / total)
        self.count = total
        low, high = torch.aminmax(v.movedim(1, 0).flatten(1), dim=1) if ends is None else ends
        self.least = self.least.minimum(low.double().cpu())
        self.greatest = self.greatest.maximum(high.double().cpu())

    def statistics(self) -> Statistics:
        """What is known so far."""
        return Statistics(self.least, self.greatest, self.mean, (self.squares / max(self.count, 1)).sqrt())


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
        samples = samples.to(v.device)
        peaks, at = v.max(2)
        lows = v.amin(2)
        low, high = lows.amin(0), peaks.amax(0)
        if not bool(torch.isfinite(low).all() & torch.isfinite(high).all()):
            bad = next(int(s) for s, part in zip(samples, v, strict=True) if not torch.isfinite(part).all())
            raise BadModel(f"The network puts out NaN or infinite values for sample {bad}.", "Look for overflow in it.")
        means = v.mean(2)
        self.values.add(v, (low, high))
        self.peaks.add(peaks[..., None], (peaks.amin(0), high))
        self.means.add(means[..., None])
        self.zeros += (v == 0).sum((0, 2)).cpu()
        self.counts.add(v, low, high)
        for kept in (self.top, self.bottom):
            if kept.count:
                kept.add(*self._ranked(kept, v, samples, (peaks, at), means))

    def _ranked(
        self, kept: Strongest, v: Tensor, samples: Tensor, peaks: tuple[Tensor, Tensor], means: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The values that compete, the numbers of their samples, their places."""
        if self.how == "mean":
            return means.T, samples, peaks[1].T
        if kept.largest and self.per_sample == 1:
            return peaks[0].T, samples, peaks[1].T
        values, places = strongest_places(v, self.per_sample, largest=kept.largest)
        return values, samples.repeat_interleave(values.shape[1] // len(samples)), places
