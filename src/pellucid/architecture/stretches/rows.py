"""A long list of operations made ready for being divided: what each looks like, and what is handed on past each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count, pairwise
from typing import TypeAlias

from pellucid.architecture.graph import Family, Graph

HEAVY = frozenset({"convolution", "linear", "attention", "recurrent"})  # a unit begins with one of these
LONG = 24  # rows; what is read farther away (the way around a U) says nothing about where to cut
SIDE_BY_SIDE = 8  # that many alike groups which do not feed each other are drawn as one too
NEXT = (1,)
Link: TypeAlias = tuple[int, int]


@dataclass(slots=True, eq=False)
class Stretch:
    """A group that no module is: rows of a list, which it holds, and the words for them."""

    title: str
    items: list[Item]


Item: TypeAlias = "int | Stretch"  # an operation i, a group ~g, or a stretch


@dataclass(slots=True, eq=False)
class Row:
    """What stays together: an operation with the constants that it alone reads, a group, or groups that repeat.

    `look` is equal for rows that are alike in every respect, `start` the first place in the list; `names` are those of
    all rows that it was made of, `size` counts operations, `boxes` what is drawn; `head`: units begin here.
    """

    items: list[Item]
    look: int
    names: tuple[str, ...]
    size: int
    boxes: int = 1
    head: bool = False
    start: int = 0


@dataclass(slots=True, eq=False)
class Rows:
    """The rows of one group in order, how many values are handed on past each, and which are read at several places."""

    rows: list[Row]
    crossing: list[int]
    forks: list[bool]
    back: list[list[int]]  # how many rows back each reads

    def is_chain(self, start: int, end: int) -> bool:
        """Does each of these rows but the first read the one before it, and no other of them?"""
        return all([d for d in self.back[row] if row - d >= start] == [1] for row in range(start + 1, end))

    around: list[int] = field(default_factory=list)  # inputs and outputs, which stay where they are

    @property
    def boxes(self) -> int:
        """How many boxes are drawn of the rows as they are."""
        return sum([row.boxes for row in self.rows])


def long_lists(graph: Graph, most: int) -> dict[int, Rows]:
    """The groups of which more than `most` boxes would be drawn, with their rows.

    Time grows with operations and edges, times the depth of groups; where no group holds that many it is next to none.
    """
    inside = Inside(graph)
    found = {g: items for g, items in _items(inside, most).items() if len(_runs(graph, items)) > most}
    if not found:
        return {}
    links, fed = _links(graph, found)
    numbers: dict[Hashable, int] = defaultdict(count().__next__)
    laid = {g: _laid_out(inside, items, links[g], fed[g], numbers) for g, items in found.items()}
    return {g: rows for g, rows in laid.items() if rows.boxes > most}


class Inside:
    """What the groups of a graph hold: how many operations (`size`), and the first of them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        parent, group_of = graph.groups.parent, graph.nodes.group
        self.size = [0] * len(parent)
        self.first = [len(group_of)] * len(parent)
        for node in range(len(group_of) - 1, -1, -1):
            self.size[group_of[node]] += 1
            self.first[group_of[node]] = node
        self.held = list(self.size)
        for group in range(len(parent) - 1, 0, -1):
            above = parent[group]
            self.size[above] += self.size[group]
            self.first[above] = min(self.first[above], self.first[group])
            self.held[above] += bool(self.size[group])

    def name(self, item: int) -> str:
        """What an item is called where there is little room: its operation, its class, or its own name."""
        if item >= 0:
            return self.graph.nodes.op[item]
        kind = self.graph.groups.kind[~item]
        if not kind and self.size[~item] == 1:
            return self.graph.nodes.op[self.first[~item]]
        return kind or self.graph.groups.path[~item].rpartition(".")[2]

    def family(self, item: int) -> Family:
        """The family of an operation, or of a group that is one; "other" for larger ones."""
        if item < 0 and self.size[~item] != 1:
            return "other"
        return self.graph.nodes.family[item if item >= 0 else self.first[~item]]


def _items(inside: Inside, most: int) -> dict[int, list[int]]:
    """What the groups hold that hold many, in the order of running."""
    parent = inside.graph.groups.parent
    many = {group: list[int]() for group, number in enumerate(inside.held) if number > most}
    if many:
        for node, group in enumerate(inside.graph.nodes.group):
            if group in many:
                many[group].append(node)
        for group in range(1, len(parent)):
            if inside.size[group] and parent[group] in many:
                many[parent[group]].append(~group)
        for items in many.values():
            items.sort(key=lambda item: item if item >= 0 else inside.first[~item])
    return many


def _runs(graph: Graph, items: Sequence[int], links: Container[Link] | None = None) -> list[list[int]]:
    """Items, alike groups that follow each other together, as they are drawn: those that feed each other, or many.

    Without `links` all that could be.
    """
    alike = graph.groups.alike
    found: list[list[int]] = []
    for item in items:
        before = found[-1][-1] if found else 0
        if item < 0 and before < 0 and alike[~item] == alike[~before]:
            found[-1].append(item)
        else:
            found.append([item])
    return (
        found if links is None else [part for run in found for part in (_parts(run, links) if len(run) > 1 else [run])]
    )


def _parts(run: list[int], links: Container[Link]) -> list[list[int]]:
    parts = [run[:1]]
    for before, item in pairwise(run):
        if (before, item) in links:
            parts[-1].append(item)
        else:
            parts.append([item])
    return [run] if len(parts) == len(run) >= SIDE_BY_SIDE else parts


