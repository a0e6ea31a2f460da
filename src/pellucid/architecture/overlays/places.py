"""Where the operations and module calls of a tape stand in its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Number
from pellucid.architecture.tree import output_nodes
from pellucid.core.recording.tape import Tape

Column: TypeAlias = tuple[Number, ...]


def nodes_by_operation(tape: Tape, graph: Graph) -> dict[int, int]:
    """The node of each operation that has one, by the operation's index."""
    at = {site: node for node, site in enumerate(graph.nodes.site) if site}
    return {op.index: at[str(op.site)] for op in tape.operations if not op.idle and str(op.site) in at}


def last_nodes(tape: Tape, graph: Graph) -> tuple[int | None, ...]:
    """For each group the node that made what it puts out; None where that came from outside."""
    nodes = nodes_by_operation(tape, graph)
    made: dict[str, int | None] = {}
    for call in tape.calls:
        site = call.path + (f"#{call.call}" if call.call else "")
        operation = tape.values[call.outputs[0]].operation if call.outputs else None
        made[site] = None if operation is None else nodes.get(operation)
    if not tape.pieces:
        return tuple(made.get(graph.site_of(group)) for group in range(len(graph.groups)))
    leaving = output_nodes(graph)  # no call of a piece puts out what the module does
    return tuple(
        leaving[group] if path in tape.pieces else made.get(graph.site_of(group))
        for group, path in enumerate(graph.groups.path)
    )


def spread(found: Mapping[int, float], graph: Graph, last: Sequence[int | None]) -> tuple[Column, Column]:
    """Numbers by node as two columns: of the nodes, and of the groups, which have their output's."""
    nodes = tuple(found.get(node) for node in range(len(graph.nodes)))
    return nodes, tuple(None if node is None else nodes[node] for node in last)
