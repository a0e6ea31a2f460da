"""The drawn parts that HTML, PNG and SVG share: heat map, legend, ruler, curve, scatter.  Each gives a `Drawing`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby

import numpy as np

from pellucid.render import raster
from pellucid.render.colormap import ramp
from pellucid.render.font import shortened, width_of
from pellucid.render.marks import Box, Dot, Drawing, Line, Mark, Pixels, Point, Role, Words
from pellucid.render.plain import visible
from pellucid.views.arrays import Array
from pellucid.views.number import number, signed_number
from pellucid.views.view import Curve, Heat, Limits, Photo, Ruler, Scatter, Tone

Scale = Callable[[float], float]
SMALL = 11.0
COLORS: tuple[Role, ...] = ("line1", "line2", "line3", "line4", "line5", "line6")
DASHES = ("", "6 3", "2 3")
_HINTED = 1100
IN_A_ROW, KEY_ROW = 3, 17.0  # names in a row of a key, and the distance of its rows


def photo(view: Photo, width: float) -> Drawing:
    """The picture at a width, with the words that are said over parts of it."""
    rows, columns = view.pixels.shape[:2]
    height = _height(rows, columns, width)
    dx, dy = width / columns, height / rows
    said = [Box(x * dx, y * dy, w * dx, h * dy, "none", hint=visible(words)) for x, y, w, h, words in view.hints]
    return Drawing(width, height, (Pixels(0, 0, width, height, view.pixels, smooth=True, exact=False), *said))


def _height(rows: int, columns: int, width: float) -> float:
    """A picture keeps its shape, but for strips and columns, which are drawn thick enough to be seen."""
    return min(max(width * rows / columns, width / 12), width * 2)


def heat(view: Heat, width: float) -> Drawing:
    """The map in color, over its photo if it has one, with its outlines."""
    rows, columns = view.values.shape if view.underlay is None else view.underlay.shape
    height = _height(rows, columns, width)
    dark = raster.drawn(view, "dark")
    light = raster.drawn(view, "light")
    same = light.shape == dark.shape and bool((light == dark).all())
    alone = view.underlay is None
    marks: list[Mark] = [
        Pixels(0, 0, width, height, light, None if same else dark, smooth=view.smooth or not alone, exact=alone)
    ]
    scale = (width / view.values.shape[1], height / view.values.shape[0])
    for outline in view.outlines:
        for line in outline.lines:
            points = tuple((x * scale[0], y * scale[1]) for x, y in line)
            marks += _outline(points, strongest=outline.mass == min(o.mass for o in view.outlines))
    if view.values.size <= _HINTED:
        marks += _hints(view, *scale)
    return Drawing(width, height, tuple(marks))


def _outline(points: tuple[Point, ...], strongest: bool) -> list[Mark]:
    """White on black, so that it shows on any ground and in grey print; the inner one is solid, the outer dashed."""
    dash = "" if strongest else "4 3"
    return [Line(points, "black", 2.6), Line(points, "white", 1.3, dash)]


def _hints(view: Heat, dx: float, dy: float) -> list[Mark]:
    unit = f" {visible(view.unit)}" if view.unit else ""
    return [
        Box(c * dx, r * dy, dx, dy, "none", hint=f"row {r + 1}, column {c + 1}: {number(float(v), 4)}{unit}")
        for (r, c), v in np.ndenumerate(view.values)
    ]


def legend(limits: Limits, signed: bool, unit: str, width: float, clipped: str = "") -> Drawing:
    """The color strip with its numbers: both ends, and zero in the middle where values have a sign."""
    low, high = limits
    strip = Pixels(0, 0, width, 10, ramp(signed, "light"), ramp(signed, "dark") if signed else None, smooth=True)
    marks: list[Mark] = [strip, Box(0, 0, width, 10, "none", edge="line")]
    marks.append(Words(0, 24, number(low), SMALL, "ink", "start"))
    marks.append(Words(width, 24, signed_number(high) if signed else number(high), SMALL, "ink", "end"))
    if signed:
        marks.append(Line(((width / 2, 10), (width / 2, 13)), "quiet"))
        marks.append(Words(width / 2, 24, "0", SMALL, "ink", "middle"))
    note = " ".join(part for part in (visible(unit), clipped) if part)
    if note:
        place = width / 4 if signed else width / 2
        marks.append(Words(place, 24, shortened(note, SMALL, width / 3), SMALL, "quiet", "middle"))
    return Drawing(width, 28, tuple(marks))


def ruler(view: Ruler, tone: Tone, width: float) -> Drawing:
    """A value on its scale: grey where chance lies, named ticks below, the value with its interval above."""
    pad = 10.0
    low, high = view.limits
    reach = (high - low) or 1.0

    def at(value: float) -> float:
        return pad + (width - 2 * pad) * min(max((value - low) / reach, 0), 1)

    axis = 30.0
    marks: list[Mark] = [Line(((pad, axis), (width - pad, axis)), "line", 2)]
    if view.null is not None:
        left, right = at(view.null[0]), at(view.null[1])
        marks.append(Box(left, axis - 7, max(right - left, 2), 14, "band", 3))
    labels, bottom = _ticks(view.ticks, at, axis, width)
    marks += labels
    if math.isfinite(view.value):
        marks += _pointer(view, tone, at, axis, width)
    return Drawing(width, bottom, tuple(marks))


def _pointer(view: Ruler, tone: Tone, at: Scale, axis: float, width: float) -> list[Mark]:
    role: Role = tone
    marks: list[Mark] = []
    text = f"{visible(view.label) or 'this map'} {number(view.value, 2)}"
    if math.isfinite(view.low) and math.isfinite(view.high):
        marks.append(Line(((at(view.low), axis), (at(view.high), axis)), role, 4))
        text += f"  [{number(view.low, 2)}, {number(view.high, 2)}]"
    text = shortened(text, SMALL, width - 4)
    half = width_of(text, SMALL, bold=True) / 2
    x = min(max(at(view.value), half + 2), width - half - 2)
    words = Words(x, axis - 13, text, SMALL, role, "middle", bold=True)
    return [*marks, Dot(at(view.value), axis, 5.5, role, "panel"), words]


def _ticks(ticks: tuple[tuple[str, float], ...], at: Scale, axis: float, width: float) -> tuple[list[Mark], float]:
    """Ticks with their names; a name that would touch its left neighbor goes one row lower."""
    marks: list[Mark] = []
    ends: list[float] = []
    known = sorted((value, name) for name, value in ticks if math.isfinite(value))
    for value, name in known:
        text = shortened(f"{visible(name)} {number(value, 2)}", SMALL, width * 0.6)
        half = width_of(text, SMALL) / 2
        x = min(max(at(value), half + 1), width - half - 1)
        row = next((i for i, end in enumerate(ends) if end + 8 < x - half), len(ends))
        ends[row : row + 1] = [x + half]
        y = axis + 21 + 14 * row
        marks.append(Line(((at(value), axis - 5), (at(value), axis + 8)), "quiet", 1.2))
        marks.append(Words(x, y, text, SMALL, "quiet", "middle"))
    return marks, axis + 12 + 14 * max(len(ends), 1) if known else axis + 14


def curve(view: Curve, width: float) -> Drawing:
    """Lines over axes with numbers at their ends and a key above."""
    width = min(width, 600.0)
    more = KEY_ROW * ((len(view.series) - 1) // IN_A_ROW)  # rows of the key after the first
    height, left, bottom, top = width * 0.5 + more, 46.0, 34.0, 40.0 + more
    x_limits, y_limits = _span([s.x for s in view.series]), _span([s.y for s in view.series])
    right_end, low_end = width - 8, height - bottom

    def at(x: float, y: float) -> Point:
        return (
            left + (right_end - left) * (x - x_limits[0]) / (x_limits[1] - x_limits[0]),
            low_end - (low_end - top) * (y - y_limits[0]) / (y_limits[1] - y_limits[0]),
        )

    marks: list[Mark] = [Line(((left, top), (left, low_end), (right_end, low_end)), "line", 1)]
    if y_limits[0] < 0 < y_limits[1]:
        marks.append(Line((at(x_limits[0], 0), at(x_limits[1], 0)), "line", 1, "3 3"))
    marks += _axis_words((view.x_name, view.y_name), x_limits, y_limits, (left, top, right_end, low_end))
    for i, series in enumerate(view.series):
        points = [at(x, y) for x, y in zip(series.x.tolist(), series.y.tolist(), strict=True)]
        marks += [Line(run, COLORS[i % 6], 1.6, DASHES[i // 2 % 3]) for run in _finite_runs(points)]
    marks += _key(view, left, width)
    return Drawing(width, height, tuple(marks))


def scatter(view: Scatter, width: float) -> Drawing:
    """Dots over axes with numbers at their ends, dashed where a value is zero, with the line through them."""
    (width, height), frame, xs, ys = _plot(view, width)
    left, top, right, low = frame

    def at(x: float, y: float) -> Point:
        return _inside(x, xs, (left, right)), _inside(y, ys, (low, top))

    marks: list[Mark] = [Line(((left, top), (left, low), (right, low)), "line", 1)]
    if xs[0] < 0 < xs[1]:
        marks.append(Line(((at(0, 0)[0], top), (at(0, 0)[0], low)), "line", 1, "3 3"))
    if ys[0] < 0 < ys[1]:
        marks.append(Line(((left, at(0, 0)[1]), (right, at(0, 0)[1])), "line", 1, "3 3"))
    marks += _axis_words((view.x_name, view.y_name), xs, ys, frame)
    marks += [Dot(x, y, 3, "line1", "panel") for x, y in scatter_places(view, width) if math.isfinite(x + y)]
    if view.line is not None:
        marks += _through(view.line, xs, ys, at)
    return Drawing(width, height, tuple(marks))


def scatter_places(view: Scatter, width: float) -> list[Point]:
    """Where the dots lie in the drawing, in the view's order; not finite where a point has no number."""
    _, (left, top, right, low), xs, ys = _plot(view, width)
    points = zip(view.x.tolist(), view.y.tolist(), strict=True)
    return [(_inside(x, xs, (left, right)), _inside(y, ys, (low, top))) for x, y in points]


