"""From an ONNX file to a graph, without running it and without torch: operators, weights, shapes, modules if known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from math import prod
from typing import Any

from pellucid.architecture.graph import ROOT, Graph, Shape
from pellucid.architecture.sources.draft import Draft, Row, Run
from pellucid.architecture.sources.onnx_flops import Sizes, flops
from pellucid.architecture.sources.onnx_memory import Memory
from pellucid.doors.onnx import graph as onnx
from pellucid.doors.onnx.running.learned import Learned

_LABELED = ("strides", "pads", "dilations", "group", "kernel_shape", "axis", "axes", "perm", "alpha", "mode", "to",
            "num_heads", "hidden_size", "direction", "keepdims", "equation")  # fmt: skip
_PLACES = {name: place for place, name in enumerate(_LABELED)}
_SHORT = {"strides": "stride", "pads": "pad", "dilations": "dilation", "kernel_shape": "kernel"}
_PLAIN = {int, float, str}
_USUAL = {"strides": {1}, "dilations": {1}, "pads": {0}, "group": {1}, "keepdims": {1}, "alpha": {1.0}}
_OUTER = {"Loop": 2, "Scan": 0}  # from which of the inputs on a body takes them over


def from_onnx(model: onnx.Model, name: str = "", source: str = "") -> Graph:
    """The graph of a parsed ONNX model.

    Initializers are parameters of what reads them where they were learned (see `Learned`); constants, values that
    nobody computes, and what only gives a value another name are not drawn.  Groups are the modules that the exporter
    wrote down, and the bodies of `If`, `Loop` and `Scan`.  FLOPs are known where the shapes around products are
    (`onnx_flops`); a batch that only has a name counts as one sample.

    >>> from pellucid.doors.onnx.graph import Graph, Model, Node, Value
    >>> x, y = Value("x", "float32", (1, 4)), Value("y", "float32", (1, 4))
    >>> found = from_onnx(Model(Graph("g", (x,), (y,), (Node("Relu", ("x",), ("y",)),), {}, {}), {}, {}, name="one"))
    >>> found.nodes.op, len(found.edges)
    (('input', 'Relu', 'output'), 2)
    """
    return with_bytes(model, name, source)[0]


def with_bytes(model: onnx.Model, name: str = "", source: str = "") -> tuple[Graph, int]:
    """The same, and how many bytes its parameters take in the file."""
    draft = Draft(name or model.name, source)
    draft.group(Run(-1, "", model.kinds.get("", "") or name or model.name))
    filling = _Filling(draft, model)
    scope = _Scope(model.graph, {}, dict(model.graph.weights), filling.types(model.graph))
    for value in model.graph.inputs:
        if value.name not in model.graph.weights:
            shape = _shape(value.shape)
            scope.made[value.name] = draft.add(Row("input", ROOT, shape, value.dtype, label=value.name))
    filling.nodes(model.graph, scope, ROOT, ())
    for value in model.graph.outputs:
        at = draft.add(Row("output", ROOT, _shape(value.shape), value.dtype, label=value.name))
        if value.name in scope.made:
            draft.edge(scope.made[value.name], at, _shape(value.shape))
    if _unknown(draft):  # no product's shapes are known: nothing is, not even a nought
        draft.rows = [row._replace(flops=None) for row in draft.rows]
    return draft.finished(), sum(w.bytes for w in filling.weights.values())


def _unknown(draft: Draft) -> bool:
    costs = [row.flops for row in draft.rows if row.op not in ("input", "output")]
    return None in costs and not any(costs)


class _Scope:
    """What is known where a node stands: who made a value, which values are stored, and their types."""

    __slots__ = ("learned", "made", "memory", "stored", "types")

    def __init__(
        self, graph: onnx.Graph, made: dict[str, int], stored: dict[str, onnx.Weights], types: dict[str, onnx.Value]
    ) -> None:
        self.made, self.stored, self.types, self.memory = made, stored, types, Memory()
        self.learned = Learned(graph.nodes)

    def inner(self, body: onnx.Graph) -> _Scope:
        types = {v.name: v for v in (*body.inputs, *body.outputs)} | dict(body.values)
        return _Scope(body, dict(self.made), {**self.stored, **body.weights}, {**self.types, **types})

    def dtype(self, name: str) -> str:
        known = self.types.get(name)
        return known.dtype if known is not None and known.dtype != "undefined" else ""

    def takes(self, node: onnx.Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> bool:
        """Does a node take memory for what it puts out?"""
        if node.op == "Cast" and node.inputs and self.dtype(node.inputs[0]) == self.dtype(node.outputs[0]) != "":
            return False
        try:
            return self.memory.takes(node, taken, made, self._few)
        except (TypeError, ValueError, IndexError, ArithmeticError):  # attributes or axes are not as the standard says
            return True

    def _few(self, name: str) -> Sequence[float] | None:
        return self.stored[name].few if name in self.stored else None


class _Filling:
    def __init__(self, draft: Draft, model: onnx.Model) -> None:
        self.draft, self.model = draft, model
        self.groups: dict[tuple[int, tuple[str, ...]], int] = {}
        self.batch = {v.shape[0] for v in model.graph.inputs if v.shape and isinstance(v.shape[0], str)}
        self.sizes: dict[Shape, tuple[int, ...] | None] = {}
        self.weights: dict[int, onnx.Weights] = {}

    def types(self, graph: onnx.Graph) -> dict[str, onnx.Value]:
        return {v.name: v for v in (*graph.inputs, *graph.outputs)} | dict(graph.values)

    def nodes(self, graph: onnx.Graph, scope: _Scope, root: int, above: tuple[str, ...]) -> None:
        made = scope.made
        for node in graph.nodes:
            if node.op == "Constant" and not node.domain:
                value = onnx.constant(node)
                if value is not None:
                    scope.stored[node.outputs[0]] = value
                continue
            if node.op == "Identity" and not node.domain and scope.stored.keys() & node.inputs[:1]:  # another name
                scope.stored[node.outputs[0]] = scope.stored[node.inputs[0]]
                continue
            if node.op == "Identity" and not node.domain and root == ROOT and made.keys() & node.inputs[:1]:
                made[node.outputs[0]] = made[node.inputs[0]]  # as in a pass; a body may do nothing else, and is drawn
                continue
            group = self._group(root, node.path)
            bodies = node.bodies if node.attributes else {}
            ends = [end for key, body in bodies.items() for end in self._body(node, key, body, scope, group)]
            at = self.draft.add(self._row(node, group, scope))
            for source in ends:
                self.draft.edge(source, at, None)
            for name in node.inputs:
                if name in made:
                    self.draft.edge(made[name], at, self._shape(name, scope))
            for name in node.outputs:
                if name:
                    made[name] = at

    def _body(self, node: onnx.Node, key: str, body: onnx.Graph, scope: _Scope, group: int) -> Iterator[int]:
        """A subgraph as a group of its own; gives the nodes whose values it hands on."""
        path = f"{self.draft.runs[group].path}.{node.name or node.op}.{key}".lstrip(".")
        inside = self.draft.group(Run(group, path, f"{node.op} {key}"))
        inner = scope.inner(body)
        first = _OUTER.get(node.op)
        if first is not None:
            for value, name in zip(body.inputs[first:], node.inputs[first:], strict=False):
                if name in scope.made:
                    inner.made[value.name] = scope.made[name]
        self.nodes(body, inner, inside, ())
        own = {inner.made[v.name] for v in body.outputs if v.name in inner.made}
        yield from sorted(own - set(scope.made.values()))

    def _group(self, root: int, path: tuple[str, ...]) -> int:
        """The group of a chain of modules, made where it is first met."""
        known = self.groups.get((root, path))
        if known is not None or not path:
            return root if known is None else known
        parent = self._group(root, path[:-1])
        dotted = ".".join(path)
        above = self.draft.runs[root].path
        full = f"{above}.{dotted}" if above else dotted
        self.groups[root, path] = self.draft.group(Run(parent, full, self.model.kinds.get(dotted, "")))
        return self.groups[root, path]

    def _row(self, node: onnx.Node, group: int, scope: _Scope) -> Row:
        output = node.outputs[0] or next(filter(None, node.outputs), "")
        stored = [(j, scope.stored[n]) for j, n in enumerate(node.inputs) if n in scope.stored]
        parameters = [(w, count) for j, w in stored if (count := scope.learned.numbers(node, j, w))]
        self.weights.update((id(w), w) for w, _ in parameters)
        taken, made = self._sizes(node.inputs, scope), self._sizes(node.outputs, scope)
        return Row(
            node.title,
            group,
            self._shape(output, scope),
            scope.dtype(output),
            {f"{w.name} {id(w)}": count for w, count in parameters},  # branches may use one name for two
            flops(node, taken, made),
            sum(map(self._bytes, node.outputs, made, repeat(scope))) if scope.takes(node, taken, made) else 0,
            _label(node, [w for w, _ in parameters]),
            node.name,
        )

    def _sizes(self, names: Sequence[str], scope: _Scope) -> list[tuple[int, ...] | None]:
        return [self._numbers(self._shape(name, scope)) if name else None for name in names]

    def _bytes(self, name: str, sizes: tuple[int, ...] | None, scope: _Scope) -> int:
        return 0 if sizes is None else (prod(sizes) * onnx.BITS.get(scope.dtype(name), 0) + 7) // 8

    def _shape(self, name: str, scope: _Scope) -> Shape | None:
        stored = scope.stored.get(name)
        if stored is not None:
            return stored.shape
        value = scope.types.get(name)
        return None if value is None else _shape(value.shape)

    def _numbers(self, shape: Shape | None) -> tuple[int, ...] | None:
        """A shape in numbers, a batch as one sample; None where it is not known."""
        if shape is None:
            return None
        if shape not in self.sizes:
            sizes = [1 if size in self.batch else size for size in shape]
            numbers = tuple(size for size in sizes if isinstance(size, int))
            self.sizes[shape] = numbers if len(numbers) == len(sizes) else None
        return self.sizes[shape]


def _shape(dims: onnx.Dims | None) -> Shape | None:
    """Sizes, with "?" for those that neither the file nor its author named."""
    if dims is None or set(map(type, dims)) <= {int}:
        return dims  # type: ignore[return-value]  # without None it is a shape
    return tuple(["?" if size is None or str(size).startswith("unk__") else size for size in dims])


def _label(node: onnx.Node, parameters: Sequence[onnx.Weights]) -> str:
    said: list[str] = []
    if parameters:
        largest = max([w.shape for w in parameters], key=_extent) if len(parameters) > 1 else parameters[0].shape
        said += ["x".join(map(str, largest))] if largest else []
    if node.attributes:
        names = sorted(_PLACES.keys() & node.attributes.keys(), key=_PLACES.__getitem__)
        names = [name for name in names if name != "kernel_shape"] if said else names  # the weights say it
        said += [text for name in names if (text := _said(name, node.attributes[name]))]
    return ", ".join(said)


def _extent(shape: tuple[int, ...]) -> tuple[int, int]:
    return len(shape), prod(shape)


def _said(name: str, value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    if not values or not _PLAIN.issuperset(map(type, values)):
        return ""
    if name == "to":
        return f"to {onnx.DTYPES.get(values[0], values[0])}"
    different = set(values)
    if different == _USUAL.get(name):
        return ""
    text = str(values[0]) if len(different) == 1 else "x".join(map(str, values))
    return f"{_SHORT.get(name, name)} {text}"[:60]
