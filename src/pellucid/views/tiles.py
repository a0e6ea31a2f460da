"""Small pictures in a grid, each with its words: a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pellucid.core.errors import BadInput

if TYPE_CHECKING:
    from pellucid.views.arrays import Array

Frame: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One small picture (uint8 [height, width, 3]) with a title and a line of words below it.

    Pictures `below` it belong to it, such as what a network saw in it; all are drawn to the same width.  `frame` is
    the rectangle (left, top, right, bottom) that is marked in the first one, in its pixels.  `alt` says in words what
    is shown; without it the title and the line do.
    """

    pixels: Array
    title: str = ""
    line: str = ""
    alt: str = ""
    below: tuple[Array, ...] = ()
    frame: Frame | None = None

    def __post_init__(self) -> None:
        for p in self.pictures:
            if p.ndim != 3 or p.shape[2] != 3 or p.dtype != "uint8" or 0 in p.shape:
                raise BadInput(f"A tile is uint8 [height, width, 3] and not empty; got {p.dtype} {list(p.shape)}.")

    @property
    def pictures(self) -> tuple[Any, ...]:
        """All its pictures, from top to bottom."""
        return (self.pixels, *self.below)

    @property
    def words(self) -> str:
        """What it says to those who do not see it."""
        return self.alt or ": ".join(part for part in (self.title, self.line) if part) or "picture"


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Small pictures, possibly of different sizes, in a grid that wraps; for a row of its own a heading, one view each.

    The longer side of each picture is drawn `side` points long.  Colors of an `exact` picture stand for numbers and
    are kept as they are; its pixels, and those of pictures of less than 48, keep their edges when they are enlarged.
    """

    tiles: tuple[Tile, ...]
    title: str = ""
    caption: str = ""
    side: float = 112.0
    exact: bool = False

    def __post_init__(self) -> None:
        if not self.tiles or not self.side >= 16:
            raise BadInput(f"A contact sheet has tiles of 16 points or more; got {len(self.tiles)} of {self.side:g}.")
