"""A graph read backwards: who made a value and from what, and which numbers are stored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import isclose

from pellucid.doors.onnx.graph import DTYPES, Graph, Node, Value, Weights
from pellucid.doors.onnx.order import captured

_MOST = 8  # nodes of one product, and steps back
_SAME_TYPE = ("Add", "Sub", "Mul", "Div", "MatMul", "Softmax", "Transpose", "Where")  # all of theirs are of one type


@dataclass(frozen=True, slots=True)
class Product:
    """A product taken apart: its constant, its other factors, and the nodes that multiply."""

    number: float
    factors: tuple[str, ...]
    nodes: tuple[Node, ...]


class Reading:
    """One graph: who makes each value now, and how often each is read; both follow when nodes are replaced."""

    def __init__(self, graph: Graph) -> None:
        self.given = graph
        self.makers = {name: node for node in graph.nodes for name in node.outputs if name}
        self.uses = Counter(name for node in graph.nodes for name in node.inputs)
        self.uses.update(value.name for value in graph.outputs)
        for node in graph.nodes:
            for body in node.bodies.values() if node.attributes else ():
                self.uses.update(captured(body))
        self.types: dict[str, Value] = {v.name: v for v in (*graph.inputs, *graph.outputs)} | dict(graph.values)
        self.numbers: dict[str, float | None] = {}
        self.joined: set[str] = set()  # what was put together here, by its output

    def maker(self, name: str, *ops: str) -> Node | None:
        """The node that makes a value, if it is one of these operators of the standard."""
        node = self.makers.get(name)
        return node if node is not None and node.op in ops and not node.domain else None

    def stored(self, name: str) -> Weights | None:
        """A stored tensor: an initializer or a constant."""
        found = self.given.weights.get(name)
        node = self.maker(name, "Constant")
        value = found if node is None else node.attributes.get("value")
        return value if isinstance(value, Weights) else None

    def number(self, name: str) -> float | None:
        """The one number of a stored tensor of floating numbers; None where it is none."""
        if name not in self.numbers:
            w, node = self.stored(name), self.maker(name, "Constant")
            plain = node.attributes.get("value_float") if node is not None else None
            single = w is not None and w.count == 1 and len(w.shape) < 2 and w.dtype in ("float32", "float64")
            found = w.few if single and w is not None else ()
            self.numbers[name] = found[0] if found else plain
        return self.numbers[name]

    def product(self, name: str) -> Product:
        """A value as a product, with what is divided by a number as a factor; only values that are read once inside."""
        number, factors, nodes, ahead = 1.0, list[str](), list[Node](), [name]
        while ahead:
            at = ahead.pop()
            node = self.maker(at, "Mul", "Div")
            inside = node is not None and len(nodes) < _MOST and (at == name or self.uses[at] == 1)
            value = self.number(at)
            if value is not None:
                number *= value
            elif node is None or not inside:
                factors.append(at)
            elif node.op == "Mul":
                nodes.append(node)
                ahead.extend(node.inputs)
            else:
                under = self.number(node.inputs[1])
                if under:
                    nodes.append(node)
                    number /= under
                    ahead.append(node.inputs[0])
                else:
                    factors.append(at)
        return Product(number, tuple(factors), tuple(nodes))

    def plus(self, name: str, number: float) -> tuple[Node, str] | None:
        """The node that adds this number to something, and what it adds it to."""
        node = self.maker(name, "Add", "Sum")
        if node is None or len(node.inputs) != 2:
            return None
        for constant, other in (node.inputs, node.inputs[::-1]):
            value = self.number(constant)
            if value is not None and near(value, number):
                return node, other
        return None

    def mean(self, node: Node) -> tuple[str, int | None]:
        """What a mean is taken of, and from which axis on; None where these are not the last axes."""
        axes = node.attributes.get("axes")
        if axes is None and node.inputs[1:]:
            w = self.stored(node.inputs[1])
            constant = self.maker(node.inputs[1], "Constant")
            given = constant.attributes.get("value_ints") if constant is not None else None
            axes = w.few if w is not None else given
        known = self.types.get(node.inputs[0])
        rank = len(known.shape) if known is not None and known.shape is not None else None
        if not axes or not node.attributes.get("keepdims", 1):
            return node.inputs[0], None
        places = sorted(int(a) - rank if a >= 0 and rank is not None else int(a) for a in axes)
        return node.inputs[0], places[0] if places == list(range(-len(places), 0)) else None

    def rank(self, name: str) -> int | None:
        """How many axes a value has: stated, stored, or told by how it was turned or brought into shape."""
        known, stored = self.types.get(name), self.stored(name)
        if stored is not None:
            return len(stored.shape)
        if known is not None and known.shape is not None:
            return len(known.shape)
        for _ in range(_MOST):
            node = self.maker(name, "Transpose", "Reshape", "Mul", "Div")
            if node is None:
                return None
            if node.op == "Transpose":
                return len(node.attributes.get("perm", ())) or None
            if node.op == "Reshape":
                sizes = self.stored(node.inputs[1])
                return None if sizes is None else sizes.count
            name = node.inputs[0]
        return None

    def dtype(self, name: str) -> str:
        """The type of a value: stated, stored, or that of what it is computed with; "" where it is not known."""
        for _ in range(_MOST):
            known, stored = self.types.get(name), self.stored(name)
            if stored is not None or (known is not None and known.dtype != "undefined"):
                return stored.dtype if stored is not None else known.dtype if known is not None else ""
            node = self.maker(name, *_SAME_TYPE)
            if node is None:
                cast = self.maker(name, "Cast")
                return "" if cast is None else DTYPES.get(cast.attributes.get("to", 0), "")
            like = node.inputs[node.op == "Where" :]
            name = next((n for n in like if self.stored(n) is not None), like[0])
        return ""


def near(a: float, b: float) -> bool:
    """Are two numbers one, but for rounding to 32 bits?"""
    return isclose(a, b, rel_tol=2e-6)
