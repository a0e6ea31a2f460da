"""The hierarchy of a graph made ready for scenes: what each group holds in order of running, and what repeats.

An *item* is an operation `i`, written i, or a group `g`, written ~g.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from pellucid.architecture.graph import Family, Graph
from pellucid.architecture.sources.families import family_of_kind

TOGETHER = 4  # inputs or outputs in a row that share a card
SIDE_BY_SIDE = 8  # that many alike groups which do not follow each other (experts) are folded too


@dataclass(frozen=True, slots=True)
class Outline:
    """What every scene of one graph needs.

    `items` of each group in order of running; `size` counts the operations inside; `leader` is the first group of the
    run that a group belongs to (itself when it stands alone) and `run` the members of the run of a leader.  `together`
    says how many inputs or outputs share the card of an operation, 0 where it is in the card of another.  `ends` are
    the two items, one level below their common group, in which the edge begins and ends.
    """

    graph: Graph
    items: tuple[tuple[int, ...], ...]
    size: tuple[int, ...]
    leader: tuple[int, ...]
    run: dict[int, tuple[int, ...]]
    together: tuple[int, ...]
    order: tuple[int, ...]  # edges by source
    ends: tuple[tuple[int, int], ...]

    def inside(self, group: int) -> list[int]:
        """All operations of a group, in the order in which its items hold them."""
        found: list[int] = []
        waiting = [~group]
        while waiting:
            item = waiting.pop()
            if item >= 0:
                found.append(item)
            else:
                waiting.extend(reversed(self.items[~item]))
        return found

    def layer(self, group: int) -> Family | None:
        """The family of a group that is one layer, by its class, in however many operations it is written."""
        alone = all(item >= 0 for item in self.items[group]) and not self.graph.is_stretch(group)
        return family_of_kind(self.graph.groups.kind[group]) if alone else None

    def merely_cut(self, group: int) -> bool:
        """Is it a stretch of a long list that nothing repeats?"""
        return self.graph.is_stretch(group) and group not in self.run

    def opens(self, group: int) -> bool:
        """Is there more than one thing to see inside?"""
        return self.size[group] > 1 or (not len(self.graph.nodes) and bool(self.items[group]))


def outline(graph: Graph) -> Outline:
    """The outline of a graph; time grows with its operations, edges and depth.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> outline(Graph("two", "", nodes("relu", "tanh"), only_root("Net"), Edges((0,), (1,), (None,)))).items
    ((0, 1),)
    """
    items, size = _items(graph)
    ends = _ends(graph)
    order = tuple(sorted(range(len(graph.edges)), key=lambda e: (graph.edges.source[e], graph.edges.target[e])))
    leader, run = _runs(graph, items, size, _followed(graph, items, ends))
    return Outline(
        graph, tuple(map(tuple, items)), tuple(size), tuple(leader), run, _together(graph, items), order, tuple(ends)
    )


def _items(graph: Graph) -> tuple[list[list[int]], list[int]]:
    parent = graph.groups.parent
    items: list[list[int]] = [[] for _ in parent]
    size = [0] * len(parent)
    for node, group in enumerate(graph.nodes.group):
        items[group].append(node)
        inner = group
        while inner > 0 and not size[inner]:
            size[inner] = 1  # seen; counted below
            items[parent[inner]].append(~inner)
            inner = parent[inner]
    if not len(graph.nodes):  # A mere tree of modules: nothing ran, everything is listed.
        for group in range(1, len(parent)):
            items[parent[group]].append(~group)
    size = [0] * len(parent)
    for group in graph.nodes.group:
        size[group] += 1
    for group in range(len(parent) - 1, 0, -1):
        size[parent[group]] += size[group]
    _in_order(items, graph.flowing)
    return items, size


def _in_order(items: list[list[int]], flowing: tuple[bool, ...]) -> None:
    """Put items in order of their first operation; that of a group is the first that is no constant, if there is one.

    Constants may be made long before what they are read by.
    """
    first = [-1] * len(items)
    fixed = [True] * len(items)  # holds nothing but constants

    def begins(item: int) -> int:
        return item if item >= 0 else first[~item]

    for group in range(len(items) - 1, -1, -1):
        listed = items[group]
        listed.sort(key=begins)
        told = next((item for item in listed if (flowing[item] if item >= 0 else not fixed[~item])), None)
        fixed[group] = told is None
        first[group] = begins(listed[0] if told is None else told) if listed else -1


def _together(graph: Graph, items: list[list[int]]) -> tuple[int, ...]:
    op, family = graph.nodes.op, graph.nodes.family
    found = [1] * len(op)
    for listed in items:
        at = 0
        while at < len(listed):
            end = at + 1
            if listed[at] >= 0 and family[listed[at]] == "io":
                while end < len(listed) and listed[end] >= 0 and op[listed[end]] == op[listed[at]]:
                    end += 1
            if end - at >= TOGETHER:
                for item in listed[at:end]:
                    found[item] = 0
                found[listed[at]] = end - at
            at = end
    return tuple(found)


def _ends(graph: Graph) -> list[tuple[int, int]]:
    parent, depth = graph.groups.parent, graph.depths
    group = graph.nodes.group
    found = []
    for source, target in zip(graph.edges.source, graph.edges.target, strict=True):
        a, b, start, end = group[source], group[target], source, target
        while depth[a] > depth[b]:
            start, a = ~a, parent[a]
        while depth[b] > depth[a]:
            end, b = ~b, parent[b]
        while a != b:
            start, a, end, b = ~a, parent[a], ~b, parent[b]
        found.append((start, end))
    return found


def _followed(graph: Graph, items: list[list[int]], ends: list[tuple[int, int]]) -> list[bool]:
    """Does a group take something from the item just before it?"""
    before = [0] * len(graph.groups)
    for listed in items:
        for previous, item in pairwise(listed):
            if item < 0 and previous < 0:
                before[~item] = previous
    found = [False] * len(graph.groups)
    for start, end in ends:
        if end < 0 and start < 0 and before[~end] == start:
            found[~end] = True
    return found


def _runs(
    graph: Graph, items: list[list[int]], size: list[int], follows: list[bool]
) -> tuple[list[int], dict[int, tuple[int, ...]]]:
    leader = list(range(len(graph.groups)))
    run: dict[int, tuple[int, ...]] = {}
    alike = graph.groups.alike
    for listed in items:
        at = 0
        while at < len(listed):
            end = at + 1
            while listed[at] < 0 and end < len(listed) and _same(listed[at], listed[end], alike, size):
                end += 1
            if end - at > 1:
                for members in _parts([~item for item in listed[at:end]], follows):
                    run[members[0]] = tuple(members)
                    for member in members:
                        leader[member] = members[0]
            at = end
    return leader, run


def _same(one: int, other: int, alike: tuple[int, ...], size: list[int]) -> bool:
    return other < 0 and alike[~one] == alike[~other] and size[~one] == size[~other]


def _parts(members: list[int], follows: list[bool]) -> list[list[int]]:
    """The runs within neighbors that are alike: those that feed each other, or very many that do not."""
    parts = [[members[0]]]
    for member in members[1:]:
        if follows[member]:
            parts[-1].append(member)
        else:
            parts.append([member])
    if len(parts) == len(members) and len(members) >= SIDE_BY_SIDE:
        return [members]
    return [part for part in parts if len(part) > 1]
