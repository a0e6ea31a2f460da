"""A View as HTML: one file that works from disk, in mail and offline, with no script and no request to anywhere.

Everything that comes from a user, a file or a model passes `safe`: it is made visible, then escaped, and stands only
in text or in a quoted attribute.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from pellucid.render import contact_sheet, figures, style
from pellucid.render import map as maps
from pellucid.render.cells import SYMBOLS, cell_text
from pellucid.render.colormap import Theme, colors, ink_on
from pellucid.render.plain import safe, visible
from pellucid.render.raster import sheet_uri
from pellucid.render.svg import inline
from pellucid.views.graph import Map
from pellucid.views.number import number, percent, signed_number
from pellucid.views.tiles import Tiles
from pellucid.views.view import (
    Bar,
    Bars,
    Card,
    Cell,
    Columns,
    Curve,
    Fold,
    Heading,
    Heat,
    Photo,
    Ruler,
    Scatter,
    Sheet,
    Stack,
    Table,
    Text,
    Tokens,
    Tone,
    View,
    size_words,
)  # fmt: skip

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
MANY = 7  # columns of a table beyond which cells stay on one line, and what is wide scrolls
_FIGURE, _SCALE, _MAP = 480.0, 340.0, 1100.0


def page(view: View, title: str, lang: str = "en") -> str:
    """A whole page: a policy that forbids scripts and requests, light and dark, narrow and wide, and print.

    >>> from pellucid.views.view import Heading
    >>> "&lt;script&gt;" in page(Heading("<script>", 1), "report")
    True
    """
    return (
        f'<!DOCTYPE html>\n<html lang="{safe(lang)}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{safe(title)}</title>\n<style>\n{style.sheet()}\n"
        "body{margin:0;background:#fbfaf8}@media screen and (prefers-color-scheme:dark){body{background:#15171a}}\n"
        f'</style>\n</head>\n<body>\n<main class="pellucid">\n{markup(view)}\n</main>\n</body>\n</html>\n'
    )


def fragment(view: View) -> str:
    """The view with its own style, for a notebook cell: nothing outside it changes, and it needs no identifier.

    >>> from pellucid.views.view import Text
    >>> fragment(Text("hello")).endswith('<p>hello</p></div>')
    True
    """
    return f'<div class="pellucid" lang="en"><style>{style.sheet()}</style>{markup(view)}</div>'


def markup(view: View) -> str:
    """One view as HTML, without a style."""
    match view:
        case Text():
            return _text(view)
        case Heading():
            return f"<h{view.level}>{safe(view.text)}</h{view.level}>"
        case Table():
            return _table(view)
        case Bars():
            return _bars(view)
        case Photo():
            picture = inline(figures.photo(view, _FIGURE), _alt(view.alt, view.title, "picture"), "picture")
            return _figure(view.title, picture, (view.caption,))
        case Heat():
            return _heat(view)
        case Ruler():
            return _ruler(view, "unknown")
        case Card():
            return _card(view)
        case Curve():
            alt = _alt(view.alt, view.caption, f"{view.y_name} over {view.x_name}")
            return _figure("", inline(figures.curve(view, 560), alt, "curve"), (view.caption,))
        case Scatter():
            return _scatter(view)
        case Tokens():
            return _tokens(view)
        case Tiles():
            return _tiles(view)
        case Map():
            drawing = maps.fitted(view, _MAP)
            return _figure(
                "", inline(drawing, _alt(view.alt, "the map of a network"), "map", fit=True), (view.caption,)
            )
        case Columns():
            return f'<div class="columns">{"".join(map(markup, view.views))}</div>'
        case Stack():
            return f'<div class="stack">{"".join(map(markup, view.views))}</div>'
        case Fold():
            opened = " open" if view.open else ""
            return f"<details{opened}><summary>{safe(view.title)}</summary>{markup(view.child)}</details>"


def _alt(*candidates: str) -> str:
    return next((c for c in candidates if c.strip()), "figure")


def _text(view: Text) -> str:
    if view.kind == "code":
        from_lines = "\n".join(safe(line) for line in visible(view.text, lines=True).split("\n"))
        return f"<pre><code>{from_lines}</code></pre>"
    kind = "" if view.kind == "plain" else f' class="{view.kind}"'
    return f"<p{kind}>{safe(view.text)}</p>"


def _figure(title: str, body: str, captions: tuple[str, ...]) -> str:
    name = f'<div class="name">{safe(title)}</div>' if title else ""
    words = "".join(f"<span>{safe(c)}</span>" for c in captions if c)
    return f"<figure>{name}{body}{f'<figcaption>{words}</figcaption>' if words else ''}</figure>"


def _heat(view: Heat) -> str:
    low, high = (number(v) for v in view.limits)
    alt = _alt(view.alt, view.title, "heat map")
    picture = inline(figures.heat(view, _FIGURE), alt, "picture")
    key = figures.legend(view.limits, view.signed, view.unit, _SCALE)
    scale = inline(key, f"color scale from {low} to {high} {view.unit}".strip(), "legend")
    return _figure(view.title, picture + scale, (size_words(view), view.statement, view.caption))


def _ruler(view: Ruler, tone: Tone) -> str:
    ticks = ", ".join(f"{name} {number(value, 2)}" for name, value in view.ticks)
    interval = f", interval {number(view.low, 2)} to {number(view.high, 2)}" if view.low == view.low else ""
    chance = f"; chance lies from {number(view.null[0], 2)} to {number(view.null[1], 2)}" if view.null else ""
    alt = f"{view.label or 'this map'} {number(view.value, 2)}{interval}{chance}; {ticks or 'no references'}"
    return inline(figures.ruler(view, tone, _SCALE), alt, "ruler")


def _card(view: Card) -> str:
    ruler = _ruler(view.ruler, view.tone) if view.ruler else ""
    sign = f'<span aria-hidden="true">{SYMBOLS[view.tone]}</span>'
    verdict = f'<div class="verdict {view.tone}">{sign}<span>{safe(view.verdict)}</span></div>'
    question = f'<div class="question">{safe(view.name)}</div>'
    return f'<section class="card">{question}{verdict}<p>{safe(view.sentence)}</p>{ruler}</section>'


def _scatter(view: Scatter) -> str:
    """The drawing, and over each dot a radio button: pointing at it, choosing it or walking there shows its numbers.

    All buttons are one stop of the Tab key; the arrow keys go through them from left to right.  The pictures are one
    file, which hangs on the figure as a property of style, so that the page needs neither a script nor an identifier.
    """
    drawing, places = figures.scatter(view, 560), figures.scatter_places(view, 560)
    plot = inline(drawing, _alt(view.alt, view.caption, f"{view.y_name} over {view.x_name}"), "dots")
    order = sorted((i for i, (x, y) in enumerate(places) if math.isfinite(x + y)), key=lambda i: places[i])
    group = "p" + hashlib.blake2b(view.x.tobytes() + view.y.tobytes(), digest_size=6).hexdigest()
    points = ""
    for i in order:
        at = f"--x:{places[i][0] / drawing.width:.4f};--y:{places[i][1] / drawing.height:.4f}"
        chosen = " checked" if i == order[-1] else ""
        radio = f'<input type="radio" name="{group}" style="{at}"{chosen}>'
        points += f"<label>{radio}{_peek(view, i)}</label>"
    name = f"<legend>{safe(view.y_name)}, {safe(view.x_name)}</legend>"
    body = f'<div class="scatter"{_hung(view.sheet)}>{plot}<fieldset>{name}{points}</fieldset></div>'
    hint = "Rest the pointer on a dot or tap it to see what it stands for; with the keyboard, Tab and the arrow keys."
    return _figure("", body, (view.caption, hint) if order else (view.caption,))


def _hung(sheet: Sheet | None) -> str:
    if sheet is None:
        return ""
    wide = min(sheet.width / sheet.height, 1.0)  # of the longest side that there is room for
    grid = f"--grid:{100 * sheet.columns}% {100 * sheet.rows}%;--shape:{sheet.width}/{sheet.height};--wide:{wide:.4f}"
    return f' style="--sheet:url({sheet_uri(sheet.pixels)});{grid}"'


def _peek(view: Scatter, i: int) -> str:
    """What is shown of a point: its picture, its word, its two numbers."""
    picture = ""
    if view.sheet is not None and i < view.sheet.count:
        row, column = divmod(i, view.sheet.columns)
        right, down = 100 * column / max(view.sheet.columns - 1, 1), 100 * row / max(view.sheet.rows - 1, 1)
        picture = f'<i style="background-position:{right:.3f}% {down:.3f}%"></i>'
    word = f"<b>{safe(view.words[i])}</b>" if view.words else ""
    numbers = ((view.x_name, view.x[i]), (view.y_name, view.y[i]))
    said = "".join(f"<span>{safe(name)}: {signed_number(float(v))}</span>" for name, v in numbers)
    return f'<span class="peek">{picture}<span class="said">{word}{said}</span></span>'


def _numeric(view: Table) -> tuple[bool, ...]:
    """Which columns hold only numbers: these are set to the right."""
    columns = zip(*view.rows, strict=True) if view.rows else [()] * len(view.columns)
    return tuple(bool(c) and all(isinstance(v, int | float | None) for v in c) for c in columns)


def _table(view: Table) -> str:
    right = [' class="number"' if numeric else "" for numeric in _numeric(view)]
    many = ' class="many"' if len(view.columns) > MANY else ""
    caption = f"<caption>{safe(view.caption)}</caption>" if view.caption else ""
    head = "".join(_head(name, r) for name, r in zip(view.columns, right, strict=True))
    rows = "".join(f"<tr>{_row(row, right)}</tr>" for row in view.rows)
    stop = (
        f' tabindex="0" role="group" aria-label="{safe(view.caption or "Table")}"' if many else ""
    )  # arrows scroll it
    table = f"<table{many}>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="wide"{stop}>{table}</div>'


def _head(name: str, right: str) -> str:
    """The head of a column; one without a name heads nothing."""
    return f'<th scope="col"{right}>{safe(name)}</th>' if name.strip() else "<td></td>"


def _row(row: tuple[Cell, ...], right: list[str]) -> str:
    first = f'<th scope="row"{right[0]}>{safe(cell_text(row[0]))}</th>' if row else ""
    rest = (f"<td{_exact(c)}{r}>{safe(cell_text(c))}</td>" for c, r in zip(row[1:], right[1:], strict=True))
    return first + "".join(rest)


def _exact(cell: Cell) -> str:
    """The whole number, where its cell shows only some digits."""
    return f' title="{cell!r}"' if isinstance(cell, float) else ""


def _bars(view: Bars) -> str:
    caption = f"<caption>{safe(view.caption)}</caption>" if view.caption else ""
    return f'<table class="bars">{caption}<tbody>{"".join(_bar(b, view) for b in view.bars)}</tbody></table>'


def _bar(bar: Bar, view: Bars) -> str:
    low, high = view.limits

    def at(value: float) -> float:
        return 100 * min(max((value - low) / ((high - low) or 1.0), 0.0), 1.0)

    fill = ""
    if bar.value == bar.value:
        ends = sorted((at(min(max(low, 0.0), high)), at(bar.value)))
        fill = f'<div class="fill" style="left:{ends[0]:.2f}%;width:{ends[1] - ends[0]:.2f}%"></div>'
    if bar.low == bar.low and bar.high == bar.high:
        left, right = at(bar.low), at(bar.high)
        fill += f'<div class="whisker" style="left:{left:.2f}%;width:{right - left:.2f}%"></div>'
    value = percent(bar.value) if view.percent else number(bar.value)
    hint = f"{bar.value:.6g}" + (f" [{bar.low:.6g}, {bar.high:.6g}]" if bar.low == bar.low else "")
    strong = ' class="strong"' if bar.strong else ""
    return (
        f'<tr{strong}><th scope="row">{safe(bar.label)}</th><td><div class="track" title="{hint}">{fill}</div></td>'
        f'<td class="number">{value}</td></tr>'
    )


def _tokens(view: Tokens) -> str:
    pieces = "".join(_token(t, v, view) for t, v in zip(view.tokens, view.values, strict=True))
    key = figures.legend(view.limits, view.signed, "", _SCALE)
    low, high = (number(v) for v in view.limits)
    scale = inline(key, f"color scale from {low} to {high}", "legend")
    return _figure("", f'<div class="tokens">{pieces}</div>{scale}', (view.statement, view.caption))


def _token(token: str, value: float, view: Tokens) -> str:
    look = _token_color(value, view, "light") + ";" + _token_color(value, view, "dark")
    return f'<span class="token" style="{look}" title="{number(value, 4)}">{safe(token)}</span>'


def _token_color(value: float, view: Tokens, theme: Theme) -> str:
    red, green, blue = (int(v) for v in colors(np.array([value]), view.limits, view.signed, theme)[0])
    ink = ink_on((red, green, blue))
    return f"--on-{theme}:rgb({red} {green} {blue});--ink-{theme}:rgb({ink[0]} {ink[1]} {ink[2]})"


def _tiles(view: Tiles) -> str:
    """A list that wraps: each tile one drawing, its title and its line."""
    tiles = ""
    for tile, drawing in zip(view.tiles, contact_sheet.drawn(view), strict=True):
        title = f"<b>{safe(tile.title)}</b>" if tile.title else ""
        line = f"<span>{safe(tile.line)}</span>" if tile.line else ""
        tiles += f"<li>{inline(drawing, tile.words, 'picture')}{title}{line}</li>"
    return _figure(view.title, f'<ul class="tiles" style="--side:{view.side:g}px">{tiles}</ul>', (view.caption,))
