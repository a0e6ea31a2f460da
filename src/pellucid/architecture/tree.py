"""A graph as a list of lines, as deep as wanted: what a terminal and a table show of it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from pellucid.architecture.graph import ROOT, Graph, shape_text
from pellucid.architecture.totals import partly_known

BUDGET = 60


@dataclass(frozen=True, slots=True)
class Line:
    """One group, or one operation (`node`), `depth` levels in; `count` alike ones that follow each other are one line.

    `group` is the first of its `members`; an operation has none.

    Sums are those of all of them together; `more_flops`: what some operations inside cost is not known, so that `flops`
    are a lower bound.
    """

    depth: int
    last: tuple[bool, ...]  # at each level, whether nothing follows there: for the branches that are drawn
    name: str
    kind: str
    shape: str
    parameters: int
    flops: int | None
    count: int
    group: int
    node: int | None
    members: tuple[int, ...] = ()
    more_flops: bool = False


def tree(graph: Graph, depth: int | None = None) -> tuple[Line, ...]:
    """The lines of a graph down to a depth; by default as deep as some sixty lines go, and one level at least.

    A group that is all there is does not count as a level.

    Operations have lines of their own where they stand beside groups and hold parameters or cost something; those of
    a group in which nothing else runs are in its line.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> [line.name for line in tree(Graph("one", "", nodes("relu"), only_root("Net"), Edges()))]
    ['relu']
    """
    looked = _Tree(graph)
    if depth is not None:
        return looked.lines(depth)
    found = looked.lines(1)
    for deeper in range(2, max(graph.depths, default=0) + 2):
        more = looked.lines(deeper)
        if len(more) > BUDGET and not _chain(found):
            break
        found = more
    return found


def _chain(lines: tuple[Line, ...]) -> bool:
    """Is every line all that the one above it holds?"""
    return bool(lines) and lines[-1].depth == len(lines) and all(line.count == 1 for line in lines)


class _Tree:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outputs = output_nodes(graph)
        self.partly = partly_known(graph)
        self.held: list[list[tuple[int, int, int | None]]] = [[] for _ in graph.groups.parent]
        count, flowing = len(graph.nodes), graph.flowing
        first = [2 * count] * len(graph.groups)  # the first that is no constant, or else, from `count` on, of all
        for node, group in enumerate(graph.nodes.group):
            first[group] = min(first[group], node if flowing[node] else count + node)
            self.held[group].append((node, group, node))
        for group in range(len(graph.groups) - 1, ROOT, -1):
            parent = graph.groups.parent[group]
            first[parent] = min(first[parent], first[group])
            self.held[parent].append((first[group] % count if count else 0, group, None))
        for held in self.held:
            if len(held) > 1:
                held.sort(key=lambda entry: (entry[0], entry[1]))
        self.leaf = [all([node is not None for _, _, node in held]) for held in self.held]  # lists: there are many

    def lines(self, depth: int) -> tuple[Line, ...]:
        found: list[Line] = []
        self._add(ROOT, depth, (), found)
        return tuple(found)

    def _add(self, group: int, depth: int, last: tuple[bool, ...], found: list[Line]) -> None:
        if len(last) >= depth:
            return
        runs = self._runs(group)
        for i, run in enumerate(runs):
            _, inner, node = run[0]
            branch = (*last, i == len(runs) - 1)
            found.append(self._node(node, branch) if node is not None else self._group(run, branch))
            if node is None and (self.graph.groups.kind[inner] or self._only(inner) is None):
                self._add(inner, depth, branch, found)

    def _runs(self, group: int) -> list[list[tuple[int, int, int | None]]]:
        """What a group directly holds, with alike groups that follow each other together."""
        alike, nodes = self.graph.groups.alike, self.graph.nodes
        alone = self.leaf[group]
        if alone and group != ROOT and not self.graph.is_stretch(group):
            return []
        found: list[list[tuple[int, int, int | None]]] = []
        for entry in self.held[group]:
            _, inner, node = entry
            if node is not None:
                if nodes.family[node] != "io" and (alone or nodes.parameters[node] or nodes.flops[node]):
                    found.append([entry])
                continue
            before = found[-1][0] if found else None
            if before is not None and before[2] is None and alike[before[1]] == alike[inner]:
                found[-1].append(entry)
            else:
                found.append([entry])
        return found

    def _node(self, node: int, last: tuple[bool, ...]) -> Line:
        n = self.graph.nodes
        shape = shape_text(n.shape[node])
        label = n.label[node] if n.label[node] != shape else ""
        return Line(
            len(last), last, n.op[node], label, shape, n.parameters[node], n.flops[node], 1, n.group[node], node
        )

    def _group(self, run: list[tuple[int, int, int | None]], last: tuple[bool, ...]) -> Line:
        g = self.graph.groups
        inside = [group for _, group, _ in run]
        first, end = inside[0], inside[-1]
        flops = [g.flops[i] for i in inside]
        known = [v for v in flops if v is not None]
        output = self.outputs[end]
        name, kind = self._named(first, end)
        return Line(
            len(last),
            last,
            name,
            kind,
            shape_text(None if output is None else self.graph.nodes.shape[output]),
            sum({self._owner(i): g.parameters[i] for i in inside}.values()),
            sum(known) if known else None,
            len(inside),
            first,
            None,
            tuple(inside),
            any(self.partly[i] for i in inside) or 0 < len(known) < len(flops),
        )

    def _named(self, first: int, end: int) -> tuple[str, str]:
        """The name and the kind of alike groups, of which these are the first and the last."""
        g = self.graph.groups
        if self.graph.is_stretch(first):
            return g.kind[first], ""
        name = g.path[first].rpartition(".")[2] or g.path[first]
        if end != first:
            name = f"{name} … {g.path[end].rpartition('.')[2]}"
        if g.call[first]:
            name += f" (run {g.call[first] + 1})"
        return name, g.kind[first] or self._said(first)

    def _owner(self, group: int) -> int | str:
        """Whose the parameters are: several runs of one module share theirs."""
        return group if self.graph.is_stretch(group) else self.graph.groups.path[group]

    def _said(self, group: int) -> str:
        """Of a group of no known kind that is one operation: which; of one that never ran, its label."""
        node = self._only(group)
        if node is None:
            return ""
        if not len(self.graph.edges):
            return self.graph.nodes.label[node]
        op, name = self.graph.nodes.op[node], self.graph.groups.path[group].rpartition(".")[2]
        return op if name.rstrip("_0123456789") != op else ""

    def _only(self, group: int) -> int | None:
        """The operation that a group is, where it is one."""
        while len(self.held[group]) == 1:
            _, group, node = self.held[group][0]
            if node is not None:
                return node
        return None


def output_nodes(graph: Graph) -> tuple[int | None, ...]:
    """For each group the last node inside whose value leaves it, or the last one where none does; None if empty."""
    return _last(graph, [family != "io" for family in graph.nodes.family])


def pictured_nodes(graph: Graph, pictured: Container[int]) -> tuple[int | None, ...]:
    """For each group the node whose picture is shown for it: the last of those that leave it, or else inside."""
    return _last(graph, [node in pictured for node in range(len(graph.nodes))])


def _last(graph: Graph, counts: Sequence[bool]) -> tuple[int | None, ...]:
    """For each group the last node that counts of those whose value leaves it, or else of all inside."""
    parent, group_of, depth = graph.groups.parent, graph.nodes.group, graph.depths
    leaves: list[int] = [-1] * len(parent)
    latest: list[int] = [-1] * len(parent)
    for source, target in zip(graph.edges.source, graph.edges.target, strict=True):
        a, b = group_of[source], group_of[target]
        while a != b and counts[source]:
            if depth[a] >= depth[b]:
                leaves[a] = max(leaves[a], source)
                a = parent[a]
            else:
                b = parent[b]
    for node, group in enumerate(group_of):
        if counts[node]:
            latest[group] = node
    for group in range(len(parent) - 1, 0, -1):
        latest[parent[group]] = max(latest[parent[group]], latest[group])
    found = (a if a >= 0 else b for a, b in zip(leaves, latest, strict=True))
    return tuple(None if node < 0 else node for node in found)
