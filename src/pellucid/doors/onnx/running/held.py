"""The stored tensors that nodes read: initializers and constants, each made once, so that shared ones stay shared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.graph import Graph, Node, Weights, constant
from pellucid.doors.onnx.running.values import from_array, tensor


class Held:
    """Stored tensors that nodes can see, by name; each is made once, so that shared ones stay shared."""

    def __init__(self, outer: Mapping[str, Any]) -> None:
        self.known: dict[str, Any] = dict(outer)
        self.made: dict[int, Any] = {}

    def add(self, graph: Graph) -> None:
        """Take up a graph's weights, its constants, and other names for them."""
        self.known |= graph.weights
        for node in graph.nodes:
            if node.op == "Constant" and not node.domain:
                self.known[node.outputs[0]] = _constant(node)
            elif node.op == "Identity" and not node.domain and self.known.keys() & node.inputs[:1]:
                self.known[node.outputs[0]] = self.known[node.inputs[0]]

    def value(self, name: str) -> Any:
        """The tensor (or array of strings) of that name."""
        stored = self.known[name]
        if id(stored) not in self.made:
            self.made[id(stored)] = (stored, tensor(stored) if isinstance(stored, Weights) else stored)
        return self.made[id(stored)][1]

    def learned(self, name: str, value: Tensor) -> nn.Parameter:
        """The same as a parameter, one for all who share it."""
        if not isinstance(value, nn.Parameter):
            value = nn.Parameter(value)
            self.made[id(self.known[name])] = (self.known[name], value)
        return value


def _constant(node: Node) -> Any:
    found = constant(node)
    texts = next(iter(node.attributes.values()), None)
    if found is not None:
        return found
    if not isinstance(texts, str | tuple):
        raise BadModel(f"The constant {printable(node.outputs[0])!r} has no value.", "Export the model again.")
    return from_array(np.array(texts, dtype=object))
