"""Where patches lie on maps, and how they are cut out of them and put into them: many at once, each at its own place.

Patches of one job share their size; corners are whole numbers, one a patch.  Maps are channels last: a position's
channels lie together in memory, so that cutting and pasting copies rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

Corners = Int[Tensor, " patches"]
Patches = Float[Tensor, "patches channels height width"]
Map = Float[Tensor, "1 channels height width"]


@dataclass(frozen=True, slots=True)
class Span:
    """Stretches of one axis: `size` positions each, from `start` on."""

    start: Corners
    size: int

    def rows(self, some: Int[Tensor, " chosen"]) -> Span:
        """Some of the stretches."""
        return Span(self.start[some], self.size)

    def same(self, other: Span) -> bool:
        """Are these the same stretches?"""
        return self.size == other.size and torch.equal(self.start, other.start)


Places = tuple[Span, Span]  # along the height, along the width


@dataclass(frozen=True, slots=True)
class Reach:
    """What a sliding window does along one axis: output o reads inputs o·step - pad ... o·step - pad + extent - 1."""

    extent: int
    step: int
    pad: int
    given: int
    made: int


@dataclass(frozen=True, slots=True)
class Look:
    """How a window operation is computed along one axis.

    The input's map gets margins `before` and `after`; from there the stretches `region` are read, in which the changed
    stretches lie at `offset`.  Of the positions computed on it, those from `skip` on are `made`.
    """

    region: Span
    offset: Corners
    before: int
    after: int
    skip: int
    made: Span


def look(reach: Reach, at: Span) -> Look:
    """The outputs that can see any of the changed inputs, and what has to be read to compute them.

    >>> found = look(Reach(3, 2, 1, 8, 4), Span(torch.tensor([2]), 2))
    >>> found.made, found.region
    (Span(start=tensor([1]), size=2), Span(start=tensor([1]), size=5))
    """
    step, first_seen = reach.step, at.start + reach.pad
    first = (-((reach.extent - 1 - first_seen) // step)).clamp(min=0)  # rounded up
    last = ((first_seen + at.size - 1) // step).clamp(max=reach.made - 1)
    count = max(1, int((last - first).max()) + 1)
    first = first.clamp(max=reach.made - count)
    # where windows are closer than steps, a changed stretch may begin before what the first window reads
    lead = -(-max(0, int((first * step - first_seen).max())) // step) * step
    begin = first * step - reach.pad - lead
    offset = at.start - begin
    length = max(lead + (count - 1) * step + reach.extent, int(offset.max()) + at.size)
    before = max(0, -int(begin.min()))
    after = max(0, int(begin.max()) + length - reach.given)
    return Look(Span(begin + before, length), offset, before, after, lead // step, Span(first, count))


def union(spans: Sequence[Span], extent: int) -> Span:
    """Stretches of one size that hold all of the given ones, within `extent` positions.

    >>> union([Span(torch.tensor([1]), 2), Span(torch.tensor([4]), 3)], 9)
    Span(start=tensor([1]), size=6)
    """
    if all(spans[0].same(s) for s in spans[1:]):
        return spans[0]
    start = torch.stack([s.start for s in spans]).amin(0)
    end = torch.stack([s.start + s.size for s in spans]).amax(0)
    size = int((end - start).max())
    return Span(start.clamp(max=extent - size), size)


def with_margins(v: Map, rows: Look, columns: Look, value: float) -> Map:
    """A map with room around it."""
    amounts = (columns.before, columns.after, rows.before, rows.after)
    return functional.pad(v, amounts, value=value).contiguous(memory_format=torch.channels_last) if any(amounts) else v


def cut(v: Map, at: Places) -> Patches:
    """The map's own content at the places."""
    rows, columns = at
    height, width = v.shape[-2:]
    flat = v[0].permute(1, 2, 0).reshape(height * width, -1)
    found = flat.index_select(0, _positions(rows, columns, width).to(v.device).view(-1))
    return found.view(len(rows.start), rows.size, columns.size, -1).permute(0, 3, 1, 2)


def paste(v: Patches, patches: Patches, down: Corners, right: Corners) -> Patches:
    """Put each patch into its own picture, at its own offset; writes into `v`, whose channels lie together."""
    count, channels, height, width = v.shape
    where = _positions(Span(down, patches.shape[2]), Span(right, patches.shape[3]), width)
    where = where + (torch.arange(count) * (height * width)).view(-1, 1, 1)
    flat = v.permute(0, 2, 3, 1).view(-1, channels)
    flat.index_copy_(0, where.to(v.device).view(-1), patches.permute(0, 2, 3, 1).reshape(-1, channels))
    return v


def _positions(rows: Span, columns: Span, width: int) -> Int[Tensor, "patches rows columns"]:
    down = rows.start[:, None] + torch.arange(rows.size)
    right = columns.start[:, None] + torch.arange(columns.size)
    return down[:, :, None] * width + right[:, None, :]