def _plot(view: Scatter, width: float) -> tuple[Point, tuple[float, float, float, float], Limits, Limits]:
    """Size, frame (left, top, right, bottom) and limits of the axes; the outermost dots lie clear of the frame."""
    width = min(width, 600.0)
    height = width * 0.6
    return (width, height), (46.0, 22.0, width - 8, height - 34), _span([view.x]), _span([view.y])


def _inside(value: float, limits: Limits, ends: Limits) -> float:
    """A value's place between two ends, with room for a dot at both."""
    room = math.copysign(8.0, ends[1] - ends[0])
    return ends[0] + room + (ends[1] - ends[0] - 2 * room) * (value - limits[0]) / (limits[1] - limits[0])


def _through(line: tuple[float, float], xs: Limits, ys: Limits, at: Callable[[float, float], Point]) -> list[Mark]:
    """The part of `offset + slope * x` that lies within both limits."""
    offset, slope = line
    ends = sorted(((y - offset) / slope for y in ys), key=float) if slope else list(xs)
    low, high = max(ends[0], xs[0]), min(ends[1], xs[1])
    if not low < high:
        return []
    return [Line((at(low, offset + slope * low), at(high, offset + slope * high)), "line2", 1.4, "6 3")]


def _key(view: Curve, left: float, width: float) -> list[Mark]:
    marks: list[Mark] = []
    room = (width - left) / min(len(view.series), IN_A_ROW) - 30
    names = [shortened(visible(series.name), SMALL, room) for series in view.series]
    wide = max((width_of(name, SMALL) for name in names), default=0.0)  # of a column, where there are several rows
    x = left
    for i, name in enumerate(names):
        row = i // IN_A_ROW
        x = left if i % IN_A_ROW == 0 else x
        marks.append(Line(((x, 9 + KEY_ROW * row), (x + 16, 9 + KEY_ROW * row)), COLORS[i % 6], 2, DASHES[i // 2 % 3]))
        marks.append(Words(x + 21, 13 + KEY_ROW * row, name, SMALL, "quiet"))
        x += 34 + (wide if len(names) > IN_A_ROW else width_of(name, SMALL))
    return marks


def _axis_words(names: tuple[str, str], xs: Limits, ys: Limits, frame: tuple[float, ...]) -> list[Mark]:
    left, top, right, low = frame
    name = shortened(visible(names[0]), SMALL, right - left)
    return [
        Words(left, low + 14, number(xs[0]), SMALL, "quiet", "start"),
        Words(right, low + 14, number(xs[1]), SMALL, "quiet", "end"),
        Words((left + right) / 2, low + 28, name, SMALL, "quiet", "middle"),
        Words(left - 6, low, number(ys[0]), SMALL, "quiet", "end"),
        Words(left - 6, top + 8, number(ys[1]), SMALL, "quiet", "end"),
        Words(left, top - 9, shortened(visible(names[1]), SMALL, right - left), SMALL, "quiet"),
    ]


def _span(parts: list[Array]) -> Limits:
    """The least and the greatest finite number, never equal."""
    together = np.concatenate([*(p.astype(np.float64) for p in parts), np.empty(0)])
    finite = together[np.isfinite(together)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _finite_runs(points: list[Point]) -> list[tuple[Point, ...]]:
    """The line in pieces: where there is no number, there is a gap."""
    runs = groupby(points, lambda p: math.isfinite(p[0]) and math.isfinite(p[1]))
    return [tuple(run) for finite, run in runs if finite]
