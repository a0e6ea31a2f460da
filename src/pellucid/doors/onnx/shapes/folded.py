"""What a file computes about shapes alone, computed: shapes, sizes and axes follow from what is known already.

Exporters write `x.view(x.shape[0], -1)` as a dozen operations on a few whole numbers.  Done here in plain Python, on
up to 32 numbers, the standard's shape inference can go on behind them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, prod
from typing import Any, NamedTuple

from pellucid.doors.onnx.graph import DTYPES, FEW, Dims, Graph, Node, Weights

_MOST = 1 << 63


class Row(NamedTuple):
    """A few numbers, one after another, and their shape; it is left out where they stand in a row."""

    numbers: tuple[Any, ...]
    stated: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """How many there are along each axis; () of a single number."""
        return (len(self.numbers),) if self.stated is None else self.stated


def folded(graph: Graph, sizes: Mapping[str, Dims]) -> dict[str, Row]:
    """The values that follow from stored numbers and from these shapes, by name.

    >>> from pellucid.doors.onnx.graph import Value
    >>> nodes = (Node("Shape", ("x",), ("s",)), Node("ReduceProd", ("s",), ("n",), {"keepdims": 0}))
    >>> folded(Graph("", (), (), nodes, {}, {}), {"x": (2, 3)})
    {'s': Row(numbers=(2, 3), stated=None), 'n': Row(numbers=(6,), stated=())}
    """
    found: dict[str, Row] = {}
    stored = {name: row for name, w in graph.weights.items() if (row := _stored(w)) is not None}
    for node in graph.nodes:
        if node.domain or len(node.outputs) != 1:
            continue
        try:
            row = _computed(node, {**_taken(node, stored), **_taken(node, found)}, sizes)
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError):  # it is not known, or makes no sense
            continue
        if row is not None and len(row.numbers) <= FEW and all(abs(n) < _MOST for n in row.numbers):
            found[node.outputs[0]] = row
    return found


def _stored(w: Weights) -> Row | None:
    numbers = w.few
    return Row(tuple(numbers), w.shape) if numbers or w.shape == (0,) else None


def _taken(node: Node, known: Mapping[str, Row]) -> dict[str, Row]:
    return {name: known[name] for name in node.inputs if name in known}


def _computed(node: Node, known: Mapping[str, Row], sizes: Mapping[str, Dims]) -> Row | None:
    if node.op in ("Shape", "Size"):
        size = sizes[node.inputs[0]]
        if not all(isinstance(n, int) for n in size):
            return None
        whole: tuple[Any, ...] = tuple(size)
        if node.op == "Size":
            return Row((prod(whole),), ())
        return Row(whole[node.attributes.get("start", 0) : node.attributes.get("end", len(whole))])
    if node.op == "Constant":
        return _constant(node)
    rows = [known[name] for name in node.inputs if name]
    if node.op in _EACH:
        return _each(_EACH[node.op], rows)
    work = _WORK.get(node.op)
    return None if work is None else work(node, rows)


def _constant(node: Node) -> Row | None:
    ((key, value),) = node.attributes.items()
    if isinstance(value, Weights):
        return _stored(value)
    return Row((value,), ()) if key in ("value_int", "value_float") else Row(tuple(value))


def _each(function: Callable[..., Any], rows: Sequence[Row]) -> Row:
    """Number by number; one number goes with each of the others."""
    largest = max((row.shape for row in rows), key=lambda shape: (prod(shape), len(shape)))
    spread = [row.numbers * prod(largest) if len(row.numbers) == 1 else row.numbers for row in rows]
    if any(len(row.numbers) > 1 and row.shape != largest for row in rows):
        raise ValueError  # repeated along an axis
    return Row(tuple(function(*v) for v in zip(*spread, strict=True)), largest)


def _gather(node: Node, rows: Sequence[Row]) -> Row | None:
    data, index = rows
    return Row(tuple(data.numbers[int(i)] for i in index.numbers), index.shape) if len(data.shape) == 1 else None


def _slice(node: Node, rows: Sequence[Row]) -> Row | None:
    """Along the first axis."""
    given = [row.numbers for row in rows[1:]] or [node.attributes.get(key, (0,)) for key in ("starts", "ends", "axes")]
    starts, ends = given[:2]
    axes, steps = given[2] if len(given) > 2 else (0,), given[3] if len(given) > 3 else (1,)
    data, shape = rows[0].numbers, rows[0].shape
    if starts[1:] or axes[0] not in (0, -len(shape)):
        return None
    each = prod(shape[1:])
    cut = [data[i : i + each] for i in range(0, len(data), each)][int(starts[0]) : int(ends[0]) : int(steps[0])]
    return Row(tuple(n for part in cut for n in part), (len(cut), *shape[1:]))


def _cast(node: Node, rows: Sequence[Row]) -> Row:
    name = DTYPES[node.attributes["to"]]
    kind: Callable[[Any], Any] = bool if name == "bool" else int if "int" in name else float
    return Row(tuple(kind(n) for n in rows[0].numbers), rows[0].shape)


def _filled(node: Node, rows: Sequence[Row]) -> Row | None:
    value = node.attributes.get("value")
    number = value.few[0] if isinstance(value, Weights) else 0.0
    shape = rows[0].numbers
    count = prod(int(n) for n in shape)
    return Row((number,) * count, tuple(map(int, shape))) if count <= FEW else None


def _range(node: Node, rows: Sequence[Row]) -> Row | None:
    start, end, step = (row.numbers[0] for row in rows)
    count = max(0, ceil((end - start) / step))
    return Row(tuple(start + i * step for i in range(count))) if count <= FEW else None


def _reshaped(node: Node, rows: Sequence[Row]) -> Row | None:
    numbers, shape = rows[0].numbers, [int(n) for n in (rows[1].numbers if len(rows) > 1 else node.attributes["shape"])]
    if -1 in shape:
        shape[shape.index(-1)] = len(numbers) // -prod(shape)
    return Row(numbers, tuple(shape)) if prod(shape) == len(numbers) else None


def _turned(node: Node, rows: Sequence[Row]) -> Row | None:
    (high, wide), numbers = rows[0].shape, rows[0].numbers
    turned = tuple(numbers[i * wide + j] for j in range(wide) for i in range(high))
    return Row(turned, (wide, high)) if tuple(node.attributes.get("perm", (1, 0))) == (1, 0) else None


def _reduced(function: Callable[[Sequence[Any]], Any]) -> Callable[[Node, Sequence[Row]], Row]:
    return lambda node, rows: Row((function(rows[0].numbers),), (1,) if node.attributes.get("keepdims", 1) else ())


def _divided(a: Any, b: Any) -> Any:
    """Whole numbers are divided towards 0."""
    whole = type(a) is int and type(b) is int
    return (abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)) if whole else a / b


_EACH: Mapping[str, Callable[..., Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": _divided, "Mod": operator.mod,
    "Min": min, "Max": max, "Equal": operator.eq, "Less": operator.lt, "Greater": operator.gt, "And": operator.and_,
    "Or": operator.or_, "Not": operator.not_, "Neg": operator.neg, "Abs": abs, "Ceil": ceil, "Floor": floor,
    "Where": lambda condition, a, b: a if condition else b, "Identity": lambda a: a,
}  # fmt: skip


def _joined(node: Node, rows: Sequence[Row]) -> Row:
    return Row(tuple(n for row in rows for n in row.numbers))


_WORK: Mapping[str, Callable[[Node, Sequence[Row]], Row | None]] = {
    "Gather": _gather, "Slice": _slice, "Cast": _cast, "ConstantOfShape": _filled, "Range": _range,
    "Reshape": _reshaped, "Transpose": _turned, "Concat": _joined,
    "Unsqueeze": lambda node, rows: Row(rows[0].numbers) if rows[0].shape == () else None,
    "Squeeze": lambda node, rows: Row(rows[0].numbers, ()) if rows[0].shape == (1,) else None,
    "ReduceProd": _reduced(prod), "ReduceMax": _reduced(max), "ReduceMin": _reduced(min), "ReduceSum": _reduced(sum),
}  # fmt: skip
