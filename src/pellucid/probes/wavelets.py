"""The Haar wavelets of an input of any size, and what is known of their coefficients, laid back onto its places.

Neighbors are taken two by two: what they have in common goes on to the next, coarser scale, how they differ stays.  The
transform is orthonormal at every size.  Where a side is odd, the last value goes on alone, and from then on values that
stand for unequally many places are paired with weights (unbalanced Haar wavelets, Girardi, Sweldens 1997), so that what
is the same everywhere has no details at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Annotated, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors
from pellucid.probes.segments import places_of

Levels: TypeAlias = Annotated[
    int, Range(1, 16), "how often the input is halved, as far as its longest side goes: details of 2, 4, 8, ... places"
]
Scale: TypeAlias = Annotated[
    int | None,
    Range(0, 16),
    "show one scale alone: 1 for details of 2 places, 2 for those of 4, and so on, 0 for the averages; none: all",
]
DIRECTIONS: dict[tuple[bool, ...], str] = {
    (True, False): "horizontal",
    (False, True): "vertical",
    (True, True): "diagonal",
}  # of a picture's edges


@dataclass(frozen=True, slots=True)
class Band:
    """Where the coefficients of one kind stand: `scale` 0 are the averages that are left, k the details of 2^k places.

    `along`: for each axis, whether the details are differences along it.
    """

    scale: int
    along: tuple[bool, ...]
    where: tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Haar:
    """The transform of tensors of one shape along `axes`: coefficients in the input's own shape, coarse ones first.

    >>> haar = Haar((1, 4), (1,), 2)
    >>> haar.forward(torch.ones(1, 4)).round().int().tolist()  # nothing but an average
    [[2, 0, 0, 0]]
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    levels: int

    def forward(self, v: Float[Tensor, "batch *axes"]) -> Float[Tensor, "batch *axes"]:
        """The coefficients."""
        out = v.clone()
        for level in range(self.levels):
            part = out[self._front(level)]
            for axis in self.axes:
                part = _together(part, axis, _stands_for(self.shape[axis], level))
            out[self._front(level)] = part
        return out

    def back(self, c: Float[Tensor, "batch *axes"]) -> Float[Tensor, "batch *axes"]:
        """The input with these coefficients."""
        return self._back(c, squares=False)

    def spread(self, amounts: Float[Tensor, "batch *axes"]) -> Float[Tensor, "batch *axes"]:
        """Each coefficient's amount over the places that it comes from, by the square of its wavelet, which adds to 1.

        That is evenly over its support, wherever both halves of it are equally long.  Sums are kept.

        >>> Haar((1, 4), (1,), 1).spread(torch.tensor([[1.0, 0.0, 0.0, 4.0]])).tolist()
        [[0.5, 0.5, 2.0, 2.0]]
        """
        return self._back(amounts, squares=True)

    def _back(self, c: Tensor, *, squares: bool) -> Tensor:
        out = c.clone()
        for level in reversed(range(self.levels)):
            part = out[self._front(level)]
            for axis in reversed(self.axes):
                part = _apart(part, axis, _stands_for(self.shape[axis], level), squares=squares)
            out[self._front(level)] = part
        return out

    def bands(self) -> Iterator[Band]:
        """The averages, then the details from coarse to fine; together they are every coefficient once."""
        yield Band(0, (False,) * len(self.axes), self._front(self.levels))
        for level in reversed(range(self.levels)):
            for along in product((False, True), repeat=len(self.axes)):
                where = list(self._front(level + 1))
                for axis, differs in zip(self.axes, along, strict=True):
                    if differs:
                        where[axis] = slice(self._size(axis, level + 1), self._size(axis, level))
                if any(along) and all(where[a].start is None or where[a].start < where[a].stop for a in self.axes):
                    yield Band(level + 1, along, tuple(where))

    def alone(self, c: Float[Tensor, "batch *axes"], scale: int) -> Float[Tensor, "batch *axes"]:
        """The coefficients of one scale, 0 for all others."""
        out = torch.zeros_like(c)
        for band in self.bands():
            if band.scale == scale:
                out[band.where] = c[band.where]
        return out

    def _size(self, axis: int, level: int) -> int:
        return len(_stands_for(self.shape[axis], level))

    def _front(self, level: int) -> tuple[slice, ...]:
        """Where the values stand that a level starts from."""
        sizes = {a: self._size(a, level) for a in self.axes}
        return tuple(slice(sizes.get(a)) for a in range(len(self.shape)))


@cache
def _stands_for(size: int, level: int) -> tuple[int, ...]:
    """How many places each value stands for after so many halvings."""
    if level == 0:
        return (1,) * size
    before = _stands_for(size, level - 1)
    return tuple(sum(before[i : i + 2]) for i in range(0, len(before), 2))


