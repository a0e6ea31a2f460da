"""Where patches lie on maps, and how they are cut out of them and put into them: many at once, each at its own place.

Patches of one job share their size.  Along each axis they begin at one of a few starts, so that where they lie is
worked out in few numbers.  Maps are channels last: a position's
channels lie together in memory, so that cutting and pasting copies rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

Chosen = Int[Tensor, " patches"]  # for each patch, the number of its stretch
Corners = Int[Tensor, " patches"]
Patches = Float[Tensor, "patches channels _ _"]
Map = Float[Tensor, "1 channels _ _"]


@dataclass(frozen=True, slots=True)
class Span:
    """Stretches of one axis: `size` positions each, from one of `starts` on."""

    starts: tuple[int, ...]
    size: int

    def of(self, which: Chosen) -> Corners:
        """Where the stretches begin that patches lie in."""
        return torch.tensor(self.starts)[which]


Places = tuple[Span, Span]  # along the height, along the width


@dataclass(frozen=True, slots=True)
class Reach:
    """What a sliding window does along one axis: output o reads inputs o·step - pad ... o·step - pad + extent - 1."""

    extent: int
    step: int
    pad: int
    given: int
    made: int

    @property
    def margins(self) -> tuple[int, int]:
        """The room before and after the map that is read at most."""
        before = self.pad + (self.step if self.extent < self.step else 0)
        return before, max(0, (self.made - 1) * self.step + self.extent - self.pad - self.given) + self.step - 1


@dataclass(frozen=True, slots=True)
class Look:
    """How a window operation is computed along one axis.

    Of the map with its margins, the stretches `region` are read, in which the changed ones lie from `offsets` on.  Of
    the positions computed on it, those from `skip` on are `made`.
    """

    region: Span
    offsets: Span
    skip: int
    made: Span


@lru_cache(4096)
def look(reach: Reach, at: Span) -> Look:
    """The outputs that can see any of the changed inputs, and what has to be read to compute them.

    >>> look(Reach(3, 2, 1, 8, 4), Span((2,), 2))
    Look(region=Span(starts=(2,), size=5), offsets=Span(starts=(1,), size=2), skip=0, made=Span(starts=(1,), size=2))
    """
    step, extent, seen = reach.step, reach.extent, [start + reach.pad for start in at.starts]
    first = [max(0, -((extent - 1 - s) // step)) for s in seen]  # rounded up
    last = [min(reach.made - 1, (s + at.size - 1) // step) for s in seen]
    count = max(1, *(b - a + 1 for a, b in zip(first, last, strict=True)))
    first = [min(a, reach.made - count) for a in first]
    # where windows are closer than steps, a changed stretch may begin before what the first window reads
    lead = -(-max(0, *(a * step - s for a, s in zip(first, seen, strict=True))) // step) * step
    begin = [a * step - reach.pad - lead for a in first]
    offsets = tuple(s - b for s, b in zip(at.starts, begin, strict=True))
    length = max(lead + (count - 1) * step + extent, max(offsets) + at.size)
    before, _ = reach.margins
    region = Span(tuple(b + before for b in begin), length)
    return Look(region, Span(offsets, at.size), lead // step, Span(tuple(first), count))


@lru_cache(4096)
def union(spans: tuple[Span, ...], extent: int) -> Span:
    """Stretches of one size that hold all of the given ones, within `extent` positions.

    >>> union((Span((1,), 2), Span((4,), 3)), 9)
    Span(starts=(1,), size=6)
    """
    if len(set(spans)) == 1:
        return spans[0]
    start = [min(each) for each in zip(*(s.starts for s in spans), strict=True)]
    end = [max(each) for each in zip(*([a + s.size for a in s.starts] for s in spans), strict=True)]
    size = max(b - a for a, b in zip(start, end, strict=True))
    return Span(tuple(min(a, extent - size) for a in start), size)


def with_margins(v: Map, rows: Reach, columns: Reach, value: float) -> Map:
    """A map with the room around it that a sliding window reads."""
    amounts = (*columns.margins, *rows.margins)
    return functional.pad(v, amounts, value=value).contiguous(memory_format=torch.channels_last) if any(amounts) else v


def cut(v: Map, at: Places, which: tuple[Chosen, Chosen]) -> Patches:
    """The map's own content at the places."""
    height, width = v.shape[-2:]
    flat = v[0].permute(1, 2, 0).reshape(height * width, -1)
    where = _positions(at[0].of(which[0]), at[1].of(which[1]), at, width)
    found = flat.index_select(0, where.to(v.device).view(-1))
    return found.view(len(where), at[0].size, at[1].size, -1).permute(0, 3, 1, 2)


def paste(v: Patches, patches: Patches, at: Places, which: tuple[Chosen, Chosen]) -> Patches:
    """Put each patch into its own picture, at its own place; writes into `v`, whose channels lie together."""
    count, channels, height, width = v.shape
    where = _positions(at[0].of(which[0]), at[1].of(which[1]), at, width)
    where += (torch.arange(count) * (height * width)).view(-1, 1, 1)
    flat = v.permute(0, 2, 3, 1).view(-1, channels)
    flat.index_copy_(0, where.to(v.device).view(-1), patches.permute(0, 2, 3, 1).reshape(-1, channels))
    return v


def _positions(down: Corners, right: Corners, at: Places, width: int) -> Int[Tensor, "patches rows columns"]:
    inside = torch.arange(at[0].size)[:, None] * width + torch.arange(at[1].size)
    return (down * width + right).view(-1, 1, 1) + inside
