"""A View as text for a terminal: colored half blocks for maps where the terminal has color, plain text otherwise."""

from __future__ import annotations

import textwrap
from itertools import zip_longest

import numpy as np

from pellucid.render import raster
from pellucid.render.colormap import colors, ink_on
from pellucid.render.layout import SYMBOLS, cell_text
from pellucid.render.plain import columns_wide, visible
from pellucid.views.graph import Map
from pellucid.views.number import number, percent, signed_number
from pellucid.views.tiles import Tiles
from pellucid.views.view import (
    Array,
    Bars,
    Card,
    Columns,
    Curve,
    Fold,
    Heading,
    Heat,
    Limits,
    Photo,
    Ruler,
    Scatter,
    Stack,
    Table,
    Text,
    Tokens,
    View,
    size_words,
)  # fmt: skip

_SHADES = " .:-=+*#%@"
COLUMNS, _PLOT_ROWS = 48, 12
_RESET = "\x1b[0m"


def terminal(view: View, width: int = 80, color: bool = False) -> str:
    """The view as lines no longer than `width`; `color` for a terminal that understands 24-bit color.

    Whatever stands in a name, the only escape sequences in the text are the ones that set colors here.

    >>> from pellucid.views.view import Bar, Bars
    >>> print(terminal(Bars((Bar("tabby", 0.5), Bar("tiger cat", 0.25)), percent=True), width=40))
    tabby     ██████████           50 %
    tiger cat █████                25 %
    """
    return "\n".join(_lines(view, max(width, 20), color))


def _lines(view: View, width: int, color: bool) -> list[str]:
    match view:
        case Text():
            return _text(view, width)
        case Heading():
            title = visible(view.text)
            rule = ["─" * min(columns_wide(title), width)] if view.level == 1 else []
            return [_bold(line, color) for line in _wrap(title, width)] + rule
        case Table():
            return _table(view, width)
        case Bars():
            return _bars(view, width)
        case Photo():
            return _captioned(view.title, _picture(view.pixels, width, color), view.caption or view.alt, width)
        case Heat():
            return _heat(view, width, color)
        case Ruler():
            return _ruler(view, width)
        case Card():
            rest = _ruler(view.ruler, width - 2) if view.ruler else []
            head = f"{SYMBOLS[view.tone]} {visible(view.name)} {visible(view.verdict)}"
            return [_bold(head, color), *("  " + t for t in [*_wrap(visible(view.sentence), width - 2), *rest])]
        case Curve():
            return _curve(view, width)
        case Scatter():
            return _scatter(view, width)
        case Tokens():
            return _tokens(view, width, color)
        case Tiles():
            return _tiles(view, width)
        case Map():
            return []  # boxes and wires need more room than letters have
        case Columns():
            return _one_by_one(_without_repeats(view.views), width, color)
        case Stack():
            return _one_by_one(view.views, width, color)
        case Fold():
            if not view.open:
                return [f"+ {visible(view.title)}"]
            return [f"- {visible(view.title)}", *("  " + t for t in _lines(view.child, width - 2, color))]


def _one_by_one(views: tuple[View, ...], width: int, color: bool) -> list[str]:
    shown = filter(None, (_lines(v, width, color) for v in views))
    return [line for lines in shown for line in [*lines, ""]][:-1]


def _without_repeats(views: tuple[View, ...]) -> tuple[View, ...]:
    """A terminal shows no photo under a map: beside the map that lies over one, the same map alone adds nothing."""
    laid_over = any(isinstance(v, Heat) and v.underlay is not None for v in views)
    return tuple(v for v in views if not (laid_over and isinstance(v, Heat) and v.underlay is None))


def _bold(text: str, color: bool) -> str:
    return f"\x1b[1m{text}{_RESET}" if color and text else text


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 10)) or [""]


def _text(view: Text, width: int) -> list[str]:
    if view.kind == "code":
        return visible(view.text, lines=True).split("\n")
    return _wrap(visible(view.text), width)


def _captioned(title: str, body: list[str], caption: str, width: int) -> list[str]:
    above = _wrap(visible(title), width) if title else []
    return [*above, *body, *(_wrap(visible(caption), width) if caption else [])]


