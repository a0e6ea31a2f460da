"""What exporters spell out in several nodes, put together again: rules know it by name then, and so does a map.

A pattern is looked for at its last node, backwards: a bounded number of steps for each node, so the time is linear.
It is joined only where it computes exactly that, with nothing else reading the values in between.  Joined are
activations (SiLU, GELU, hard swish, Mish), normalizations (by layer and by root mean square) and attention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pellucid.core.errors import PellucidError
from pellucid.doors.onnx.graph import Graph, Model, Node, Value, Weights
from pellucid.doors.onnx.joined.patterns import ONE, PATTERNS, Found
from pellucid.doors.onnx.joined.reading import Reading

# The operator sets that have them.
_SINCE = {"Swish": 24, "Gelu": 20, "HardSwish": 14, "HardSigmoid": 6, "Mish": 18, "Attention": 23}
_SINCE |= {"LayerNormalization": 17, "RMSNormalization": 23}
_TURNED = (0, 1, 3, 2)


def fused(model: Model) -> Model:
    """The model with spelled-out activations, normalizations and attention as one operation each."""
    return replace(model, graph=_Joining(model.graph).done())


class _Joining:
    """One graph on the way; `gone` are the outputs of nodes that others stand for now."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.read, self.gone = graph, Reading(graph), set[str]()
        self.values: dict[str, Value] = {}

    def done(self) -> Graph:
        """The graph with everything joined; itself where nothing was."""
        nodes: list[Node] = []
        for node in self.graph.nodes:
            found = None if node.domain else self._met(node)
            nodes.extend([node] if found is None else self._joined(node, found))
        if not self.gone:
            return self.graph
        more = {ONE: Weights(ONE, "float32", (), _one)} if self.read.uses[ONE] > 0 else {}
        kept = tuple(n for n in nodes if n.outputs[0] not in self.gone)
        return replace(
            self.graph, nodes=kept, weights={**self.graph.weights, **more}, values={**self.graph.values, **self.values}
        )

    def _met(self, node: Node) -> Found | None:
        """What a node is the end of, if nothing else reads what lies in between."""
        for pattern in PATTERNS.get(node.op, ()) if len(node.inputs) == 2 else ():
            try:
                found = pattern(self.read, node)
            except (PellucidError, TypeError, ValueError, IndexError, OverflowError):  # it is not as the standard says
                continue
            if found is not None and self._closed(node, found.gone):
                return found
        return None

    def _closed(self, last: Node, gone: Iterable[Node]) -> bool:
        inside = Counter(name for node in (last, *gone) for name in node.inputs)
        return all(self.read.uses[name] == inside[name] for node in gone for name in node.outputs if name)

    def _joined(self, last: Node, found: Found) -> list[Node]:
        """The nodes that take the place of the last one of a pattern."""
        path = _common([node.path for node in (*found.gone, last)])
        new = replace(
            last, op=found.op, inputs=found.inputs, attributes=found.attributes, version=_SINCE[found.op], path=path
        )
        made = self._upright(new) if new.op == "Attention" else [new]
        for node in (*found.gone, last):
            self.read.uses.subtract(node.inputs)
        for node in made:
            self.read.uses.update(node.inputs)
            self.read.makers[node.outputs[0]] = node
        self.gone.update(node.outputs[0] for node in found.gone)
        self.read.joined.add(new.outputs[0])
        return made

    def _upright(self, attention: Node) -> list[Node]:
        """Scores multiply with keys on their side; the operator takes them upright."""
        query, turned, *rest = attention.inputs
        before = self.read.maker(turned, "Transpose")
        if before is not None and tuple(before.attributes.get("perm", ())) == _TURNED:
            if self.read.uses[turned] == 1:  # by the scores, which go
                self.gone.add(turned)
                self.read.uses.subtract(before.inputs)
            return [replace(attention, inputs=(query, before.inputs[0], *rest))]
        upright, known = f"{attention.outputs[0]}.keys", self.read.types.get(turned)
        if known is not None and known.shape is not None and len(known.shape) == 4:
            self.values[upright] = replace(known, name=upright, shape=tuple(known.shape[i] for i in _TURNED))
        turn = Node("Transpose", (turned,), (upright,), {"perm": _TURNED}, version=13, path=attention.path)
        return [turn, replace(attention, inputs=(query, upright, *rest))]


def _one() -> Any:
    import numpy as np

    return np.ones((), np.float32)


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The innermost module that all stand in; those that stand nowhere do not count."""
    known = [path for path in paths if path]
    if not known:
        return ()
    same = min(map(len, known))
    while any(path[:same] != known[0][:same] for path in known):
        same -= 1
    return known[0][:same]
