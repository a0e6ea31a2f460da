"""What a network costs in all."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.architecture.graph import ROOT, Graph


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a network.

    `parameters` are counted once each, `unused` those of them that no operation read in this pass; `flops` are two a
    multiply-add (None: unknown), `activation_bytes` what all outputs together take, `parameter_bytes` what the
    parameters take; `depth` is the number of operations on the longest way from an input to an output.
    `tensors` counts those of a file that tells no operations; it is 0 for a network.
    """

    parameters: int
    unused: int
    parameter_bytes: int | None
    flops: int | None
    activation_bytes: int
    operations: int
    modules: int
    depth: int
    tensors: int = 0


def totals(graph: Graph, unused: int = 0, parameter_bytes: int | None = None, tensors: int = 0) -> Totals:
    """The totals of a graph.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> totals(Graph("two", "", nodes("relu", "tanh"), only_root("Net"), Edges((0,), (1,), (None,)))).depth
    2
    """
    groups, families = graph.groups, graph.nodes.family
    return Totals(
        groups.parameters[ROOT],
        unused,
        parameter_bytes,
        groups.flops[ROOT],
        groups.bytes[ROOT],
        0 if tensors else sum(family != "io" for family in families),
        len(groups),
        0 if tensors else longest(graph),
        tensors,
    )


def longest(graph: Graph) -> int:
    """The number of operations on the longest way; edges that lead back (loops) are not followed."""
    steps = [int(family != "io") for family in graph.nodes.family]
    far = list(steps)
    for source, target in sorted(zip(graph.edges.source, graph.edges.target, strict=True), key=lambda e: e[1]):
        if source < target:
            far[target] = max(far[target], far[source] + steps[target])
    return max(far, default=0)
