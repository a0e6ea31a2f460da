"""What a figure is made of: lines, boxes, words and pixels at places.  PNG and SVG draw the same list.

Colors are roles ("ink", "quiet", ...), so that one figure suits a light and a dark page.  Families of operations have
roles of their own, on which "title" is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from pellucid.views.arrays import Array

Role: TypeAlias = Literal[
    "page", "panel", "ink", "quiet", "mute", "line", "band", "accent", "good", "weak", "bad", "unknown",
    "white", "black", "line1", "line2", "line3", "line4", "line5", "line6", "title",
    "convolution", "linear", "attention", "activation", "normalization", "pooling", "shape", "arithmetic",
    "recurrent", "other", "io", "group",
]  # fmt: skip
Point: TypeAlias = tuple[float, float]

LIGHT: dict[Role, str] = {
    "page": "#fbfaf8", "panel": "#ffffff", "ink": "#1f2328", "quiet": "#5c636d", "mute": "#9aa1aa",
    "line": "#dedbd4", "band": "#e9e6df", "accent": "#2b5c8a",
    "good": "#2b5c8a", "weak": "#8a5a00", "bad": "#9b2c2c", "unknown": "#5c636d",
    "white": "#ffffff", "black": "#111111",
    "line1": "#2b5c8a", "line2": "#b5541c", "line3": "#3f7a4a",
    "line4": "#7b4a9e", "line5": "#8a6d00", "line6": "#555b63", "title": "#ffffff",
    "convolution": "#2b5c8a", "linear": "#6a4c93", "attention": "#a3386c", "activation": "#a04a14",
    "normalization": "#3f6f47", "pooling": "#7d5a00", "shape": "#5c636d", "arithmetic": "#2f6f78",
    "recurrent": "#8f2f2f", "other": "#4b4f55", "io": "#2f343b", "group": "#465366",
}  # fmt: skip
DARK: dict[Role, str] = {
    "page": "#15171a", "panel": "#1c1f23", "ink": "#e8e6e1", "quiet": "#a6acb4", "mute": "#69717b",
    "line": "#343940", "band": "#32373e", "accent": "#8fb8de",
    "good": "#8fb8de", "weak": "#e0b060", "bad": "#f0938c", "unknown": "#a6acb4",
    "white": "#ffffff", "black": "#111111",
    "line1": "#8fb8de", "line2": "#f0a070", "line3": "#8cc79a",
    "line4": "#c9a2e6", "line5": "#dcc260", "line6": "#b0b5bc", "title": "#15171a",
    "convolution": "#8fb8de", "linear": "#c3a8e6", "attention": "#eb9cc4", "activation": "#f0a070",
    "normalization": "#8cc79a", "pooling": "#dcc260", "shape": "#b0b5bc", "arithmetic": "#7fc7d1",
    "recurrent": "#f0938c", "other": "#a6acb4", "io": "#d8d5cf", "group": "#aab8cc",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """A straight or broken line; `dash` as in SVG ("" is solid)."""

    points: tuple[Point, ...]
    role: Role = "ink"
    width: float = 1.0
    dash: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle with rounded corners; `hint` is shown where a pointer rests on it."""

    x: float
    y: float
    width: float
    height: float
    role: Role | Literal["none"] = "band"
    radius: float = 0.0
    edge: Role | Literal["none"] = "none"
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    role: Role = "ink"
    edge: Role | Literal["none"] = "none"


@dataclass(frozen=True, slots=True)
class Words:
    """One line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    size: float = 12.0
    role: Role = "ink"
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False
    mono: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A picture in a rectangle: uint8 [h, w, 3]; `dark` is its color for a dark page, where that differs.

    The colors of an `exact` picture stand for numbers; others (photographs, and maps mixed with them) may be stored
    with small errors where that makes a page several times smaller.
    """

    x: float
    y: float
    width: float
    height: float
    light: Array
    dark: Array | None = None
    smooth: bool = False
    exact: bool = True


Mark: TypeAlias = Line | Box | Dot | Words | Pixels


@dataclass(frozen=True, slots=True)
class Drawing:
    """Marks on a sheet of a size, in points."""

    width: float
    height: float
    marks: tuple[Mark, ...]


def moved(mark: Mark, dx: float, dy: float) -> Mark:
    """The same mark somewhere else."""
    match mark:
        case Line():
            return Line(tuple((x + dx, y + dy) for x, y in mark.points), mark.role, mark.width, mark.dash)
        case Box():
            return Box(mark.x + dx, mark.y + dy, mark.width, mark.height, mark.role, mark.radius, mark.edge, mark.hint)
        case Dot():
            return Dot(mark.x + dx, mark.y + dy, mark.radius, mark.role, mark.edge)
        case Words():
            return Words(mark.x + dx, mark.y + dy, mark.text, mark.size, mark.role, mark.anchor, mark.bold, mark.mono)
        case Pixels():
            return replace(mark, x=mark.x + dx, y=mark.y + dy)


def scaled(mark: Mark, by: float) -> Mark:
    """The same mark, with everything in it larger or smaller."""
    match mark:
        case Line():
            return replace(mark, points=tuple((x * by, y * by) for x, y in mark.points), width=mark.width * by)
        case Box():
            left, top, right, down, turn = (v * by for v in (mark.x, mark.y, mark.width, mark.height, mark.radius))
            return replace(mark, x=left, y=top, width=right, height=down, radius=turn)
        case Dot():
            return replace(mark, x=mark.x * by, y=mark.y * by, radius=mark.radius * by)
        case Words():
            return replace(mark, x=mark.x * by, y=mark.y * by, size=mark.size * by)
        case Pixels():
            return replace(mark, x=mark.x * by, y=mark.y * by, width=mark.width * by, height=mark.height * by)
