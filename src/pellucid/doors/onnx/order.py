"""Nodes in an order in which each finds its inputs ready; circles, doubled names and missing values are refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.graph import Graph, Model, Node

_AGAIN = "Export the model again."


def ordered(model: Model) -> Model:
    """The model with its nodes in execution order.  Raises `BadModel` when there is none."""
    return replace(model, graph=_ordered(model.graph, frozenset()))


def _ordered(graph: Graph, around: frozenset[str]) -> Graph:
    given = [v.name for v in graph.inputs if v.name not in graph.weights]
    if len(set(given)) != len(given):
        raise BadModel("Two inputs have the same name.", _AGAIN)
    if not graph.outputs or not all(v.name for v in graph.outputs) or not all(any(n.outputs) for n in graph.nodes):
        raise BadModel("The graph, or an operation in it, has no output.", _AGAIN)
    known = {*given, *graph.weights, ""}
    makers: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        for name in node.outputs:
            if name and (name in makers or name in known):
                raise BadModel(f"Two things are named {printable(name)!r}.", _AGAIN)
            if name:
                makers[name] = i
    everything = around.union(known, makers)
    reads = [_reads(node) for node in graph.nodes]
    for names in (*reads, [v.name for v in graph.outputs]):
        if not everything.issuperset(names):
            missing = next(name for name in names if name not in everything)
            raise BadModel(f"Nothing makes the value {printable(missing)!r} that is read.", _AGAIN)
    nodes = [graph.nodes[i] for i in _sequence(reads, makers, graph.nodes)]
    nodes = [_inside(node, everything) for node in nodes]
    same = len(nodes) == len(graph.nodes) and all(a is b for a, b in zip(nodes, graph.nodes, strict=True))
    return graph if same else replace(graph, nodes=tuple(nodes))


def _inside(node: Node, around: frozenset[str]) -> Node:
    bodies = node.bodies if node.attributes else {}
    if not bodies:
        return node
    done = {key: _ordered(body, around) for key, body in bodies.items()}
    return replace(node, attributes={**node.attributes, **done})


def _reads(node: Node) -> list[str]:
    names = [name for name in node.inputs if name]
    bodies = node.bodies if node.attributes else {}
    for body in bodies.values():
        names.extend(captured(body))
    return names


def captured(body: Graph) -> list[str]:
    """The values around a subgraph that it reads, each once, in order of first use."""
    own = {v.name for v in body.inputs} | set(body.weights)
    own.update(name for node in body.nodes for name in node.outputs)
    found: dict[str, None] = {}
    for node in body.nodes:
        found.update(dict.fromkeys(name for name in _reads(node) if name not in own))
    found.update(dict.fromkeys(v.name for v in body.outputs if v.name not in own))
    return list(found)


def _sequence(reads: list[list[str]], makers: dict[str, int], nodes: tuple[Node, ...]) -> Iterable[int]:
    """The numbers of the nodes in order; as they are when that is one."""
    if all(makers.get(name, -1) < i for i, names in enumerate(reads) for name in names):
        return range(len(reads))
    before = [{makers[name] for name in names if name in makers} for names in reads]
    after: list[list[int]] = [[] for _ in reads]
    for i, needed in enumerate(before):
        for j in needed:
            after[j].append(i)
    waiting = [len(needed) for needed in before]
    ready = deque(i for i, count in enumerate(waiting) if not count)
    order: list[int] = []
    while ready:
        i = ready.popleft()
        order.append(i)
        for j in after[i]:
            waiting[j] -= 1
            if not waiting[j]:
                ready.append(j)
    if len(order) < len(reads):
        stuck = next(i for i, count in enumerate(waiting) if count)
        what = printable(nodes[stuck].name) or nodes[stuck].title
        raise BadModel(f"The operation {what!r} ({nodes[stuck].title}) waits for its own result: a circle.", _AGAIN)
    return order
