"""Which part of a picture belongs to a place at a site: the middle of its receptive field."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput, BadModel
from pellucid.core.last_map import places
from pellucid.core.network import Network
from pellucid.core.recording.receptive_field import Number, ReceptiveField, receptive_field
from pellucid.core.recording.record import record_module
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import channel
from pellucid.core.tensors import Tensors

_STEPS = 4  # a crop is at most this many places wide: what lies farther out in a field weighs little (Luo et al. 2016)


@dataclass(frozen=True, slots=True)
class Crops:
    """Where a place at a site looks in the picture `name`, of `picture` (height, width) pixels.

    `grid`: the places, row by row; the first `skip` of the site's vectors (class tokens) are no places.  A crop is
    `side` pixels large; neighbors are `step` apart, and place (0, 0) has its middle at `first`.  `field`: the size of
    the receptive field, which may be larger than the crop; None where a place sees the whole picture.
    """

    name: str
    picture: tuple[int, int]
    grid: tuple[int, int]
    skip: int
    side: tuple[int, int]
    step: tuple[float, float]
    first: tuple[float, float]
    field: tuple[int | None, int | None]

    def window(self, place: int) -> tuple[slice, slice]:
        """The rows and columns of a place's crop; at the border it is moved inwards, not cut."""
        at = divmod(place, self.grid[1])
        found = []
        for i in range(2):
            middle = self.first[i] + self.step[i] * at[i]
            start = min(max(0, round(middle - (self.side[i] - 1) / 2)), self.picture[i] - self.side[i])
            found.append(slice(start, start + self.side[i]))
        return found[0], found[1]

    def words(self) -> str:
        """What is shown of what a place sees, in a sentence."""
        if None in self.field or self.field[0] is None or self.field[1] is None:
            return f"A place sees the whole picture; shown are {self.side[1]}×{self.side[0]} pixels around it."
        if (self.field[0], self.field[1]) == self.side:
            return f"A patch is all that a place sees: {self.side[1]}×{self.side[0]} pixels."
        return (
            f"A place sees {self.field[1]}×{self.field[0]} pixels; shown are the middle {self.side[1]}×{self.side[0]}."
        )


def crops_at(net: Network, x: Tensors, site: Site, value: Float[Tensor, "batch *axes"]) -> Crops | None:
    """Where the places at a site look, found by recording one pass of the first sample; None where there are none.

    `value` is what the site holds for `x`.
    """
    name = next((k for k, v in x.items() if v.ndim == 4 and v.is_floating_point()), None)
    grid = None if name is None else _grid(net, x, site, value)
    if name is None or grid is None:
        return None
    shape, skip = (x[name].shape[2], x[name].shape[3]), (value.shape[1] - math.prod(grid) if value.ndim == 3 else 0)
    seen = _field(net, {k: v[:1] for k, v in x.items()}, name, site) if value.ndim == 4 else None
    size = (None, None) if seen is None else seen.size
    (h, dy, top), (w, dx, left) = (_axis(seen, i, shape[i], grid[i]) for i in range(2))
    return Crops(name, shape, grid, skip, (h, w), (dy, dx), (top, left), (_whole(size[0]), _whole(size[1])))


def _axis(seen: ReceptiveField | None, i: int, extent: int, places: int) -> tuple[int, float, float]:
    """A crop's side, the distance between neighbors and the first one's middle, along one axis of the picture."""
    size, step, start = (None, None, None) if seen is None else (seen.size[i], seen.stride[i], seen.offset[i])
    if size is None or step is None or start is None:
        apart = extent / places
        return min(extent, math.ceil(_STEPS * apart)), apart, (apart - 1) / 2
    side = min(extent, math.ceil(min(float(size), _STEPS * float(step))))
    return side, float(step), float(start) + (float(size) - 1) / 2


def _whole(size: Number | None) -> int | None:
    return None if size is None else math.ceil(size)


def _grid(net: Network, x: Tensors, site: Site, value: Tensor) -> tuple[int, int] | None:
    if value.ndim == 4:
        return value.shape[2], value.shape[3]
    if value.ndim != 3:
        return None
    with torch.no_grad(), Score(net, channel(site, 0)).leased() as f:
        try:
            grid = places(f, x).grid
        except BadModel:
            return None
    return grid if value.shape[1] >= math.prod(grid) else None


def _field(net: Network, x: Tensors, name: str, site: Site) -> ReceptiveField | None:
    in_order = tuple(x) == net.inputs[: len(x)]
    with net.lease() as model, torch.no_grad():
        try:
            tape = record_module(model, tuple(x.values()) if in_order else (), {} if in_order else x)
            return receptive_field(tape, site)
        except BadInput:  # what is there cannot be followed back to the picture
            return None
