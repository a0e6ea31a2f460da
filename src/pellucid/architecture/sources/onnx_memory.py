"""Which ONNX operations take memory for what they put out, and which hand on another view of what they were given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeAlias

from pellucid.architecture.sources.onnx_flops import Sizes
from pellucid.doors.onnx.graph import Node

Few: TypeAlias = Callable[[str], Sequence[float] | None]  # the numbers of a short stored tensor; None: it is not one

_SHAPED = frozenset(["Identity", "Dropout", "Squeeze", "Unsqueeze", "Reshape", "Flatten"])
_KEEPING = """Abs Add Cast Ceil Clip Cos Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Mul Neg Pow
    Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Swish Tanh Where"""
_EACH = frozenset(_KEEPING.split())  # new numbers in the order of those that came in
_HEADS_INSIDE = (0, 2, 1, 3)  # how attention lays down what it puts out


class Memory:
    """Follows, node by node, how the numbers of values lie, as torch's strides say it.

    `strides` has those values whose numbers do not lie row after row: turned, cut out or repeated ones.  Some of these
    cannot be brought into another shape without a copy.
    """

    def __init__(self) -> None:
        self.strides: dict[str, Sizes] = {}

    def takes(self, node: Node, taken: Sequence[Sizes], made: Sequence[Sizes], few: Few) -> bool:
        """Does a node take new memory?

        >>> memory, few = Memory(), lambda name: None
        >>> turn, shape = Node("Transpose", ("x",), ("t",)), Node("Reshape", ("t", "s"), ("y",))
        >>> memory.takes(turn, [(2, 3)], [(3, 2)], few), memory.takes(shape, [(3, 2), None], [(6,)], few)
        (False, True)
        """
        if node.domain or not node.inputs or not made:
            return True
        size, after = taken[0], made[0]
        if node.op in _EACH or node.op == "Attention":
            self._lie(node, after, taken)
            return True
        if node.op not in _SHAPED and node.op not in ("Transpose", "Split", "Slice", "Expand", "Gather"):
            return True
        if size is None or after is None:
            return node.op == "Gather"
        strides = self.strides.get(node.inputs[0], rows(size))
        if strides is None:
            return self._unknown(node, made, size != after and node.op in _SHAPED)
        view = viewed(size, strides, after) if node.op in _SHAPED else _cut(node, size, strides, after, few)
        if view is not None:
            for name, sizes in zip(node.outputs, made, strict=True):
                if name and sizes is not None and view != rows(sizes):
                    self.strides[name] = view
        return view is None

    def _unknown(self, node: Node, made: Sequence[Sizes], copies: bool) -> bool:
        if not copies:
            self.strides.update(dict.fromkeys(node.outputs))
        return copies

    def _lie(self, node: Node, after: Sizes, taken: Sequence[Sizes]) -> None:
        """New numbers, closely packed in the order of axes in which those of the input lie."""
        if after is None:
            return
        order: Sequence[int] = range(len(after))
        like = next(
            (n for n, size in zip(node.inputs, taken, strict=True) if n in self.strides and size == after), None
        )
        if node.op == "Attention":
            order = _HEADS_INSIDE if len(after) == 4 else order
        elif like is not None:
            strides = self.strides[like]
            if strides is None:
                self.strides.update(dict.fromkeys(node.outputs))
                return
            order = sorted(order, key=lambda axis: -strides[axis])
        packed = rows(tuple(after[axis] for axis in order))
        found = tuple(packed[list(order).index(axis)] for axis in range(len(after)))
        if found != rows(after):
            self.strides.update(dict.fromkeys(node.outputs, found))


def rows(size: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of numbers that lie row after row."""
    return tuple(prod(size[axis + 1 :]) for axis in range(len(size)))


def viewed(size: tuple[int, ...], strides: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides of the same numbers in another shape; None where that takes a copy.

    >>> viewed((4, 2, 3), (1, 12, 4), (4, 6)), viewed((4, 3, 2), (1, 4, 12), (4, 6))
    ((1, 4), None)
    """
    if prod(size) != prod(after) or not prod(size):
        return rows(after)
    found: list[int] = []
    left = list(after)
    axis = len(size) - 1
    while axis >= 0:
        count, step = size[axis], strides[axis]
        while axis > 0 and (size[axis - 1] == 1 or strides[axis - 1] == step * count):
            axis -= 1
            count *= size[axis]
        axis -= 1
        while left and (count > 1 or left[-1] == 1):
            if count % left[-1]:
                return None
            count //= left[-1]
            found.append(step)
            step *= left.pop()
    return tuple(reversed(found)) if not left else None


def _cut(node: Node, size: tuple[int, ...], strides: tuple[int, ...], after: tuple[int, ...], few: Few) -> Sizes:
    """The strides of a turned, cut or repeated one; None where it is new numbers."""
    attributes = node.attributes
    if node.op == "Transpose":
        return tuple(strides[axis] for axis in attributes.get("perm") or range(len(size) - 1, -1, -1))
    if node.op == "Expand":
        before = len(after) - len(size)
        kept = (stride if n == m else 0 for stride, n, m in zip(strides, size, after[before:], strict=True))
        return (*[0] * before, *kept)
    if node.op == "Gather":
        index = few(node.inputs[1])
        axis = attributes.get("axis", 0) % len(size)
        single = index is not None and len(index) == 1 and len(after) < len(size)
        return (*strides[:axis], *strides[axis + 1 :]) if single else None
    if node.op == "Slice" and len(node.inputs) > 4 and node.inputs[4]:
        steps, axes = few(node.inputs[4]) or (-1,), few(node.inputs[3]) if node.inputs[3] else None
        if min(steps) < 1 or axes is None:
            return None
        wide = {int(axis) % len(size): int(step) for axis, step in zip(axes, steps, strict=True)}
        return tuple(stride * wide.get(axis, 1) for axis, stride in enumerate(strides))
    return strides
