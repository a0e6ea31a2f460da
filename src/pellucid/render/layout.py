"""A whole View on one sheet, for PNG and SVG: text is broken into lines, parts are stacked or set side by side."""

from __future__ import annotations

import numpy as np

from pellucid.render import contact_sheet, figures
from pellucid.render import map as maps
from pellucid.render.cells import cell_text
from pellucid.render.colormap import colors, ink_on
from pellucid.render.font import shortened, width_of, wrapped
from pellucid.render.marks import Box, Dot, Drawing, Line, Mark, Pixels, Role, Words, moved
from pellucid.render.plain import visible
from pellucid.views.graph import Map
from pellucid.views.number import number, percent
from pellucid.views.tiles import Tiles
from pellucid.views.view import (
    Bars,
    Card,
    Columns,
    Curve,
    Fold,
    Heading,
    Heat,
    Photo,
    Ruler,
    Scatter,
    Stack,
    Table,
    Text,
    Tokens,
    Tone,
    View,
    size_words,
)  # fmt: skip

GAP, GUTTER, MARGIN = 14.0, 24.0, 32.0
SIZES = {1: 22.0, 2: 15.0, 3: 13.0}
MOST_LINES, MOST_ROWS, BESIDE = 60, 60, 640.0


def sheet(view: View, width: float = 960.0) -> Drawing:
    """The view with a margin around it, on paper of the page's color; wider where a map in it asks for more."""
    parts = view.views if isinstance(view, Stack) else (view,)
    width = max([width, *(maps.best_width(part) + 2 * MARGIN for part in parts if isinstance(part, Map))])
    inner = place(view, width - 2 * MARGIN)
    height = inner.height + 2 * MARGIN
    ground = Box(0, 0, width, height, "panel")
    return Drawing(width, height, (ground, *(moved(m, MARGIN, MARGIN) for m in inner.marks)))


def place(view: View, width: float) -> Drawing:
    """One view, as wide as it is told, as high as it needs."""
    match view:
        case Text():
            return _text(view, width)
        case Heading():
            return lines(visible(view.text), width, SIZES[view.level], bold=True)
        case Table():
            return _table(view, width)
        case Bars():
            return _bars(view, width)
        case Photo():
            return stacked([*_titled(view.title, width), figures.photo(view, width), *_small(width, view.caption)], 5)
        case Heat():
            return _heat(view, width)
        case Ruler():
            return figures.ruler(view, "unknown", width)
        case Card():
            return _card(view, width)
        case Curve():
            return stacked([figures.curve(view, width), *_small(width, view.caption)], 5)
        case Scatter():
            return stacked([figures.scatter(view, width), *_small(width, view.caption)], 5)
        case Tokens():
            return _tokens(view, width)
        case Tiles():
            return stacked(
                [*_titled(view.title, width), contact_sheet.sheet(view, width), *_small(width, view.caption)], 5
            )
        case Map():
            return stacked([maps.fitted(view, width), *_small(width, view.caption)], 5)
        case Columns():
            return _columns(view, width)
        case Stack():
            return stacked([place(v, width) for v in view.views], GAP)
        case Fold():
            return _fold(view, width)


def stacked(parts: list[Drawing], gap: float) -> Drawing:
    """Drawings one under another."""
    marks: list[Mark] = []
    y, width = 0.0, 0.0
    for part in parts:
        marks += [moved(m, 0, y) for m in part.marks]
        y += part.height + gap
        width = max(width, part.width)
    return Drawing(width, max(y - gap, 0.0), tuple(marks))


def lines(text: str, width: float, size: float, role: Role = "ink", bold: bool = False, mono: bool = False) -> Drawing:
    """A paragraph; one that is very long ends with an ellipsis."""
    broken = [piece for line in text.split("\n") for piece in wrapped(line, size, width, bold)]
    if len(broken) > MOST_LINES:
        broken = [*broken[: MOST_LINES - 1], "…"]
    step = size * 1.45
    words = tuple(Words(0, size + i * step, t, size, role, bold=bold, mono=mono) for i, t in enumerate(broken) if t)
    return Drawing(width, step * len(broken) - size * 0.15, words)


