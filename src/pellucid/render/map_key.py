"""What the colors of a map mean: families of operations, a measure's scale with its numbers, activations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pellucid.architecture.overlay import Measure
from pellucid.render.colormap import levels, ramp, table
from pellucid.render.font import width_of
from pellucid.render.graph.lettering import LINE
from pellucid.render.marks import Box, Drawing, Mark, Pixels, Words, moved
from pellucid.views.arrays import Array
from pellucid.views.graph import Map
from pellucid.views.number import number, percent

UNITS = ("", "k", "M", "G", "T", "P")
STRIP = 60.0  # how wide the colors of activations are


def shade(shares: Array) -> Array:
    """Colors for shares from 0 to 1, dark for little and bright for much, as on the page that moves."""
    out: Array = table("viridis")[levels(shares, (0.0, 1.0))]
    return out


def share(value: float, measure: Measure) -> float:
    """Where a value lies between a measure's limits, 0 to 1, on its scale."""
    low, high = measure.limits
    if measure.scale == "log":
        low, high, value = (math.log1p(max(v, 0.0) / _small(measure)) for v in (low, high, value))
    return min(max((value - low) / ((high - low) or 1.0), 0.0), 1.0)


def _small(measure: Measure) -> float:
    """What counts as nearly nothing on a logarithmic scale: a ten-thousandth of the largest value."""
    return (measure.limits[1] or 1.0) * 1e-4


def amount(value: float, measure: Measure) -> str:
    """A measure's number with its unit: `21.7 M`, `1.2 MB`, `3.4 ms`, `31 %`."""
    if measure.scale == "share":
        return percent(value)
    if measure.unit == "s":
        return f"{number(value * 1000)} ms" if value >= 1e-3 else f"{number(value * 1e6)} µs"
    if abs(value) < 1000 or value != value:
        return f"{number(value)} {measure.unit}".strip()
    power = min(int(math.log10(abs(value)) // 3), len(UNITS) - 1)
    return f"{number(value / 1000**power)} {UNITS[power]}{measure.unit}".strip()


def key(view: Map, width: float) -> Drawing:
    """What the colors mean: the families that occur, or the measure's scale; and those of activations."""
    names = [*dict.fromkeys(f for f in view.graph.nodes.family if f != "io")]
    shown = _measured(view.measure, width) if view.measure is not None else _families(names, width)
    scales = _scales({t.signed for t in view.pictures.values()})
    top = shown.height + 10 if shown.marks else 0.0
    below = tuple(moved(m, 0, top) for m in scales.marks)
    return Drawing(width, top + scales.height, (*shown.marks, *below)) if scales.marks else shown


def _measured(measure: Measure, width: float) -> Drawing:
    low, high = (amount(v, measure) for v in measure.limits)
    wide = min(width, 280.0)
    strip = (Pixels(0, 0, wide, 10, shade(np.linspace(0, 1, 256)[None])), Box(0, 0, wide, 10, "none", edge="line"))
    title = f"{measure.title}{' (logarithmic)' if measure.scale == 'log' else ''}"
    ends = (Words(0, 24, low, LINE), Words(wide, 24, high, LINE, anchor="end"))
    return Drawing(width, 28, (*strip, *ends, Words(wide + 14, 10, title, LINE, "quiet")))


def _scales(signs: set[bool]) -> Drawing:
    """The colors of activations: every box has its own largest value."""
    marks: list[Mark] = []
    x = 0.0
    for signed in sorted(signs):
        low, high = ("−", "+ largest of a box") if signed else ("0", "largest of a box")
        left = x + width_of(low, LINE) + 6
        dark = ramp(signed, "dark") if signed else None
        marks.append(Words(x, 10, low, LINE, "quiet"))
        marks.append(Pixels(left, 1, STRIP, 10, ramp(signed, "light"), dark))
        marks.append(Words(left + STRIP + 6, 10, high, LINE, "quiet"))
        x = left + STRIP + 6 + width_of(high, LINE) + 24
    return Drawing(x, 14.0 if marks else 0.0, tuple(marks))


def _families(names: Sequence[str], width: float) -> Drawing:
    marks: list[Mark] = []
    x, y = 0.0, 0.0
    for name in names:
        wide = 18 + width_of(name, LINE) + 14
        if x and x + wide > width:
            x, y = 0.0, y + 18
        marks.append(Box(x, y, 12, 12, name, 2))  # type: ignore[arg-type]  # every family is a role
        marks.append(Words(x + 17, y + 10, name, LINE, "quiet"))
        x += wide
    return Drawing(width, y + 14, tuple(marks))