def _shares(stands_for: tuple[int, ...], axis: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the places of each pair are the first one's and the second one's; they add up to 1."""
    counts = torch.tensor(stands_for[: len(stands_for) // 2 * 2], dtype=torch.double).view(-1, 2)
    first, second = (counts / counts.sum(1, keepdim=True)).to(like).unbind(1)
    shape = [-1 if a == axis else 1 for a in range(like.ndim)]
    return first.view(shape), second.view(shape)


def _together(v: Tensor, axis: int, stands_for: tuple[int, ...]) -> Tensor:
    """One halving along one axis: averages of pairs and what is left over, then the differences."""
    pairs = len(stands_for) // 2
    first, second = (part.sqrt() for part in _shares(stands_for, axis, v))
    every = torch.arange(2 * pairs, device=v.device)
    a, b = v.index_select(axis, every[0::2]), v.index_select(axis, every[1::2])
    rest = v.narrow(axis, 2 * pairs, len(stands_for) - 2 * pairs)
    return torch.cat((first * a + second * b, rest, second * a - first * b), axis)


def _apart(c: Tensor, axis: int, stands_for: tuple[int, ...], *, squares: bool) -> Tensor:
    """The way back from averages and differences to pairs; with `squares`, by the squares of the weights."""
    pairs, odd = divmod(len(stands_for), 2)
    first, second = _shares(stands_for, axis, c)
    average, rest, difference = torch.split(c, [pairs, odd, pairs], axis)
    if squares:
        a, b = first * average + second * difference, second * average + first * difference
    else:
        first, second = first.sqrt(), second.sqrt()
        a, b = first * average + second * difference, second * average - first * difference
    return torch.cat((torch.stack((a, b), axis + 1).flatten(axis, axis + 1), rest), axis)


def wavelets_of(f: Score, x: Tensors, levels: int, scale: int | None) -> dict[str, Haar]:
    """The transform of every floating input, along its places.

    Raises `BadInput` for tables, which have no neighbors, and `BadOption` for a scale that no input has.
    """
    found = {}
    for name, v in x.items():
        if not v.is_floating_point():
            continue
        if v.ndim == 2:
            raise BadInput(
                f"Input {name!r} is a table, {tuple(v.shape)}: its columns have no neighbors, and so no scales.",
                "Use input_x_gradient or integrated_gradients; series are [batch, channels, time].",
            )
        axes = places_of(f, name, v)
        deepest = math.ceil(math.log2(max(v.shape[a] for a in axes)))
        found[name] = Haar(tuple(v.shape), axes, min(levels, deepest))
    most = max((haar.levels for haar in found.values()), default=0)
    if scale is not None and scale > most:
        raise BadOption(
            f"scale={scale}: the input was halved {most} times.", f"Choose one from 0 to {most}, or more levels."
        )
    return found


def laid_out(wavelets: dict[str, Haar], amounts: Tensors, scale: int | None) -> Tensors:
    """What the coefficients of all scales (or of one) have, over the places that they come from."""
    return {
        k: haar.spread(amounts[k] if scale is None else haar.alone(amounts[k], scale)) for k, haar in wavelets.items()
    }


def coarseness(wavelets: dict[str, Haar], scale: int | None) -> tuple[int, int] | None:
    """How many blocks one scale of a picture has along its sides; None for all scales, which show every place."""
    haar = next((h for h in wavelets.values() if len(h.axes) == 2), None)
    if scale is None or haar is None:
        return None
    height, width = (len(_stands_for(haar.shape[a], scale or haar.levels)) for a in haar.axes)
    return height, width


def by_scale(wavelets: dict[str, Haar], amounts: Tensors) -> dict[str, dict[str, list[float]]]:
    """Of every sample: the sum at each scale, its share of all sizes, and the shares by the direction of edges."""
    sums, sizes, directions = (dict[str, Tensor]() for _ in range(3))
    for name, haar in wavelets.items():
        for band in haar.bands():
            here = amounts[name][band.where].flatten(1).double()
            key = str(2**band.scale) if band.scale else "averages"
            sums[key] = sums.get(key, 0) + here.sum(1)
            sizes[key] = sizes.get(key, 0) + here.abs().sum(1)
            if band.scale and len(haar.axes) == 2:
                way = DIRECTIONS[band.along]
                directions[way] = directions.get(way, 0) + here.abs().sum(1)
    whole = torch.stack(list(sizes.values())).sum(0).clamp(min=1e-30)
    shares, ways = ({k: _rounded(v / whole) for k, v in part.items()} for part in (sizes, directions))
    found = {"sum by scale": {k: v.tolist() for k, v in sums.items()}, "share by scale": shares}
    return found | ({"share by direction of edges": ways} if ways else {})


def _rounded(v: Tensor) -> list[float]:
    return [round(n, 4) for n in v.tolist()]
