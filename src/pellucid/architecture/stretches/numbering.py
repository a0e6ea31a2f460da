"""A graph with more groups: they get their numbers, their sums, and what is alike is found anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pellucid.architecture.graph import Graph, Groups
from pellucid.architecture.sources.alike import alike
from pellucid.architecture.stretches.rows import Item, Stretch


def with_groups(graph: Graph, held: Mapping[int, Sequence[Item]]) -> tuple[Graph, tuple[int, ...]]:
    """The graph with a group for each stretch, and for every group which one it was, -1 for stretches.

    `held` are the items of the groups that were divided.  A group stands behind the one that it lies in; those that
    were there before keep their order.
    """
    around, inside = _places(held)
    numbers: dict[Stretch | int, int] = {}
    order: list[Stretch | int] = []

    def enter(one: Stretch | int) -> None:
        """Give a number to a group, after all that it lies in."""
        chain = [one]
        while isinstance(outer := around.get(chain[-1], -1), Stretch) and outer not in numbers:
            chain.append(outer)
        for each in reversed(chain):
            numbers[each] = len(order)
            order.append(each)

    old = graph.groups
    for group, above in enumerate(old.parent):
        around[group] = inside.get(~group, above)
        enter(group)
    for stretch in [one for one in around if isinstance(one, Stretch) and one not in numbers]:
        if stretch not in numbers:
            enter(stretch)
    parent = tuple([numbers.get(around[one], -1) for one in order])
    group_of = [numbers[inside.get(node, group)] for node, group in enumerate(graph.nodes.group)]
    nodes = replace(graph.nodes, group=tuple(group_of))
    was = tuple([-1 if isinstance(one, Stretch) else one for one in order])
    kind = tuple([one.title if isinstance(one, Stretch) else old.kind[one] for one in order])
    sums = {c: summed(parent, was, getattr(old, c), getattr(nodes, c), group_of) for c in _SUMS}
    path, call = _addresses(old, parent, was)
    groups = Groups(parent, path, call, kind, alike=alike(parent, kind, nodes, graph.edges), **sums)
    return replace(graph, nodes=nodes, groups=groups), was


_SUMS = ("parameters", "flops", "bytes")


def _places(held: Mapping[int, Sequence[Item]]) -> tuple[dict[Stretch | int, Stretch | int], dict[int, Stretch]]:
    """What each stretch lies in, and the stretch that each item lies in."""
    around: dict[Stretch | int, Stretch | int] = {}
    inside: dict[int, Stretch] = {}
    waiting: list[tuple[Stretch | int, Iterable[Item]]] = list(held.items())
    while waiting:
        outer, items = waiting.pop()
        for item in items:
            if isinstance(item, Stretch):
                around[item] = outer
                waiting.append((item, item.items))
            elif isinstance(outer, Stretch):
                inside[item] = outer
    return around, inside


def summed(
    parent: Sequence[int], was: Sequence[int], groups: Sequence[Any], nodes: Sequence[Any], group_of: Sequence[int]
) -> tuple[Any, ...]:
    """A column of sums: as it was for groups that were there, for new ones of what they hold; None where none is."""
    found = [groups[old] if old >= 0 else None for old in was]

    def add(group: int, value: Any) -> None:
        if group >= 0 and was[group] < 0 and value is not None:
            found[group] = value + (found[group] or 0)

    for node, group in enumerate(group_of):
        add(group, nodes[node])
    for group in range(len(parent) - 1, 0, -1):
        add(parent[group], found[group])
    return tuple(found)


def _addresses(old: Groups, parent: Sequence[int], was: Sequence[int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    path: list[str] = []
    call: list[int] = []
    for above, group in zip(parent, was, strict=True):
        path.append(old.path[group] if group >= 0 else path[above])
        call.append(old.call[group] if group >= 0 else call[above])
    return tuple(path), tuple(call)
