"""From the data of a graph to modules: who stands where in the tree, which weights are whose, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from pellucid.doors.onnx.facing import channels_last
from pellucid.doors.onnx.graph import Graph, Model, Weights
from pellucid.doors.onnx.graph import Node as Given
from pellucid.doors.onnx.order import captured
from pellucid.doors.onnx.running.held import Held
from pellucid.doors.onnx.running.learned import Learned, packed
from pellucid.doors.onnx.running.module import Block, Kind, Node, OnnxModule
from pellucid.doors.onnx.running.plans import filled_in, plan
from pellucid.doors.onnx.running.registry import Operator, find
from pellucid.doors.onnx.running.roles import buffer_name, is_shape

_END = 1 << 60  # used after everything: an output
_OWN = (
    "kind",
    "plans",
    "in_pieces",
    "inputs",
    "outputs",
    "optional",
    "one",
    "batch",
    "last",
)  # what blocks hold under their own names


def module(model: Model) -> OnnxModule:
    """The model as a torch module in evaluation mode.  Every operator must be known: `unknown` tells."""
    graph = model.graph
    fed = [v for v in graph.inputs if v.name not in graph.weights]
    root = OnnxModule(fed, [v.name for v in graph.outputs], [v.name for v in fed if v.kind == "optional"])
    batches = {v.shape[0] if v.shape else None for v in fed if v.kind == "tensor"}
    root.one, root.batch = batches == {1}, 1 if batches == {1} else None
    root.last = channels_last(graph)
    weights = Held({})
    weights.add(graph)
    _Builder(graph, [v.name for v in fed], weights, model.kinds, root.one).into(root)
    return root.eval()


class _Builder:
    """Builds the modules of one graph: of a whole model, or of a subgraph that may see the values around it."""

    def __init__(
        self, graph: Graph, inputs: Sequence[str], held: Held, kinds: Mapping[str, str], one: bool = False
    ) -> None:
        self.held, self.kinds, self.inputs, self.one = held, kinds, list(inputs), one
        self.nodes = [n for n in graph.nodes if n.outputs[0] not in held.known]
        self.learned = Learned(graph.nodes)
        self.outputs = [v.name for v in graph.outputs]
        self.types = {v.name: v.dtype for v in (*graph.values.values(), *graph.inputs, *graph.outputs)}
        self.constant_outputs = [name for name in self.outputs if name in held.known]
        self.used: list[tuple[str, ...]] = [self._used(n) for n in self.nodes]
        self.born = dict.fromkeys(self.inputs, -1)
        self.dies: dict[str, int] = {}
        for i, node in enumerate(self.nodes):
            self.born.update(dict.fromkeys((o for o in node.outputs if o), i))
            self.dies.update(dict.fromkeys(self.used[i], i))
        self.dies.update(dict.fromkeys(self.outputs, _END))
        self.shapes = self._shape_values()

    def _used(self, node: Given) -> tuple[str, ...]:
        """The values that a node reads, in order: its inputs without weights, then what its subgraphs capture."""
        own = [name for name in node.inputs if name and name not in self.held.known]
        if not node.attributes:
            return tuple(own)
        inner = dict.fromkeys(name for body in node.bodies.values() for name in captured(body))
        return (*own, *(name for name in inner if name not in self.held.known))

    def _shape_values(self) -> set[str]:
        """Values that hang together with shapes alone; computing them is no part of the network's own computation."""
        found: set[str] = set()
        for node, used in zip(self.nodes, self.used, strict=True):
            known = find(node.domain, node.op, node.version)
            shapely = known is not None and known.shapely and used and all(name in found for name in used)
            if (node.op in ("Shape", "Size") and not node.domain) or (shapely and self._small(node)):
                found.update(node.outputs)
        return found

    def _small(self, node: Given) -> bool:
        held = [self.held.known[name] for name in node.inputs if name in self.held.known]
        return all(is_shape(value) for value in held)

    def into(self, root: Block) -> None:
        """Fill a block with the whole graph."""
        for name in self.constant_outputs:
            self.nodes.append(Given("Identity", (name,), (name,), version=14))
            self.used.append(())
            self.born[name] = len(self.nodes) - 1
            self.dies[name] = _END
        paths = filled_in([n.path for n in self.nodes])
        self.paths = [tuple(map(_attribute, path)) for path in paths]
        self.raw = paths
        self.holders = _holders(self.paths)
        self._run(root, 0, len(self.nodes), 0, self.inputs, self.outputs)

    def _run(
        self, block: Block, start: int, stop: int, depth: int, inputs: Sequence[str], outputs: Sequence[str]
    ) -> int:
        """Add the plan for nodes `start` to `stop` to a block, making its children; returns its number."""
        slots = {name: i for i, name in enumerate(inputs)}
        count: dict[str, int] = {}
        steps: list[tuple[str, int, list[str], list[str]]] = []
        for a, b in self._groups(start, stop, depth):
            if b - a == 1 and self._alone(a, depth):
                takes, gives = list(self.used[a]), list(self.nodes[a].outputs)
                steps.append((self._leaf(block, a, depth, count), 0, takes, gives))
            else:
                takes, gives = self._boundary(a, b)
                name, child = self._block(block, a, depth)
                steps.append((name, self._run(child, a, b, depth + 1, takes, gives), takes, gives))
        for *_, gives in steps:
            for name in gives:
                if name:
                    slots.setdefault(name, len(slots))
        block.plans.append(plan(len(inputs), slots, steps, outputs))
        return len(block.plans) - 1

    def _alone(self, i: int, depth: int) -> bool:
        """Is a node a module of its own at this depth, not one operation of a module that holds more?"""
        path = self.paths[i]
        return len(path) <= depth or (len(path) == depth + 1 and path not in self.holders)

    def _groups(self, start: int, stop: int, depth: int) -> Iterator[tuple[int, int]]:
        """Runs of consecutive nodes that stand in the same module at this depth; nodes that stand in none, singly."""
        a = start
        while a < stop:
            b = a + 1
            if len(self.paths[a]) > depth:
                while b < stop and len(self.paths[b]) > depth and self.paths[b][depth] == self.paths[a][depth]:
                    b += 1
            yield a, b
            a = b

    def _boundary(self, a: int, b: int) -> tuple[list[str], list[str]]:
        """What flows into and out of the nodes `a` to `b`."""
        takes = dict.fromkeys(name for used in self.used[a:b] for name in used if not a <= self.born.get(name, -1) < b)
        gives = [o for n in self.nodes[a:b] for o in n.outputs if o and self.dies.get(o, -1) >= b]
        return list(takes), gives

    def _block(self, parent: Block, a: int, depth: int) -> tuple[str, Block]:
        name = self.paths[a][depth]
        found = parent._modules.get(name)
        if isinstance(found, Block):
            return name, found
        child = Block(self.kinds.get(".".join(self.raw[a][: depth + 1]), ""))
        return _add(parent, name, child), child

    def _leaf(self, parent: Block, i: int, depth: int, count: dict[str, int]) -> str:
        """A node's module in its parent; the same one again when a module of the model was called again."""
        node, own = self.nodes[i], len(self.paths[i]) > depth
        name = self.paths[i][depth] if own else _attribute(node.op)
        count[name] = count.get(name, 0) + 1
        if not own and count[name] > 1:
            name = f"{name}_{count[name]}"
        made = self._node(node, i)
        found = parent._modules.get(name)
        if isinstance(found, Node) and _same(found, made):
            return name
        return _add(parent, name, made)

    def _node(self, given: Given, i: int) -> Node:
        operator = find(given.domain, given.op, given.version)
        assert operator is not None, given.title  # noqa: S101 (refused by name before building begins)
        wanted = tuple(bool(o) and o in self.dies for o in given.outputs)
        quiet = bool(given.outputs[0]) and given.outputs[0] in self.shapes
        attributes = {k: v for k, v in given.attributes.items() if type(v) is not Graph}
        kind = Kind(
            *(given.op, given.domain, given.version, attributes, wanted, given.name, given.source),
            quiet=quiet,
            explicit=len(given.inputs),
            one=self.one,
            shapes=() if quiet else self._read(given, operator),
            stated=tuple(map(self._type, given.inputs)),
        )
        parts: list[int | str | None] = []
        position, names = 0, dict[str, tuple[int, str]]()
        for j, name in enumerate(given.inputs):
            if name in self.held.known:
                attribute = buffer_name(given, j, name, list(names))
                parts.append(attribute)
                names[attribute] = (j, name)
            else:
                parts.append(position if name else None)
                position += bool(name)
        parts.extend(range(position, len(self.used[i])))
        made = Node(kind, operator, parts)
        for attribute, (j, name) in names.items():
            self._hold(made, attribute, given, j, name)
        self._bodies(made, given, self.used[i][position:])
        return made

    def _type(self, name: str) -> str:
        stored = self.held.known.get(name)
        found = stored.dtype if isinstance(stored, Weights) else self.types.get(name, "undefined")
        return "" if found == "undefined" else found

    def _read(self, given: Given, operator: Operator) -> tuple[int, ...]:
        """Which inputs are shapes and the like, of those whose numbers the operator looks at."""
        read = [(i, given.inputs[i]) for i in operator.read if i < len(given.inputs) and given.inputs[i]]
        known = self.held.known
        return tuple(i for i, name in read if (is_shape(known[name]) if name in known else name in self.shapes))

    def _hold(self, made: Node, attribute: str, given: Given, j: int, name: str) -> None:
        stored, value = self.held.known[name], self.held.value(name)
        count = self.learned.numbers(given, j, stored) if isinstance(stored, Weights) else 0
        real = isinstance(value, nn.Parameter) or (count and value.is_floating_point() and value.element_size() > 1)
        if real:
            made.register_parameter(attribute, self.held.learned(name, value))
        elif count:
            made.register_buffer(attribute, value)
            made.levels[attribute] = packed(given, j, stored)
        elif not isinstance(value, Tensor) or is_shape(value):
            made.fixed[attribute] = value
        else:
            made.register_buffer(attribute, value)

    def _bodies(self, made: Node, given: Given, outer: Sequence[str]) -> None:
        for attribute, graph in given.bodies.items():
            held = Held(self.held.known)
            held.made = self.held.made
            for v in graph.inputs:
                held.known.pop(v.name, None)
            held.add(graph)
            body = Block()
            inputs = [v.name for v in graph.inputs if v.name not in graph.weights]
            _Builder(graph, [*inputs, *outer], held, {}, self.one).into(body)
            made.add_module(attribute, body)


