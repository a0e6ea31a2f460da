"""Activations, normalizations and attention as exporters spell them out, each found from its last node backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import pi, prod, sqrt
from typing import Any

from pellucid.doors.onnx.graph import DTYPES, Node
from pellucid.doors.onnx.joined.reading import Product, Reading, near

ONE = "pellucid.one"  # the scale of a normalization that has none


@dataclass(frozen=True, slots=True)
class Found:
    """A pattern that was met: what takes its place, and the nodes in between that go with its last one."""

    op: str
    inputs: tuple[str, ...]
    gone: tuple[Node, ...]
    attributes: dict[str, Any]


def _activation(graph: Reading, last: Node) -> Found | None:
    """A product of x and something made of x."""
    whole = graph.product(last.outputs[0])
    if not 1 <= len(whole.factors) <= 2 or not whole.nodes:
        return None
    gone = tuple(node for node in whole.nodes if node is not last)
    for i, factor in enumerate(whole.factors):
        x = whole.factors[1 - i] if len(whole.factors) == 2 else ""
        for gate in _GATES:
            found = gate(graph, factor, x, whole.number)
            if found is not None:
                return replace(found, gone=(*gone, *found.gone))
    return None


def _named(graph: Reading, factor: str, x: str, number: float) -> Found | None:
    """X times a function of x that has a name: SiLU (Elfwing et al., 2018), hard swish, Mish."""
    node = graph.maker(factor, "Sigmoid", "HardSigmoid", "Tanh")
    if node is None or not x or number != 1:
        return None
    if node.op == "Tanh":
        inner = graph.maker(node.inputs[0], "Softplus")
        fits = inner is not None and inner.inputs[0] == x
        return Found("Mish", (x,), (node, inner), {}) if fits and inner is not None else None
    usual = near(node.attributes.get("alpha", 0.2), 1 / 6) and node.attributes.get("beta", 0.5) == 0.5
    if node.inputs[0] != x or (node.op == "HardSigmoid" and not usual):
        return None
    return Found("Swish" if node.op == "Sigmoid" else "HardSwish", (x,), (node,), {})


def _hard(graph: Reading, factor: str, x: str, number: float) -> Found | None:
    """The hard sigmoid, x + 3 held within 0 and 6 and divided by 6, and x times it (Howard et al., 2019)."""
    clip = graph.maker(factor, "Clip")
    if clip is None or not near(number, 1 / 6):
        return None
    ends = [clip.attributes.get(key) for key in ("min", "max")]
    if len(clip.inputs) == 3:
        ends = [graph.number(name) if name else None for name in clip.inputs[1:]]
    moved = graph.plus(clip.inputs[0], 3.0)
    if ends != [0.0, 6.0] or moved is None or x not in ("", moved[1]):
        return None
    attributes = {} if x else {"alpha": 1 / 6, "beta": 0.5}
    return Found("HardSwish" if x else "HardSigmoid", (moved[1],), (clip, moved[0]), attributes)


def _gelu(graph: Reading, factor: str, x: str, number: float) -> Found | None:
    """X times the normal distribution's function (Hendrycks and Gimpel, 2016), by erf or by tanh."""
    moved = graph.plus(factor, 1.0)
    bend = None if moved is None else graph.maker(moved[1], "Erf", "Tanh")
    if bend is None or moved is None or not x or not near(number, 0.5):
        return None
    inner = graph.product(bend.inputs[0])
    if bend.op == "Erf":
        more: tuple[Node, ...] | None = () if inner.factors == (x,) and near(inner.number, sqrt(0.5)) else None
    else:
        more = _cubic(graph, inner, x) if near(inner.number, sqrt(2 / pi)) else None
    if more is None:
        return None
    gone = (moved[0], bend, *inner.nodes, *more)
    return Found("Gelu", (x,), gone, {"approximate": "none" if bend.op == "Erf" else "tanh"})


def _cubic(graph: Reading, inner: Product, x: str) -> tuple[Node, ...] | None:
    """The nodes of x + 0.044715 x^3, or of x (1 + 0.044715 x^2), if that is what the factors are."""
    rest = list(inner.factors)
    times = x in rest
    if times:
        rest.remove(x)
    total = graph.maker(rest[0], "Add") if len(rest) == 1 else None
    if total is None:
        return None
    for plain, curved in (total.inputs, total.inputs[::-1]):
        if (graph.number(plain) == 1) if times else plain == x:
            power = graph.product(curved)
            powers, nodes = 0, list(power.nodes)
            for name in power.factors:
                raised = graph.maker(name, "Pow")
                if raised is not None and raised.inputs[0] == x:
                    powers += int(graph.number(raised.inputs[1]) or 0)
                    nodes.append(raised)
                else:
                    powers += 1 if name == x else 100
            if powers == (2 if times else 3) and near(power.number, 0.044715):
                return (total, *nodes)
    return None


_GATES = (_named, _hard, _gelu)


def _normalization(graph: Reading, last: Node) -> Found | None:
    """X divided by the root of its mean square (Zhang and Sennrich, 2019); of x less its mean: by layer (Ba et al.)."""
    for x, root in _divided(graph, last):
        steps = _root_mean_square(graph, root[-1], x)
        if steps is None:
            continue
        axis, epsilon, nodes = steps
        gone, options = (*root, *nodes), {"axis": axis, "epsilon": epsilon}
        less = graph.maker(x, "Sub")
        mean = graph.maker(less.inputs[1], "ReduceMean") if less is not None else None
        if less is not None and mean is not None and graph.mean(mean) == (less.inputs[0], axis):
            centered = {node.outputs[0]: node for node in (less, *_twins(graph, nodes, less))}
            return Found("LayerNormalization", (less.inputs[0], ONE), (*gone, *centered.values(), mean), options)
        return Found("RMSNormalization", (x, ONE), gone, options)
    return None


