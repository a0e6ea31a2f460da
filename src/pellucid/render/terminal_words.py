"""Views that are words, as lines for a terminal: paragraphs, tables, bars, rulers.  Nothing here needs NumPy."""

from __future__ import annotations

import textwrap
from itertools import zip_longest

from pellucid.render.cells import cell_text
from pellucid.render.plain import columns_wide, visible
from pellucid.views.number import number, percent
from pellucid.views.view import Bars, Ruler, Table, Text


def wrap(text: str, width: int) -> list[str]:
    """The text broken into lines."""
    return textwrap.wrap(text, max(width, 10)) or [""]


def captioned(title: str, body: list[str], caption: str, width: int) -> list[str]:
    """Lines under a title, with a caption under them."""
    above = wrap(visible(title), width) if title else []
    return [*above, *body, *(wrap(visible(caption), width) if caption else [])]


def text(view: Text, width: int) -> list[str]:
    """A paragraph."""
    if view.kind == "code":
        return visible(view.text, lines=True).split("\n")
    return wrap(visible(view.text), width)


def bars(view: Bars, width: int) -> list[str]:
    """Named bars with their values."""
    names = [visible(b.label) for b in view.bars]
    label = min(max((columns_wide(n) for n in names), default=0), width // 2)
    room = width - label - 10
    low, high = view.limits
    out = wrap(visible(view.caption), width) if view.caption else []
    for name, bar in zip(names, view.bars, strict=True):
        share = min(max((bar.value - low) / ((high - low) or 1.0), 0.0), 1.0) if bar.value == bar.value else 0.0
        value = percent(bar.value) if view.percent else number(bar.value)
        interval = f" [{number(bar.low)}, {number(bar.high)}]" if bar.low == bar.low else ""
        out.append(f"{_fit(name, label)} {'█' * round(share * room):<{room}} {value:>6}{interval}".rstrip())
    return out


def _fit(text: str, width: int) -> str:
    while columns_wide(text) > width:
        text = text[:-2] + "…" if len(text) > 1 else ""
    return text + " " * (width - columns_wide(text))


def table(view: Table, width: int) -> list[str]:
    """A table, long cells broken into several lines."""
    rows = [tuple(map(visible, view.columns)), *(tuple(map(cell_text, row)) for row in view.rows)]
    asked = [max(columns_wide(t) for t in column) for column in zip(*rows, strict=True)]
    given = _shared(asked, width - 2 * (len(asked) - 1))
    lines = [line for row in rows[1:] for line in _table_row(row, given)]
    caption = wrap(visible(view.caption), width) if view.caption else []
    rule = "─" * min(sum(given) + 2 * (len(given) - 1), width)
    return [*caption, *_table_row(rows[0], given), rule, *lines]


def _shared(asked: list[int], room: int) -> list[int]:
    """Widths for columns: what each asks for where that is no more than its share of what the others leave."""
    given, waiting = [0] * len(asked), sorted(range(len(asked)), key=lambda i: asked[i])
    for left, i in zip(range(len(asked), 0, -1), waiting, strict=True):
        given[i] = min(asked[i], max(8, room // left))
        room -= given[i]
    return given


def _table_row(cells: tuple[str, ...], widths: list[int]) -> list[str]:
    """A row, its long cells broken into several lines."""
    broken = [wrap(t, w) or [""] for t, w in zip(cells, widths, strict=True)]
    lines = zip_longest(*broken, fillvalue="")
    return ["  ".join(_fit(t, w) for t, w in zip(line, widths, strict=True)).rstrip() for line in lines]


def ruler(view: Ruler, width: int) -> list[str]:
    """A value with its interval, what chance gives, and what has a name on the scale."""
    interval = f" [{number(view.low, 2)}, {number(view.high, 2)}]" if view.low == view.low else ""
    chance = f"chance {number(view.null[0], 2)} to {number(view.null[1], 2)}" if view.null else ""
    ticks = [f"{visible(name)} {number(value, 2)}" for name, value in view.ticks]
    this = f"{visible(view.label) or 'this map'} {number(view.value, 2)}{interval}"
    return wrap("; ".join(part for part in (this, chance, *ticks) if part), width)
