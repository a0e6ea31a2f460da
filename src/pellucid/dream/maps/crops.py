"""Which part of a picture belongs to a place at a site: the middle of its receptive field."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pellucid.core.recording.receptive_field import Number, ReceptiveField
from pellucid.dream.excited.layout import Layout

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


def crops_of(layout: Layout) -> Crops | None:
    """Where the places at a site look in a picture; None where the site keeps no places of a picture apart."""
    grid = layout.grid or (layout.sizes if len(layout.sizes) == 2 else None)
    if len(layout.extent) != 2 or grid is None:
        return None
    skip, shape = (math.prod(layout.sizes) - math.prod(grid)), (layout.extent[0], layout.extent[1])
    field = None if layout.grid is not None or layout.follows != (0, 1) else layout.field
    size = (None, None) if field is None else field.size
    (h, dy, top), (w, dx, left) = (_axis(field, i, shape[i], grid[i]) for i in range(2))
    places = (grid[0], grid[1])
    return Crops(layout.input, shape, places, skip, (h, w), (dy, dx), (top, left), (_whole(size[0]), _whole(size[1])))


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