def _text(view: Text, width: float) -> Drawing:
    code = view.kind == "code"
    text = visible(view.text, lines=code)
    if view.kind == "lead":
        return lines(text, width, 16)
    role: Role = "quiet" if view.kind == "quiet" else "weak" if view.kind == "warning" else "ink"
    return lines(text, width, 11.5 if code or view.kind == "quiet" else 13, role, mono=code)


def _titled(title: str, width: float) -> list[Drawing]:
    return [lines(visible(title), width, 13, bold=True)] if title else []


def _small(width: float, *texts: str) -> list[Drawing]:
    return [lines(visible(t), width, 11, "quiet") for t in texts if t]


def _heat(view: Heat, width: float) -> Drawing:
    key = figures.legend(view.limits, view.signed, view.unit, width)
    words = _small(width, size_words(view), view.statement, view.caption)
    return stacked([*_titled(view.title, width), figures.heat(view, width), key, *words], 5)


def _card(view: Card, width: float, height: float = 0.0) -> Drawing:
    """A framed card, at least `height` high; where there is room, its ruler stands beside its words."""
    inside = width - 28
    beside = width >= BESIDE and view.ruler is not None
    room = (inside - GUTTER) / 2 if beside else inside
    verdict = lines(visible(view.verdict), room - 16, 13, view.tone, bold=True)
    verdict = Drawing(room, verdict.height, (_sign(view.tone), *(moved(m, 16, 0) for m in verdict.marks)))
    parts = [lines(visible(view.name), room, 13, bold=True), verdict, lines(visible(view.sentence), room, 12)]
    if view.ruler is not None and not beside:
        parts.append(figures.ruler(view.ruler, view.tone, room))
    body = stacked(parts, 6)
    if view.ruler is not None and beside:
        ruler = figures.ruler(view.ruler, view.tone, room)
        shifted = tuple(moved(m, room + GUTTER, 16) for m in ruler.marks)
        body = Drawing(inside, max(body.height, ruler.height + 16), (*body.marks, *shifted))
    height = max(body.height + 24, height)
    frame = Box(0, 0, width, height, "panel", 6, "line")
    return Drawing(width, height, (frame, *(moved(m, 14, 12) for m in body.marks)))


def _sign(tone: Tone) -> Mark:
    if tone == "unknown":
        return Words(1, 13, "?", 13, tone, bold=True)
    return Dot(4, 8.5, 4, tone if tone == "good" else "band" if tone == "weak" else "panel", tone)


