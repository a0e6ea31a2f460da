"""Which groups to open first, so that the whole network is seen in about sixty boxes."""

from __future__ import annotations

from heapq import heappop, heappush

from pellucid.architecture.graph import ROOT, Graph
from pellucid.render.graph.outline import Outline, outline

BUDGET = 60
ENOUGH = 40  # boxes; from here on stretches of a long list stay as they were made


def open_first(graph: Graph | Outline, budget: int = BUDGET) -> frozenset[int]:
    """The groups to open: always the one that holds the most operations, as long as all boxes together are few enough.

    What is one layer stays closed, in however many operations it is written; a group that is all there is, inputs and
    outputs aside, is open whatever it holds.  Stretches that a long list was cut into are opened only where there
    would be few boxes otherwise.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> open_first(Graph("one", "", nodes("relu"), only_root("Net"), Edges()))
    frozenset({0})
    """
    tree = graph if isinstance(graph, Outline) else outline(graph)
    opened, outer = {ROOT}, ROOT
    seen = _seen(tree, ROOT)
    boxes = len(seen)
    waiting: list[tuple[int, int]] = []
    while True:
        for group in seen:
            if group > ROOT and tree.opens(group) and not tree.layer(group):
                heappush(waiting, (-_weight(tree, group), group))
        if not waiting:
            return frozenset(opened)
        _, group = heappop(waiting)
        inside = _seen(tree, group)
        all_there_is = group == _only(tree, outer)
        outer = group if all_there_is else outer
        fits = all_there_is or (boxes - 1 + len(inside) <= budget and not (boxes >= ENOUGH and tree.merely_cut(group)))
        seen = inside if fits else []
        if fits:
            boxes += len(inside) - 1
            opened.add(group)


def _seen(tree: Outline, group: int) -> list[int]:
    """What is seen of an open group: groups, with one for a whole run; -1 for an operation."""
    found: list[int] = []
    for item in tree.items[group]:
        if item >= 0 and tree.together[item]:
            found.append(-1)
        elif item < 0 and tree.leader[~item] == ~item:
            found.append(~item)
    return found


def _only(tree: Outline, group: int) -> int:
    """The group that alone stands between the inputs and the outputs of a group; -1 where there is none or more."""
    found = [item for item in tree.items[group] if item < 0 or tree.graph.nodes.family[item] != "io"]
    return ~found[0] if len(found) == 1 and found[0] < 0 else -1


def _weight(tree: Outline, group: int) -> int:
    inside = tree.size[group] or len(tree.items[group])
    return inside * len(tree.run.get(group, (group,)))
