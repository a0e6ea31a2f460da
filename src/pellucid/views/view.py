"""A View is plain data that describes a picture: nothing in it computes, nothing in it is markup.

Views hold NumPy arrays and Python numbers, never torch tensors, so that a renderer needs no deep-learning framework.
A renderer (`pellucid.render`) turns one View into HTML, PNG, SVG, terminal text or JSON, and only draws: limits,
captions, outlines and sentences are decided before, in `pellucid.views`.  The union at the end is closed: a renderer
that meets every kind listed there is complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pellucid.core.errors import BadInput
from pellucid.views.graph import Map
from pellucid.views.tiles import Tiles

if TYPE_CHECKING:
    from pellucid.views.arrays import Array

Cell: TypeAlias = str | int | float | None
Tone: TypeAlias = Literal["good", "weak", "bad", "unknown"]
Limits: TypeAlias = tuple[float, float]
Hint: TypeAlias = tuple[float, float, float, float, str]  # left, top, width, height, words


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph.  `lead` is the sentence a hurried reader reads, `quiet` is small print, `code` keeps its lines."""

    text: str
    kind: Literal["plain", "lead", "quiet", "warning", "code"] = "plain"


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; level 1 is the page's own."""

    text: str
    level: Literal[1, 2, 3] = 2


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns.  A float cell is shown to four digits and kept exactly in JSON; None is a dash."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        wrong = next((row for row in self.rows if len(row) != len(self.columns)), None)
        if wrong is not None:
            raise BadInput(f"A table of {len(self.columns)} columns was given a row of {len(wrong)} cells.")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a value, and its interval where there is one (NaN where not).  `strong` marks the one explained."""

    label: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """Named values as bars from zero, e.g. class probabilities.  `percent` shows 0.38 as 38 %."""

    bars: tuple[Bar, ...]
    caption: str = ""
    limits: Limits = (0.0, 1.0)
    percent: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A color picture: `pixels` is [height, width, 3], uint8; `hints` are words over parts of it, in pixels."""

    pixels: Array
    title: str = ""
    caption: str = ""
    alt: str = ""
    hints: tuple[Hint, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != "uint8":
            raise BadInput(f"A photo is uint8 [height, width, 3]; got {self.pixels.dtype} {list(self.pixels.shape)}.")


@dataclass(frozen=True, slots=True)
class Outline:
    """The border of the smallest area that holds the fraction `mass` of a map, as closed or open lines.

    Points are (x, y) in pixels of the map: (0, 0) is the upper left corner of the upper left pixel.
    """

    mass: float
    lines: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """A map of numbers in color: `values` is [height, width], any float type; NaN is drawn as "no value".

    Colors span `limits`; `statement` says in words what these are and how much lies beyond them.  A signed map has
    symmetric limits, so that zero takes the neutral color.  With an `underlay` (uint8 [height', width'], grey) the
    map is laid over it, transparent at zero.  `resolution` is the true size (height, width) of the map, which may be
    coarser than `values`.  `smooth` interpolates when enlarged; otherwise every cell keeps its edges.
    """

    values: Array
    limits: Limits
    signed: bool
    title: str = ""
    caption: str = ""
    statement: str = ""
    alt: str = ""
    unit: str = ""
    underlay: Array | None = None
    outlines: tuple[Outline, ...] = ()
    resolution: tuple[int, int] | None = None
    smooth: bool = True

    def __post_init__(self) -> None:
        low, high = self.limits
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise BadInput(f"A heat map is [height, width] and not empty; got {list(self.values.shape)}.")
        if not low <= high or (self.signed and low != -high):
            raise BadInput(f"Limits must rise, and be symmetric for a signed map; got {low:g} to {high:g}.")
        if self.underlay is not None and (self.underlay.ndim != 2 or self.underlay.dtype != "uint8"):
            raise BadInput(f"An underlay is uint8 [height, width]; got {list(self.underlay.shape)}.")


@dataclass(frozen=True, slots=True)
class Ruler:
    """A value with its interval on a scale whose `ticks` are named: what chance gives, what the best could reach.

    `null` is the band in which maps that know nothing fall; it is drawn in grey.
    """

    value: float
    limits: Limits
    low: float = float("nan")
    high: float = float("nan")
    ticks: tuple[tuple[str, float], ...] = ()
    null: Limits | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One check in words: the question, the verdict word, the sentence that explains it, and perhaps its ruler."""

    name: str
    verdict: str
    tone: Tone
    sentence: str
    ruler: Ruler | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One line of a curve: equally many `x` and `y`, one-dimensional."""

    name: str
    x: Array
    y: Array

    def __post_init__(self) -> None:
        if self.x.ndim != 1 or self.x.shape != self.y.shape:
            raise BadInput(f"A line needs as many x as y; got {list(self.x.shape)} and {list(self.y.shape)}.")


@dataclass(frozen=True, slots=True)
class Curve:
    """Lines over a common axis, at most six that can be told apart."""

    series: tuple[Series, ...]
    x_name: str = ""
    y_name: str = ""
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """Small pictures of one size in one grid, row after row: `pixels` is uint8 [rows * height, columns * width, 3]."""

    pixels: Array
    height: int
    width: int
    count: int

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != "uint8":
            raise BadInput(f"A sheet is uint8 [height, width, 3]; got {self.pixels.dtype} {list(self.pixels.shape)}.")
        tall, wide = self.pixels.shape[:2]
        if min(self.height, self.width) < 1 or tall % self.height or wide % self.width:
            raise BadInput(f"A sheet of {tall}×{wide} pixels has no whole cells of {self.height}×{self.width}.")
        if not 0 < self.count <= (tall // self.height) * self.columns:
            raise BadInput(f"A sheet of {tall}×{wide} pixels has no {self.count} cells of {self.height}×{self.width}.")

    @property
    def columns(self) -> int:
        """How many pictures stand in a row."""
        return int(self.pixels.shape[1]) // self.width

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.pixels.shape[0]) // self.height


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """Points over two axes: equally many `x` and `y`, one-dimensional.

    `line` is the offset and slope of a line through them.  `words` say what each point is.  The first points have a
    picture in `sheet`, which a page shows while one of them is pointed at.
    """

    x: Array
    y: Array
    x_name: str = ""
    y_name: str = ""
    caption: str = ""
    alt: str = ""
    line: tuple[float, float] | None = None
    words: tuple[str, ...] = ()
    sheet: Sheet | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 1 or self.x.shape != self.y.shape:
            raise BadInput(f"Points need as many x as y; got {list(self.x.shape)} and {list(self.y.shape)}.")
        if self.words and len(self.words) != len(self.x):
            raise BadInput(f"{len(self.x)} points were given words for {len(self.words)}.")
        if self.sheet is not None and self.sheet.count > len(self.x):
            raise BadInput(f"{len(self.x)} points were given {self.sheet.count} pictures.")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as its pieces, each on a background colored by its value, within `limits` as for `Heat`."""

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    limits: Limits
    signed: bool
    caption: str = ""
    statement: str = ""

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.values):
            raise BadInput(f"{len(self.tokens)} tokens were given {len(self.values)} values; one each is needed.")


@dataclass(frozen=True, slots=True)
class Columns:
    """Views side by side; they wrap to rows where the page is narrow."""

    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """Views one under another."""

    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """A view behind a title, closed at first unless `open`: for the reader who wants to know more."""

    title: str
    child: View
    open: bool = False


View: TypeAlias = (
    Text | Heading | Table | Bars | Photo | Heat | Ruler | Card | Curve | Scatter | Tokens | Tiles | Map
    | Columns | Stack | Fold
)  # fmt: skip


def size_words(heat: Heat) -> str:
    """The true size of a map, in words: a 7x7 map drawn at 224x224 says so.

    >>> import numpy as np
    >>> size_words(Heat(np.zeros((224, 224)), (0.0, 1.0), signed=False, resolution=(7, 7)))
    'True resolution 7×7, drawn at 224×224'
    """
    height, width = heat.values.shape
    true = heat.resolution or (height, width)
    if true == (height, width):
        return f"Resolution {height}×{width}"
    return f"True resolution {true[0]}×{true[1]}, drawn at {height}×{width}"