def _links(graph: Graph, many: Mapping[int, object]) -> tuple[dict[int, set[Link]], dict[int, set[int]]]:
    """Of each such group the edges between its items, and the items that take something from elsewhere."""
    parent, group_of, depth = graph.groups.parent, graph.nodes.group, graph.depths
    links: dict[int, set[Link]] = {group: set() for group in many}
    fed: dict[int, set[int]] = {group: set() for group in many}
    for source, target in zip(graph.edges.source, graph.edges.target, strict=True):
        a, b, start, end = group_of[source], group_of[target], source, target
        while a != b:
            if depth[a] >= depth[b]:
                start, a = ~a, parent[a]
            else:
                if b in fed:
                    fed[b].add(end)
                end, b = ~b, parent[b]
        if a in links:
            links[a].add((start, end))
    return links, fed


def _laid_out(
    inside: Inside, items: Sequence[int], links: set[Link], fed: set[int], numbers: Mapping[Hashable, int]
) -> Rows:
    """Rows in order, each operation behind the constants that it is the first to read."""
    graph, family = inside.graph, inside.graph.nodes.family
    around = [item for item in items if item >= 0 and family[item] == "io"]
    runs = _runs(graph, [item for item in items if item < 0 or family[item] != "io"], links)
    place = {item: k for k, run in enumerate(runs) for item in run}
    taken = {end for start, end in links if start not in place} | fed
    inner = sorted({(place[s], place[t]) for s, t in links if s in place and t in place and place[s] < place[t]})
    joins = _joins(len(runs), inner, {place[item] for item in taken if item in place})
    bundles: dict[int, list[int]] = {}
    for k in sorted(range(len(runs)), key=lambda k: (joins[k], k)):
        bundles.setdefault(joins[k], []).append(k)
    at = {k: row for row, bundle in enumerate(bundles.values()) for k in bundle}
    live = sorted({(at[s], at[t]) for s, t in inner if joins[s] == s and at[s] < at[t]})
    before: list[list[int]] = [[] for _ in bundles]
    outer = _outer([(s, at[place[t]]) for s, t in links if s not in place])
    for s, t in (*live, *outer):
        before[t].append(t - s)
    rows = []
    for row, bundle in enumerate(bundles.values()):
        looks = tuple([_look(graph, runs[k]) for k in bundle])
        near = tuple(sorted([d for d in before[row] if d <= LONG])) or NEXT  # what comes from outside comes from before
        rows.append(_row(inside, [runs[k] for k in bundle], numbers[looks, near, len(before[row]) or 1], row))
    forks = [number > 1 for number in _counted(len(rows), [s for s, _ in live])]
    return Rows(rows, _crossing(len(rows), live, outer), forks, before, around)


def _outer(links: Iterable[Link]) -> list[Link]:
    """What comes from outside as if it were made just before it is read, unless it is read all over the place."""
    read: dict[int, list[int]] = {}
    for source, row in links:
        read.setdefault(source, []).append(row)
    near = (rows for rows in read.values() if max(rows) - min(rows) < LONG)
    return [(min(rows) - 1, row) for rows in near for row in sorted(set(rows))]


def _counted(length: int, places: Iterable[int]) -> list[int]:
    found = [0] * length
    for place in places:
        found[place] += 1
    return found


def _joins(length: int, links: Sequence[Link], fed: set[int]) -> list[int]:
    """For each place itself where something flows in, else the first place that reads what is made there."""
    if not fed:  # nothing says what flows: whatever reads nothing is where it begins
        fed = set(range(length)).difference(end for _, end in links)
    flows = [k in fed for k in range(length)]
    for start, end in links:  # in order of their start
        flows[end] |= flows[start]
    joins = list(range(length))
    reads: dict[int, int] = {}
    for start, end in reversed(links):
        if not flows[start]:
            reads[start] = min(reads.get(start, length), joins[end])
            joins[start] = reads[start]
    return joins


def _crossing(length: int, links: Sequence[Link], outer: Sequence[Link]) -> list[int]:
    """How many values are handed on past the beginning of each row."""
    last = [0] * length
    for start, end in links:
        if end - start <= LONG:
            last[start] = max(last[start], end)
    steps = [0] * (length + 2)
    entered = {start + 1: end for start, end in sorted(outer)}
    for start, end in (*enumerate(last), *entered.items()):
        if end > start:
            steps[start + 1] += 1
            steps[end + 1] -= 1
    return list(accumulate(steps))[:length]


def _look(graph: Graph, run: Sequence[int]) -> Hashable:
    n, item = graph.nodes, run[0]
    if item < 0:
        return graph.groups.alike[~item], len(run)
    return n.op[item], n.label[item], n.shape[item], n.dtype[item], n.parameters[item], n.flops[item]


def _row(inside: Inside, bundle: Sequence[Sequence[int]], look: int, start: int) -> Row:
    """The row of items of which the last is the one that counts."""
    items = [item for run in bundle for item in run]
    main = bundle[-1][0]
    size = 1 if len(items) == 1 and main >= 0 else sum([inside.size[~item] if item < 0 else 1 for item in items])
    head = inside.family(main) in HEAVY or (main < 0 and inside.size[~main] > 1)
    return Row(list(items), look, (inside.name(main),), size, len(bundle), head, start)
