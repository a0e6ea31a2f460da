"""Activations that exporters spell out in several nodes, put together again: ways backwards know them by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from pellucid.doors.onnx.graph import Graph, Model, Node
from pellucid.doors.onnx.order import captured

_SWISH = 24  # the operator set that has it


def fused(model: Model) -> Model:
    """The model with every x sigmoid(x) as one operation, SiLU (Elfwing et al., 2018), where nothing else reads it."""
    return replace(model, graph=_fused(model.graph))


def _fused(graph: Graph) -> Graph:
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(value.name for value in graph.outputs)
    for node in graph.nodes:
        for body in node.bodies.values() if node.attributes else ():
            uses.update(captured(body))
    gates = {
        node.outputs[0]: node
        for node in graph.nodes
        if node.op == "Sigmoid" and not node.domain and uses[node.outputs[0]] == 1
    }
    gone: set[str] = set()
    nodes: list[Node] = []
    for node in graph.nodes:
        gate = _gate(node, gates)
        if gate is not None:
            gone.add(gate.outputs[0])
            nodes.append(replace(node, op="Swish", inputs=gate.inputs, attributes={}, version=_SWISH))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(n for n in nodes if n.outputs[0] not in gone)) if gone else graph


def _gate(node: Node, gates: dict[str, Node]) -> Node | None:
    """The sigmoid of the other factor, when a product is one of x and sigmoid(x)."""
    if node.op != "Mul" or node.domain or len(node.inputs) != 2:
        return None
    a, b = node.inputs
    for factor, other in ((a, b), (b, a)):
        gate = gates.get(factor)
        if gate is not None and gate.inputs[0] == other:
            return gate
    return None
