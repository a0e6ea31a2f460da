"""Calls of functions replaced by what the functions say: those of the model itself, and those of the standard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.file.guard import MOST_NODES
from pellucid.doors.onnx.graph import Function, Graph, Model, Node, Reference, Value

_DEEPEST = 40

Known = Callable[[str, str, int], object]


def inlined(model: Model, known: Known | None = None) -> Model:
    """The model without calls.  A node stays when `known(domain, op, version)` says so and the model does not define
    it; else the standard's own definition in terms of simpler operators takes its place, where it has one.

    Raises `BadModel` for functions that call themselves and for more than a million nodes.
    """
    inliner = _Inliner(model, known or _computed)
    return replace(model, graph=inliner.graph(model.graph, ()), functions={}, kinds=inliner.kinds)


def _computed(domain: str, op: str, version: int) -> object:
    from pellucid.doors.onnx.running.registry import find

    return (domain, op) == ("", "Constant") or find(domain, op, version)


class _Inliner:
    def __init__(self, model: Model, known: Known) -> None:
        self.functions, self.known, self.kinds = model.functions, known, dict(model.kinds)
        self.calls = self.count = 0

    def graph(self, graph: Graph, active: tuple[str, ...]) -> Graph:
        nodes: list[Node] = []
        for node in graph.nodes:
            self.add(nodes, node, active)
        if len(nodes) == len(graph.nodes) and all(a is b for a, b in zip(nodes, graph.nodes, strict=True)):
            return graph
        return replace(graph, nodes=tuple(nodes))

    def add(self, nodes: list[Node], node: Node, active: tuple[str, ...]) -> None:
        self.count += 1
        if self.count > MOST_NODES:
            raise BadModel(f"The model has more than {MOST_NODES:,} operations.", "Open a smaller part of it.")
        function = self.definition(node)
        if function is not None:
            return self.expand(nodes, node, function, active)
        if any(type(v) is Graph for v in node.attributes.values()):
            inner = {k: self.graph(v, active) if type(v) is Graph else v for k, v in node.attributes.items()}
            node = replace(node, attributes=inner)
        nodes.append(node)
        return None

    def definition(self, node: Node) -> Function | None:
        own = self.functions.get((node.domain, node.op, node.overload))
        if own is not None or self.known(node.domain, node.op, node.version):
            return own
        return _standard(node.domain, node.op, node.version)

    def expand(self, nodes: list[Node], call: Node, function: Function, active: tuple[str, ...]) -> None:
        if function.name in active or len(active) > _DEEPEST:
            raise BadModel(f"The function {printable(function.name)} calls itself.", "Export the model again.")
        self.calls += 1
        prefix = f"{function.name}.{self.calls}/"
        names = dict.fromkeys(function.inputs, "") | dict(zip(function.inputs, call.inputs, strict=False))
        wanted = dict(zip(function.outputs, call.outputs, strict=False))
        passed = {formal: actual for formal, actual in wanted.items() if formal in names and actual}
        names = {formal: actual for formal, actual in wanted.items() if actual} | names
        path = (*call.path, call.name.rpartition("/")[2] or function.name)
        self.kinds.setdefault(".".join(path), function.name)
        rename = _Renamer(prefix, names, {**function.defaults, **call.attributes}, path, call.source)
        for node in function.nodes:
            self.add(nodes, rename.node(node), (*active, function.name))
        nodes.extend(Node("Identity", (names[f],), (actual,), version=14, path=path) for f, actual in passed.items())


class _Renamer:
    """Gives the values of a function's body names of their own, and its attributes the caller's values."""

    def __init__(
        self, prefix: str, names: Mapping[str, str], bound: Mapping[str, Any], path: tuple[str, ...], source: str
    ) -> None:
        self.prefix, self.names, self.bound, self.path, self.source = prefix, names, bound, path, source

    def name(self, name: str) -> str:
        return self.names.get(name, self.prefix + name) if name else ""

    def node(self, node: Node) -> Node:
        return replace(
            node,
            inputs=tuple(map(self.name, node.inputs)),
            outputs=tuple(map(self.name, node.outputs)),
            attributes=dict(filter(None, (self.attribute(k, v) for k, v in node.attributes.items()))),
            path=self.path + node.path,
            source=node.source or self.source,
        )

    def attribute(self, key: str, value: Any) -> tuple[str, Any] | None:
        if isinstance(value, Reference):
            return (key, self.bound[value.name]) if value.name in self.bound else None
        return key, self.graph(value) if type(value) is Graph else value

    def graph(self, graph: Graph) -> Graph:
        def renamed(value: Value) -> Value:
            return replace(value, name=self.name(value.name))

        return Graph(
            name=graph.name,
            inputs=tuple(map(renamed, graph.inputs)),
            outputs=tuple(map(renamed, graph.outputs)),
            nodes=tuple(map(self.node, graph.nodes)),
            weights={self.name(k): w for k, w in graph.weights.items()},
            values={self.name(k): renamed(v) for k, v in graph.values.items()},
        )


@cache
def _standard(domain: str, op: str, version: int) -> Function | None:
    """How the standard defines an operator in terms of others, where it does so without regard to types."""
    from onnx import FunctionProto
    from onnx.defs import SchemaError, get_schema

    from pellucid.doors.onnx.file.parse import function

    try:
        schema: Any = get_schema(op, version, domain)
    except SchemaError:
        return None
    fitting = [v for v in schema.function_opset_versions if v <= version]
    if not fitting:
        return None
    proto = FunctionProto.FromString(schema.get_function_with_opset_version(max(fitting)))
    defaults = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.type}
    return function(proto, defaults, {"": max(fitting)})
