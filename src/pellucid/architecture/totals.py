"""What a network costs in all."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.architecture.graph import ROOT, Graph


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a network.

    `parameters` are counted once each, `unused` those of them that no operation read in this pass; `flops` are two a
    multiply-add (None: unknown), `activation_bytes` what all outputs together take, `parameter_bytes` what the
    parameters take; `modules` are counted once, however often they run; `depth` is the number of operations on the
    longest way from an input to an output.
    `tensors` counts those of a file that tells no operations; it is 0 for a network.  `more_flops` and
    `more_bytes`: what some operations cost, or put out, is not known, so that `flops`, or `activation_bytes`, are a
    lower bound; `unknown_flops` counts the operations whose FLOPs are not known.
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
    more_flops: bool = False
    more_bytes: bool = False
    unknown_flops: int = 0


def totals(graph: Graph, unused: int = 0, parameter_bytes: int | None = None, tensors: int = 0) -> Totals:
    """The totals of a graph.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> totals(Graph("two", "", nodes("relu", "tanh"), only_root("Net"), Edges((0,), (1,), (None,)))).depth
    2
    """
    groups, families = graph.groups, graph.nodes.family
    unknown = 0 if tensors else len(unknown_flops(graph))
    return Totals(
        groups.parameters[ROOT],
        unused,
        parameter_bytes,
        groups.flops[ROOT],
        groups.bytes[ROOT],
        0 if tensors else sum(family != "io" for family in families),
        len(set(groups.path)),
        0 if tensors else longest(graph),
        tensors,
        groups.flops[ROOT] is not None and unknown > 0,
        groups.bytes[ROOT] > 0 and _unknown_sizes(graph, unknown),
        unknown,
    )


def unknown_flops(graph: Graph) -> list[int]:
    """The operations whose FLOPs are not known."""
    nodes = enumerate(zip(graph.nodes.flops, graph.nodes.family, strict=True))
    return [node for node, (flops, family) in nodes if flops is None and family != "io"]


def partly_known(graph: Graph) -> list[bool]:
    """Of each group: are the FLOPs of some operation inside not known, so that its sum is a lower bound?"""
    found = [False] * len(graph.groups)
    for node in unknown_flops(graph):
        found[graph.nodes.group[node]] = True
    for group in range(len(found) - 1, ROOT, -1):
        found[graph.groups.parent[group]] |= found[group]
    return [partly and flops is not None for partly, flops in zip(found, graph.groups.flops, strict=True)]


def _unknown_sizes(graph: Graph, unknown: int) -> bool:
    """Has any operation's output a size that is no number, but for the batch, which counts as one sample?

    An output without a shape is none where all costs are known: then it is no tensor.
    """
    nodes = graph.nodes
    batch = {shape[0] for shape, op in zip(nodes.shape, nodes.op, strict=True) if op == "input" and shape} - {"?"}
    shapes = {shape for shape, family in zip(nodes.shape, nodes.family, strict=True) if family != "io"}
    if None in shapes and unknown:
        return True
    return any(isinstance(size, str) and size not in batch for shape in shapes if shape for size in shape)


def longest(graph: Graph) -> int:
    """The number of operations on the longest way; edges that lead back (loops) are not followed."""
    steps = [int(family != "io") for family in graph.nodes.family]
    far = list(steps)
    for source, target in sorted(zip(graph.edges.source, graph.edges.target, strict=True), key=lambda e: e[1]):
        if source < target:
            far[target] = max(far[target], far[source] + steps[target])
    return max(far, default=0)