def _divided(graph: Reading, last: Node) -> list[tuple[str, tuple[Node, ...]]]:
    """X and the nodes from the division to the root, for each way to read a node as x divided by a root."""
    if last.op == "Div":
        root = graph.maker(last.inputs[1], "Sqrt")
        return [(last.inputs[0], (root,))] if root is not None else []
    found: list[tuple[str, tuple[Node, ...]]] = []
    for x, name in (last.inputs, last.inputs[::-1]):
        over = graph.maker(name, "Reciprocal", "Div", "Pow")
        if over is None:
            continue
        if over.op == "Pow":
            if graph.number(over.inputs[1]) == -0.5:
                found.append((x, (over,)))
        elif over.op == "Reciprocal" or graph.number(over.inputs[0]) == 1:
            root = graph.maker(over.inputs[-1], "Sqrt")
            if root is not None:
                found.append((x, (over, root)))
    return found


def _root_mean_square(graph: Reading, root: Node, x: str) -> tuple[int, float, tuple[Node, ...]] | None:
    """Axis, epsilon and nodes of the mean square of x under a root."""
    total = graph.maker(root.inputs[0], "Add")
    if total is None:
        return None
    for constant, name in (total.inputs, total.inputs[::-1]):
        epsilon, mean = graph.number(constant), graph.maker(name, "ReduceMean")
        if epsilon is None or mean is None:
            continue
        square, axis = graph.maker(mean.inputs[0], "Pow", "Mul"), graph.mean(mean)[1]
        if square is None or axis is None:
            continue
        a, b = square.inputs
        squared = _same(graph, a, x) and (graph.number(b) == 2 if square.op == "Pow" else _same(graph, b, x))
        if squared:
            return axis, epsilon, (total, mean, square)
    return None


def _same(graph: Reading, a: str, b: str) -> bool:
    """Are two values one, or made by the same subtraction?"""
    one, two = graph.maker(a, "Sub"), graph.maker(b, "Sub")
    return a == b or (one is not None and two is not None and one.inputs == two.inputs)


def _twins(graph: Reading, nodes: Iterable[Node], less: Node) -> list[Node]:
    """The same subtraction, written down once more for the square."""
    made = [graph.maker(name, "Sub") for node in nodes for name in node.inputs]
    return [node for node in made if node is not None and node.inputs == less.inputs]


def _scaled(graph: Reading, last: Node) -> Found | None:
    """A normalization that was joined before, with the factor or the bias behind it."""
    for name, more in (last.inputs, last.inputs[::-1]):
        norm, w = graph.maker(name, "LayerNormalization", "RMSNormalization"), graph.stored(more)
        if norm is None or w is None or len(w.shape) != -norm.attributes["axis"] or prod(w.shape) < 2:
            continue
        x, scale, *bias = norm.inputs
        if last.op == "Mul" and scale == ONE and not bias:
            return Found(norm.op, (x, more), (norm,), dict(norm.attributes))
        if last.op == "Add" and norm.op == "LayerNormalization" and not bias and norm.outputs[0] in graph.joined:
            return Found(norm.op, (x, scale, more), (norm,), dict(norm.attributes))
    return None


def _attention(graph: Reading, last: Node) -> Found | None:
    """Softmax of scaled scores, with a mask, times values (Vaswani et al., 2017), in four axes."""
    name, behind = _past_guards(graph, last.inputs[0])
    shares = graph.maker(name, "Softmax")
    if shares is None or shares.attributes.get("axis", -1 if shares.version >= 13 else 1) not in (-1, 3):
        return None
    added = graph.maker(shares.inputs[0], "Add")
    ways = [(shares.inputs[0], "")] if added is None else [tuple(added.inputs), tuple(added.inputs[::-1])]
    for name, mask in ways:
        scaled = graph.product(name)
        scores = graph.maker(scaled.factors[0], "MatMul") if len(scaled.factors) == 1 else None
        if scores is None or not _four_axes(graph, (*scores.inputs, last.inputs[1])) or scaled.number <= 0:
            continue
        inputs = (*scores.inputs, last.inputs[1], *([mask] if mask else []))
        gone = (*behind, shares, *([added] if added else []), *scaled.nodes, scores)
        return Found("Attention", inputs, gone, {"scale": scaled.number})
    return None


def _past_guards(graph: Reading, name: str) -> tuple[str, tuple[Node, ...]]:
    """What stands behind a softmax and changes nothing: casts to its own type; 0 where nothing may be looked at."""
    behind: list[Node] = []
    while len(behind) < 4:
        cast, chosen = graph.maker(name, "Cast"), graph.maker(name, "Where")
        blind = graph.maker(chosen.inputs[0], "IsNaN") if chosen is not None else None
        if cast is not None and DTYPES.get(cast.attributes.get("to", 0)) == graph.dtype(cast.inputs[0]):
            behind.append(cast)
        elif chosen is not None and blind is not None and chosen.inputs[2] == blind.inputs[0]:
            if graph.number(chosen.inputs[1]) != 0:
                break
            behind += [chosen, blind]
        else:
            break
        name = behind[-1].inputs[0]
    return name, tuple(behind)


def _four_axes(graph: Reading, names: Iterable[str]) -> bool:
    """Are the keys known to have four axes, by their type or by how they were turned, and nothing to have others?"""
    ranks = [graph.rank(name) for name in names]
    return ranks[1] == 4 and all(rank in (4, None) for rank in ranks)


PATTERNS: Mapping[str, tuple[Callable[[Reading, Node], Found | None], ...]] = {
    "Mul": (_activation, _normalization, _scaled),
    "Div": (_activation, _normalization),
    "Add": (_scaled,),
    "MatMul": (_attention,),
}