def _picture(pixels: Array, width: int, color: bool) -> list[str]:
    if not color:
        return [f"[a picture of {pixels.shape[1]}×{pixels.shape[0]} pixels]"]
    small = np.stack([_shrunk(pixels[..., c], min(width, COLUMNS)) for c in range(3)], -1)
    return _halves(np.floor(small + 0.5).astype(int))


def _halves(pixels: Array) -> list[str]:
    """Two pixels a character: the upper half block in the upper one's color on the lower one's."""
    out = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells = (_half(u, low) for u, low in zip(upper.tolist(), lower.tolist(), strict=True))
        out.append("".join(cells) + _RESET)
    return out


def _half(upper: list[int], lower: list[int]) -> str:
    front, back = ";".join(map(str, upper)), ";".join(map(str, lower))
    return f"\x1b[38;2;{front};48;2;{back}m▀"


def _shrunk(values: Array, columns: int) -> Array:
    """Means over blocks: at most `columns` wide, an even number of rows, each cell about square."""
    columns = min(columns, values.shape[1]) if values.shape[1] >= 16 else columns
    rows = max(2, 2 * round(columns * values.shape[0] / values.shape[1] / 2))
    if rows > values.shape[0] or columns > values.shape[1]:
        return raster.enlarged(values, min(rows, 96), columns, smooth=False)
    at_rows, at_columns = (np.arange(n) * size // n for n, size in zip((rows, columns), values.shape, strict=True))
    sums = np.add.reduceat(np.add.reduceat(np.nan_to_num(values.astype(np.float64)), at_rows, 0), at_columns, 1)
    sizes = np.outer(np.diff([*at_rows, values.shape[0]]), np.diff([*at_columns, values.shape[1]]))
    out: Array = sums / sizes
    return out


def _heat(view: Heat, width: int, color: bool) -> list[str]:
    """The map as means over blocks; their limits are their own, since means are smaller than the strongest pixels."""
    values = _shrunk(view.values, min(width, COLUMNS))
    averaged = values.size < view.values.size
    reach = float(np.abs(np.nan_to_num(values)).max())
    limits = ((-reach if view.signed else 0.0), reach) if averaged else view.limits
    if color:
        body = _halves(colors(values, limits, view.signed, "dark").astype(int))
    else:
        body = _shaded(values, max(abs(v) for v in limits))
    low, high = (number(limits[0]), signed_number(limits[1]) if view.signed else number(limits[1]))
    unit = f" {visible(view.unit)}" if view.unit else ""
    block = f" (means over about {view.values.shape[1] // values.shape[1]} pixels square)" if averaged else ""
    scale = f"Drawn from {low} to {high}{unit}{block}. {size_words(view)}."
    words = [line for part in (scale, view.statement, view.caption) if part for line in _wrap(visible(part), width)]
    return [*(_wrap(visible(view.title), width) if view.title else []), *body, *words]


def _shaded(values: Array, reach: float) -> list[str]:
    """Without color: the denser the sign, the farther from zero; "/" where a strong value is negative."""
    values = (values[::2] + values[1::2]) / 2
    share = np.clip(np.abs(np.nan_to_num(values)) / (reach or 1.0), 0, 1)
    level = np.floor(share * (len(_SHADES) - 1) + 0.5).astype(int)
    rows = zip(level.tolist(), values.tolist(), strict=True)
    return ["".join("/" if v < 0 and n > 1 else _SHADES[n] for n, v in zip(ns, vs, strict=True)) for ns, vs in rows]


def _bars(view: Bars, width: int) -> list[str]:
    names = [visible(b.label) for b in view.bars]
    label = min(max((columns_wide(n) for n in names), default=0), width // 2)
    room = width - label - 10
    low, high = view.limits
    out = _wrap(visible(view.caption), width) if view.caption else []
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


def _table(view: Table, width: int) -> list[str]:
    rows = [tuple(map(visible, view.columns)), *(tuple(map(cell_text, row)) for row in view.rows)]
    asked = [max(columns_wide(t) for t in column) for column in zip(*rows, strict=True)]
    given = _shared(asked, width - 2 * (len(asked) - 1))
    lines = [line for row in rows[1:] for line in _table_row(row, given)]
    caption = _wrap(visible(view.caption), width) if view.caption else []
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
    broken = [_wrap(t, w) or [""] for t, w in zip(cells, widths, strict=True)]
    lines = zip_longest(*broken, fillvalue="")
    return ["  ".join(_fit(t, w) for t, w in zip(line, widths, strict=True)).rstrip() for line in lines]


def _ruler(view: Ruler, width: int) -> list[str]:
    interval = f" [{number(view.low, 2)}, {number(view.high, 2)}]" if view.low == view.low else ""
    chance = f"chance {number(view.null[0], 2)} to {number(view.null[1], 2)}" if view.null else ""
    ticks = [f"{visible(name)} {number(value, 2)}" for name, value in view.ticks]
    this = f"{visible(view.label) or 'this map'} {number(view.value, 2)}{interval}"
    return _wrap("; ".join(part for part in (this, chance, *ticks) if part), width)


def _curve(view: Curve, width: int) -> list[str]:
    axes = f"{visible(view.y_name) or 'y'} over {visible(view.x_name) or 'x'}"
    ends = [f"{visible(s.name)}: {_first(s.y)} to {_first(s.y[::-1])} ({len(s.y)} points)" for s in view.series]
    caption = _wrap(visible(view.caption), width) if view.caption else []
    return [*_wrap(axes, width), *(line for e in ends for line in _wrap(e, width)), *caption]


def _first(values: Array) -> str:
    return number(float(values[0])) if len(values) else "–"


def _scatter(view: Scatter, width: int) -> list[str]:
    """The points counted in a grid of characters: the denser the sign, the more of them lie there."""
    known = np.isfinite(view.x) & np.isfinite(view.y)
    x, y = view.x[known].astype(np.float64), view.y[known].astype(np.float64)
    names = (visible(view.y_name) or "y", visible(view.x_name) or "x")
    caption = _wrap(visible(view.caption), width) if view.caption else []
    if not len(x):
        return [*_wrap(f"{names[0]} over {names[1]}: no points", width), *caption]
    counts = np.histogram2d(-y, x, bins=(_PLOT_ROWS, min(width - 2, COLUMNS)))[0]
    rows = _shaded(np.repeat(np.sqrt(counts), 2, 0), float(np.sqrt(counts.max())))
    up, right = (f"from {number(float(v.min()))} to {number(float(v.max()))}" for v in (y, x))
    said = f"Up: {names[0]} {up}. Right: {names[1]} {right}. {len(x)} points."
    return [*(f"│{row}".rstrip() for row in rows), "└" + "─" * counts.shape[1], *_wrap(said, width), *caption]


def _tokens(view: Tokens, width: int, color: bool) -> list[str]:
    pieces = []
    for token, value in zip(view.tokens, view.values, strict=True):
        text = visible(token)
        plain = f"{text}({signed_number(value, 2)})"
        pieces.append(_painted(text, value, view.limits, view.signed) if color else plain)
    body = ["".join(pieces)] if color else _wrap(" ".join(pieces), width)
    words = [line for part in (view.statement, view.caption) if part for line in _wrap(visible(part), width)]
    return [*body, *words]


def _painted(text: str, value: float, limits: Limits, signed: bool) -> str:
    back = tuple(int(v) for v in colors(np.array([value]), limits, signed, "dark")[0])
    front = ink_on((back[0], back[1], back[2]))
    return f"\x1b[38;2;{';'.join(map(str, front))};48;2;{';'.join(map(str, back))}m{text}{_RESET}"


def _tiles(view: Tiles, width: int) -> list[str]:
    """What the tiles say: the pictures themselves are too small and too many for a terminal."""
    rows = tuple((i, tile.title, tile.line or tile.alt) for i, tile in enumerate(view.tiles, 1))
    caption = _wrap(visible(view.caption), width) if view.caption else []
    return [*_table(Table(("Tile", "Title", "Line"), rows, view.title), width), *caption]
