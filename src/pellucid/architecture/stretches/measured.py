"""What is laid over a graph, for its stretches too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Measure, Number, Overlay
from pellucid.architecture.sources.draft import sums
from pellucid.architecture.stretches.numbering import summed
from pellucid.architecture.tree import output_nodes


def spread_over(overlay: Overlay, graph: Graph, was: Sequence[int]) -> Overlay:
    """The same overlay for a graph with stretches, given which group each one was (-1 for a stretch)."""
    leaving = output_nodes(graph)
    measures = {name: _measure(m, graph, was, leaving) for name, m in overlay.measures.items()}
    return replace(overlay, measures=measures)


def _measure(measure: Measure, graph: Graph, was: Sequence[int], leaving: Sequence[int | None]) -> Measure:
    parent, group_of = graph.groups.parent, graph.nodes.group
    if measure.adds:
        return replace(measure, groups=summed(parent, was, measure.groups, measure.nodes, group_of))
    if measure.joined == "output":
        made: Sequence[Number] = [None if node is None else measure.nodes[node] for node in leaving]
    else:
        made = _means(measure, graph) if measure.joined == "mean" else _largest(measure, graph)
    groups = tuple([measure.groups[old] if old >= 0 else made[g] for g, old in enumerate(was)])
    return replace(measure, groups=groups)


def _means(measure: Measure, graph: Graph) -> list[Number]:
    parent, places = graph.groups.parent, list(zip(graph.nodes.group, measure.nodes, strict=True))
    total = sums(parent, [(g, v or 0.0) for g, v in places])
    count = sums(parent, [(g, int(v is not None)) for g, v in places])
    return [t / n if n else None for t, n in zip(total, count, strict=True)]


def _largest(measure: Measure, graph: Graph) -> list[Number]:
    found: list[Number] = [None] * len(graph.groups)
    for group, value in zip(graph.nodes.group, measure.nodes, strict=True):
        found[group] = _larger(found[group], value)
    for group in range(len(found) - 1, 0, -1):
        above = graph.groups.parent[group]
        found[above] = _larger(found[above], found[group])
    return found


def _larger(one: Number, other: Number) -> Number:
    return other if one is None else one if other is None else max(one, other)