def _columns(view: Columns, width: float) -> Drawing:
    if not view.views:
        return Drawing(width, 0, ())
    most = max(1, int((width + GUTTER) // (150 + GUTTER)))
    rows = [view.views[i : i + most] for i in range(0, len(view.views), most)]
    across = min(len(view.views), most)
    each = (width - GUTTER * (across - 1)) / across
    return stacked([_row(_level(row, each), each) for row in rows], GAP)


def _level(row: tuple[View, ...], each: float) -> list[Drawing]:
    """The views of one row; cards are made equally high."""
    placed = [place(v, each) for v in row]
    height = max(p.height for p in placed)
    return [_card(v, each, height) if isinstance(v, Card) else p for v, p in zip(row, placed, strict=True)]


def _row(parts: list[Drawing], each: float) -> Drawing:
    marks = [moved(m, i * (each + GUTTER), 0) for i, part in enumerate(parts) for m in part.marks]
    return Drawing(len(parts) * (each + GUTTER) - GUTTER, max(p.height for p in parts), tuple(marks))


def _fold(view: Fold, width: float) -> Drawing:
    """What is closed on the page is only named in a picture."""
    if not view.open:
        return lines(f"{visible(view.title)} (in the HTML report)", width, 11, "quiet")
    return stacked([lines(visible(view.title), width, 13, bold=True), place(view.child, width)], 8)


def _bars(view: Bars, width: float) -> Drawing:
    label, figure = width * 0.32, 58.0
    start, room = label + 10, width - label - 10 - figure
    low, high = view.limits
    marks: list[Mark] = []

    def at(value: float) -> float:
        return start + room * min(max((value - low) / ((high - low) or 1.0), 0), 1)

    for i, bar in enumerate(view.bars):
        y = i * 22.0
        name = shortened(visible(bar.label), 12, label)
        marks.append(Words(0, y + 14, name, 12, "ink", bold=bar.strong))
        marks.append(Box(start, y + 4, room, 12, "band", 2))
        if bar.value == bar.value:
            ends = sorted((at(min(max(low, 0.0), high)), at(bar.value)))
            marks.append(Box(ends[0], y + 4, ends[1] - ends[0], 12, "accent" if bar.strong else "mute", 2))
        if bar.low == bar.low and bar.high == bar.high:
            marks.append(Line(((at(bar.low), y + 10), (at(bar.high), y + 10)), "ink", 1.5))
        value = percent(bar.value) if view.percent else number(bar.value)
        marks.append(Words(width, y + 14, value, 12, "ink", "end"))
    chart = Drawing(width, 22.0 * len(view.bars), tuple(marks))
    return stacked([*_titled(view.caption, width), chart], 5)


def _table(view: Table, width: float) -> Drawing:
    rows = [tuple(visible(c) for c in view.columns), *(tuple(map(cell_text, r)) for r in view.rows[:MOST_ROWS])]
    widths = _column_widths(rows, width)
    parts = []
    for i, row in enumerate(rows):
        cells = [lines(t, w - 12, 11.5, "quiet" if i == 0 else "ink") for t, w in zip(row, widths, strict=True)]
        height = max((c.height for c in cells), default=0.0) + 8
        marks: list[Mark] = [Line(((0, height), (width, height)), "line")]
        for j, cell in enumerate(cells):
            marks += [moved(m, sum(widths[:j]), 3) for m in cell.marks]
        parts.append(Drawing(width, height, tuple(marks)))
    left_out = len(view.rows) - MOST_ROWS
    more = _small(width, f"and {left_out} rows more") if left_out > 0 else []
    return stacked([*_titled(view.caption, width), *parts, *more], 2)


def _column_widths(rows: list[tuple[str, ...]], width: float) -> list[float]:
    """Each column what its longest cell asks for, if there is room; else shares, none below a tenth of its even one."""
    asked = [max(min(width_of(t, 11.5), width) for t in column) + 14 for column in zip(*rows, strict=True)]
    spare = width - sum(asked)
    if not asked or spare >= 0:
        return [a + spare / len(asked) for a in asked]
    even = width / len(asked)
    narrow = {i for i, a in enumerate(asked) if a <= even}
    rest = width - sum(asked[i] for i in narrow)
    wide = sum(a for i, a in enumerate(asked) if i not in narrow)
    return [a if i in narrow else rest * a / wide for i, a in enumerate(asked)]


def _tokens(view: Tokens, width: float) -> Drawing:
    x, y, size = 0.0, 0.0, 14.0
    marks: list[Mark] = []
    for token, value in zip(view.tokens, view.values, strict=True):
        text = shortened(visible(token) or "·", size, width - 10)
        wide = width_of(text, size) + 8
        if x and x + wide > width:
            x, y = 0.0, y + 26
        color = colors(np.array([[value]]), view.limits, view.signed)
        red, green, blue = (int(v) for v in color[0, 0])
        ink = ink_on((red, green, blue))
        marks.append(Pixels(x, y, wide, 22, color))
        marks.append(Words(x + 4, y + 16, text, size, "black" if ink[0] < 128 else "white"))
        x += wide + 2
    piece = Drawing(width, y + 24, tuple(marks))
    key = figures.legend(view.limits, view.signed, "", min(width, 320))
    return stacked([piece, key, *_small(width, view.statement, view.caption)], 6)
