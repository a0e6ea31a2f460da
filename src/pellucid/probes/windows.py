"""Windows that slide over an input: which places each covers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from torch import Tensor

Slices = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows over some axes of an input; the last one along an axis may reach over its end, and is cut there.

    `grid` is how many there are along each axis.
    """

    axes: tuple[int, ...]
    places: tuple[Slices, ...]
    grid: tuple[int, ...]

    def index(self, v: Tensor, i: int) -> Slices:
        """The i-th window as an index into `v`, all of the other axes included."""
        where = dict(zip(self.axes, self.places[i], strict=True))
        return tuple(where.get(axis, slice(None)) for axis in range(v.ndim))


def sliding(v: Tensor, axes: Sequence[int], window: int, stride: int) -> Windows:
    """Windows of side `window` every `stride` steps along `axes`.

    >>> import torch
    >>> len(sliding(torch.zeros(1, 3, 224, 224), (2, 3), 32, 16).places)
    169
    """
    ends = [(math.ceil(max(v.shape[a] - window, 0) / stride) + 1) * stride for a in axes]
    starts = [range(0, min(end, v.shape[a]), stride) for a, end in zip(axes, ends, strict=True)]
    corners = product(*starts)
    places = tuple(tuple(slice(s, min(s + window, v.shape[a])) for s, a in zip(c, axes, strict=True)) for c in corners)
    return Windows(tuple(axes), places, tuple(len(s) for s in starts))
