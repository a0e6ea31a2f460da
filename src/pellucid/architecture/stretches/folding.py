"""The graph whose long lists of operations are groups, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice

from pellucid.architecture.graph import Graph, Groups
from pellucid.architecture.sources.alike import alike
from pellucid.architecture.stretches.dividing import divided
from pellucid.architecture.stretches.numbering import with_groups
from pellucid.architecture.stretches.repeats import Quality, Repeat, repeats
from pellucid.architecture.stretches.rows import Item, Row, Rows, Stretch, long_lists
from pellucid.architecture.stretches.titles import COUNTED, ROOM, title

MANY = 60  # boxes in one group: from here on it is folded
WHOLE, PART = 56, 16  # stretches that all groups together, and that one at least, are divided into
LONGEST, INNER = 24, 12  # rows in a stretch that is not divided again, and into how many it is
PATTERN = 40  # rows of a pattern that repeats and is not divided
ROUNDS = 3  # repeats of repeats
NEVER = 1 << 20


def folded(graph: Graph) -> tuple[Graph, tuple[int, ...]]:
    """The graph with its long lists in groups, and for each of its groups which one it was, -1 for the new ones.

    First what repeats is put together, pattern by pattern, so that it is drawn once; then, where that is still more
    than sixty boxes, neighbors, best from one place where a single value is handed on to the next.  What else is in
    the graph stays as it is: a new group has the path and the run of the group that it divides, and no site.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> ops = ("input", *("conv", "relu") * 50)
    >>> line = Edges(tuple(range(100)), tuple(range(1, 101)), (None,) * 100)
    >>> found, _ = folded(Graph("long", "", nodes(*ops), only_root("Net"), line))
    >>> found.groups.kind[1], len(found.groups)
    ('conv → relu', 51)
    """
    done = any(map(graph.is_stretch, range(len(graph.groups))))
    lists = {} if done else long_lists(graph, MANY)
    if not lists:
        return graph, tuple(range(len(graph.groups)))
    held = {group: _divided(rows, _wanted(rows, len(graph.nodes))) for group, rows in lists.items()}
    return with_groups(graph, held)


def unfolded(graph: Graph) -> Graph:
    """The graph without the groups that no module is: the one that was folded."""
    if not any(map(graph.is_stretch, range(len(graph.groups)))):
        return graph
    kept: list[int] = []
    moved: list[int] = []
    for group, parent in enumerate(graph.groups.parent):
        if graph.is_stretch(group):
            moved.append(moved[parent])
        else:
            moved.append(len(kept))
            kept.append(group)
    groups = graph.groups
    columns = {c: tuple([getattr(groups, c)[g] for g in kept]) for c in Groups.__slots__}
    columns["parent"] = tuple([moved[p] if p >= 0 else -1 for p in columns["parent"]])
    nodes = replace(graph.nodes, group=tuple([moved[g] for g in graph.nodes.group]))
    columns["alike"] = alike(columns["parent"], columns["kind"], nodes, graph.edges)
    return replace(graph, nodes=nodes, groups=Groups(**columns))


def _wanted(listed: Rows, every: int) -> int:
    """Into how many stretches a group is divided at most: as many as its share of all operations."""
    return max(PART, -(-WHOLE * sum([row.size for row in listed.rows]) // every))


def _divided(listed: Rows, wanted: int) -> list[Item]:
    """The items of a group, most of them in stretches."""
    rows = _repeated(listed)
    if sum([row.boxes for row in rows]) > MANY:
        begins = {row.start for row in _bounds(listed, rows)}
        strength = [_strength(listed, row, row.start in begins) for row in rows]
        rows = _stretched(listed, rows, strength, wanted)
    return [item for row in rows for item in row.items]


def _repeated(listed: Rows) -> list[Row]:
    """The rows with what repeats put together, repeats of repeats too."""
    rows = listed.rows
    numbers: dict[tuple[int, ...], int] = {}
    for _ in range(ROUNDS):
        found = repeats([row.look for row in rows], [_cut(listed, row) for row in rows])
        if not found:
            break
        kept: list[Row] = []
        at = 0
        for start, period, times in found:
            kept += rows[at:start]
            at = start + period * times
            pattern = rows[start : start + period]
            key = (*(row.look for row in pattern), -times)
            look = -1 - numbers.setdefault(key, len(numbers))
            kept.append(_repeat(listed, rows[start:at], period, look))
        rows = [*kept, *rows[at:]]
    return rows


def _repeat(listed: Rows, rows: Sequence[Row], period: int, look: int) -> Row:
    """What repeats as one row: a stretch for each time, which are drawn as one."""
    times = [rows[i : i + period] for i in range(0, len(rows), period)]
    said = [_stretch(listed, one, ROOM - len(f" ×{len(times)}")) for one in times]
    if period > PATTERN:  # divided where the last one is, so that all are alike
        parts = divided(
            [row.size for row in times[-1]], [_strength(listed, row, False) for row in times[-1]], PATTERN // 2
        )
        for stretch, one in zip(said, times, strict=True):
            stretch.items = [_part(listed, one[start:end]) for start, end in parts]
    return Row(list(said), look, _names(rows), sum([row.size for row in rows]), 1, True, rows[0].start)


def _names(rows: Sequence[Row]) -> tuple[str, ...]:
    """What all rows are called, as far as a title may need it."""
    return tuple(islice(chain.from_iterable([row.names for row in rows]), COUNTED))


def _part(listed: Rows, rows: Sequence[Row]) -> Item:
    """Rows as one item."""
    return rows[0].items[0] if len(rows) == 1 and len(rows[0].items) == 1 else _stretch(listed, rows)


def _stretch(listed: Rows, rows: Sequence[Row], room: int = ROOM) -> Stretch:
    joined = listed.is_chain(rows[0].start, rows[-1].start + 1)
    words = title(_names(rows), sum([row.size for row in rows]), chain=joined, room=room)
    return Stretch(words, [item for row in rows for item in row.items])


def _cut(listed: Rows, row: Row) -> Quality:
    """How bad it is to cut before a row."""
    start = row.start
    return max(listed.crossing[start], 1), int(not row.head), int(start > 0 and not listed.forks[start - 1])


def _bounds(listed: Rows, rows: Sequence[Row]) -> list[Row]:
    """The rows with which something begins that repeats but for its sizes."""
    cuts = [_cut(listed, row) for row in rows]
    found = repeats([row.names for row in rows], cuts, shortest=2)
    good = [one for one in found if _worth(rows, cuts, one)]
    return [rows[at] for one in good for at in range(one.start, min(one.end + 1, len(rows)), one.period)]


def _worth(rows: Sequence[Row], cuts: Sequence[Quality], one: Repeat) -> bool:
    """Is it a pattern of different operations, and does it begin where it is best to cut?"""
    places = range(one.start, one.start + one.period)
    return len({rows[at].names for at in places}) > 1 and cuts[one.start] == min(cuts[at] for at in places)


def _strength(listed: Rows, row: Row, begins: bool) -> int:
    """How good it is to cut before a row: where one value is handed on, where a unit or a pattern begins."""
    return (1 + row.head) * (1 + 3 * (listed.crossing[row.start] <= 1)) * (1 + begins)


def _stretched(listed: Rows, rows: list[Row], strength: list[int], wanted: int) -> list[Row]:
    """Rows put together into about the wanted number of stretches; long ones are divided again."""
    found: list[Row] = []
    for start, end in divided([row.size for row in rows], strength, wanted):
        held = rows[start:end]
        if len(held) == 1 and (held[0].boxes == 1):
            found.append(held[0])
            continue
        stretch = _stretch(listed, held)
        if len(held) > LONGEST:
            inner = _stretched(listed, held, [NEVER, *strength[start + 1 : end]], INNER)
            stretch.items = [item for row in inner for item in row.items]
        size = sum([row.size for row in held])
        found.append(Row([stretch], 0, _names(held), size, 1, held[0].head, held[0].start))
    return found
