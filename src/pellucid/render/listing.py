"""What a terminal shows of a network's map: totals, the tree in columns that fit, and how often each operation runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pellucid.architecture.architecture import Architecture
from pellucid.render.cells import cell_text
from pellucid.render.plain import columns_wide
from pellucid.views.architecture import activity, head, tree_table
from pellucid.views.number import count
from pellucid.views.view import Cell, Fold, Stack, Table, Text, View

FIRST, LAST = 45, 15  # lines of a tree that does not fold
KINDS, WORST = 6, 6  # kinds of operations that are named, places that are listed
NARROWEST = 12  # letters of a name
LEAST_NAME = 30  # of a weight
LESS = ("mean", "largest singular", "deviation", "type", "norm")  # columns that go first where there is no room
GAP = 2  # between columns
ALL = "All lines: --depth 1, or -o map.html."


def listing(found: Architecture, width: int) -> View:
    """The report in lines; names that are too long for `width` columns lose their middle, long trees theirs."""
    table = tree_table(found)
    rows = [*table.rows]
    cut = found.depth is None and len(rows) > FIRST + LAST + 1
    if cut:
        gap = (f"… {len(rows) - FIRST - LAST} more", *[""] * (len(table.columns) - 1))
        rows = [*rows[:FIRST], gap, *rows[-LAST:]]
    shown = _fitted(table.columns, [[str(cell or "") for cell in row] for row in rows], width)
    more = (*_kinds(found), *_activity(found), *((Text(ALL, "quiet"),) if cut else ()))
    return Stack((*head(found), shown, *more))


def weights_listing(view: View, width: int) -> View:
    """The report on weights with as many columns as fit."""
    if not isinstance(view, Stack):
        return view
    return Stack(
        tuple(_narrowed(v, width) if isinstance(v, Table) else v for v in view.views if not isinstance(v, Fold))
    )


def _narrowed(table: Table, width: int) -> Table:
    cells = [[cell_text(cell) for cell in row] for row in table.rows]
    asked = [max(columns_wide(t) for t in column) for column in zip(table.columns, *cells, strict=True)]
    shown = [*range(len(asked))]
    for name in LESS:
        if sum(asked[k] + GAP for k in shown[1:]) + LEAST_NAME <= width:
            break
        shown = [k for k in shown if table.columns[k] != name]
    room = max(width - sum(asked[k] + GAP for k in shown[1:]), NARROWEST)
    rows = tuple((_middle(row[0], room), *(row[k] for k in shown[1:])) for row in cells)
    return Table(tuple(table.columns[k] for k in shown), rows, table.caption)


def _fitted(columns: Sequence[str], rows: list[list[str]], width: int) -> Table:
    """Numbers on the right of their columns; the first two columns as long as the others leave room for."""
    first = next(k for k, name in enumerate(columns) if name in ("parameters", "numbers"))
    names, cells = list(columns), [list(row) for row in rows]
    for k in range(first, len(names)):
        numbers = [_aligned(row[k]) for row in rows]
        wide = max(map(columns_wide, [names[k], *numbers]))
        names[k] = names[k].rjust(wide)
        for row, text in zip(cells, numbers, strict=True):
            row[k] = text.rjust(wide) if text else ""
    asked = [max(columns_wide(text) for text in column) for column in zip(names, *cells, strict=True)]
    room = width - sum(asked[2:]) - GAP * (len(names) - 1)
    kind = min(asked[1], max(room - asked[0], room // 3, NARROWEST))
    name = max(room - kind, NARROWEST)
    out: list[tuple[Cell, ...]] = [(_middle(row[0], name), _end(row[1], kind), *row[2:]) for row in cells]
    return Table(tuple(names), tuple(out))


def _aligned(text: str) -> str:
    """A number with room for the power of thousand that others of its column have."""
    return f"{text}  " if text and text[-1].isdigit() else text


def _middle(text: str, room: int) -> str:
    """A line of a tree without the middle of its name."""
    if columns_wide(text) <= room:
        return text
    start = max(text.find("─ ") + 2, 0) if "─ " in text else 0
    head, name = text[:start], text[start:]
    left = max(room - columns_wide(head) - 1, 2)
    return f"{head}{name[: left - left // 2]}…{name[len(name) - left // 2 :]}"


def _end(text: str, room: int) -> str:
    return text if columns_wide(text) <= room else text[: room - 1].rstrip(" ,") + "…"


def _kinds(found: Architecture) -> tuple[View, ...]:
    """How often the commonest operations run."""
    nodes = found.graph.nodes
    seen = Counter(op for op, family in zip(nodes.op, nodes.family, strict=True) if family != "io")
    if found.totals.tensors or len(seen) < 2:
        return ()
    said = [f"{times} {op}" for op, times in seen.most_common(KINDS)]
    said += [f"and {count(len(seen) - KINDS, 'other kind')}"] if len(seen) > KINDS else []
    return (Text(f"Operations: {', '.join(said)}.", "quiet"),)


def _activity(found: Architecture) -> tuple[View, ...]:
    """The places where units are dead or saturated on this input, where there are any."""
    table = next((fold.child.views[0] for fold in activity(found) if isinstance(fold.child, Stack)), None)
    if not isinstance(table, Table):
        return ()
    rows = [row for row in table.rows[:WORST] if any(cell not in ("", "0 %") for cell in row[3:5])]
    shown = tuple((row[0], *row[2:5]) for row in rows)
    return (Table((table.columns[0], *table.columns[2:5]), shown, f"{table.caption} on this input"),) if rows else ()
