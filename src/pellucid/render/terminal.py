"""A View as text for a terminal: colored half blocks for maps where the terminal has color, plain text otherwise."""

from __future__ import annotations

from pellucid.render.cells import SYMBOLS
from pellucid.render.plain import columns_wide, visible
from pellucid.render.terminal_words import bars, ruler, table, text, wrap
from pellucid.views.graph import Map
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
    View,
)  # fmt: skip

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
            return text(view, width)
        case Heading():
            title = visible(view.text)
            rule = ["─" * min(columns_wide(title), width)] if view.level == 1 else []
            return [_bold(line, color) for line in wrap(title, width)] + rule
        case Table():
            return table(view, width)
        case Bars():
            return bars(view, width)
        case Photo() | Heat() | Curve() | Scatter() | Tokens():
            from pellucid.render.terminal_pictures import lines  # it needs NumPy, which words do without

            return lines(view, width, color)
        case Ruler():
            return ruler(view, width)
        case Card():
            rest = ruler(view.ruler, width - 2) if view.ruler else []
            head = f"{SYMBOLS[view.tone]} {visible(view.name)} {visible(view.verdict)}"
            return [_bold(head, color), *("  " + t for t in [*wrap(visible(view.sentence), width - 2), *rest])]
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


def _tiles(view: Tiles, width: int) -> list[str]:
    """What the tiles say: the pictures themselves are too small and too many for a terminal."""
    rows = tuple((i, tile.title, tile.line or tile.alt) for i, tile in enumerate(view.tiles, 1))
    caption = wrap(visible(view.caption), width) if view.caption else []
    return [*table(Table(("Tile", "Title", "Line"), rows, view.title), width), *caption]