def _holders(paths: Sequence[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The modules that hold other modules, or two nodes in a row."""
    above = {path[:n] for path in paths for n in range(1, len(path))}
    return above | {a for a, b in pairwise(paths) if a == b}


def _attribute(text: str) -> str:
    """A name as a module's attribute: no dots, nothing unprintable."""
    clean = re.sub(r"[^\w-]", "_", text)[:80] or "_"
    return f"{clean}_" if hasattr(nn.Module, clean) or clean in _OWN else clean


def _add(parent: nn.Module, name: str, child: nn.Module) -> str:
    free, n = name, 2
    while free in parent._modules or hasattr(parent, free):
        free, n = f"{name}_{n}", n + 1
    parent.add_module(free, child)
    return free


def _same(a: Node, b: Node) -> bool:
    """Do two nodes compute the same with the same weights?"""
    if (a.op, a.kind.domain, a.version, a.parts) != (b.op, b.kind.domain, b.version, b.parts) or a._modules:
        return False
    if a.kind.attributes != b.kind.attributes or a.kind.wanted != b.kind.wanted or a.kind.quiet != b.kind.quiet:
        return False
    held = [(m._parameters | m._buffers | m.fixed) for m in (a, b)]
    return all(held[0][key] is held[1][key] for key in held[0])
