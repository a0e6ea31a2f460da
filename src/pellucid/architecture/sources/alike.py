"""Which groups of a graph have the same inside, so that repeated blocks can be drawn once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from pellucid.architecture.graph import Edges, Nodes


def alike(parent: Sequence[int], kind: Sequence[str], nodes: Nodes, edges: Edges) -> tuple[int, ...]:
    """For every group the first one with the same kind, operations, shapes, sizes and inner edges, by structure alone.

    Operations are compared with their labels, shapes, types, parameters and FLOPs, and by how many values they take;
    groups by what they hold, in order, and by the edges inside them.  What a group is called and where it stands does
    not count.  Linear in nodes and edges, times the depth of the nesting.

    >>> from pellucid.architecture.graph import nodes
    >>> ops = nodes("input", "conv", "relu", "conv", "relu")
    >>> in_two = Nodes(ops.op, ops.family, (0, 1, 1, 2, 2), *(getattr(ops, c) for c in ops.__slots__[3:]))
    >>> alike((-1, 0, 0), ("Net", "Block", "Block"), in_two, Edges((0, 1, 2, 3), (1, 2, 3, 4), (None,) * 4))
    (0, 1, 1)
    """
    order, start = _places(parent, nodes.group)
    inner = _edges_by_group(parent, nodes.group, edges, order)
    held = _held(parent, nodes, edges, order, start)
    known: dict[Hashable, int] = {}
    classes = [0] * len(parent)
    first: dict[int, int] = {}
    for group in range(len(parent) - 1, -1, -1):
        inside = tuple([(-1, what) if is_node else (classes[what], -1) for _, is_node, what in sorted(held[group])])
        begins = start[group]
        lines = tuple(sorted([(s - begins, t - begins) for s, t in inner[group]])) if inner[group] else ()
        classes[group] = known.setdefault((kind[group], inside, lines), len(known))
        first[classes[group]] = group  # groups are met from the last to the first
    return tuple(first[c] for c in classes)


def _places(parent: Sequence[int], group_of: Sequence[int]) -> tuple[list[int], list[int]]:
    """A place for every node, such that those of any group stand together, and the place where each group begins."""
    count = len(parent)
    seen: list[int] = [-1] * count  # when a group was first entered
    for node, group in enumerate(group_of):
        while group >= 0 and seen[group] < 0:
            seen[group] = node
            group = parent[group]
    chains: list[tuple[int, ...]] = []
    for group, above in enumerate(parent):
        head = chains[above] if above >= 0 else ()
        chains.append((*head, max(seen[group], 0), group))
    keys = [(*chains[group], node) for node, group in enumerate(group_of)]
    placed = sorted(range(len(keys)), key=keys.__getitem__)
    order = [0] * len(keys)
    for place, node in enumerate(placed):
        order[node] = place
    start = [len(keys)] * count
    for node, group in enumerate(group_of):
        start[group] = min(start[group], order[node])
    for group in range(count - 1, 0, -1):
        start[parent[group]] = min(start[parent[group]], start[group])
    return order, start


def _edges_by_group(
    parent: Sequence[int], group_of: Sequence[int], edges: Edges, order: Sequence[int]
) -> list[list[tuple[int, int]]]:
    """Every edge at the innermost group that holds both its ends, as places."""
    depth: list[int] = []
    for above in parent:
        depth.append(depth[above] + 1 if above >= 0 else 0)
    found: list[list[tuple[int, int]]] = [[] for _ in parent]
    for source, target in zip(edges.source, edges.target, strict=True):
        a, b = group_of[source], group_of[target]
        while a != b:
            if depth[a] >= depth[b]:
                a = parent[a]
            else:
                b = parent[b]
        found[a].append((order[source], order[target]))
    return found


def _held(
    parent: Sequence[int], nodes: Nodes, edges: Edges, order: Sequence[int], start: Sequence[int]
) -> list[list[tuple[int, bool, int]]]:
    """What each group directly holds: (place, is it a node, number of its look or of the group)."""
    taken = [0] * len(nodes)
    for target in edges.target:
        taken[target] += 1
    looks: dict[Hashable, int] = {}
    columns = (nodes.op, nodes.label, nodes.shape, nodes.dtype, nodes.parameters, nodes.flops, taken)
    found: list[list[tuple[int, bool, int]]] = [[] for _ in parent]
    for node, look in enumerate(zip(*columns, strict=True)):
        found[nodes.group[node]].append((order[node], True, looks.setdefault(look, len(looks))))
    for group in range(1, len(parent)):
        found[parent[group]].append((start[group], False, group))
    return found
