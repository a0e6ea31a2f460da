"""Which ONNX operations take memory for what they put out, and which hand on another view of what they were given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pellucid.architecture.onnx_flops import Sizes
from pellucid.doors.onnx.graph import Node

_VIEWS = frozenset(["Identity", "Dropout", "Squeeze", "Unsqueeze", "Reshape", "Flatten"])
_KEEPING = frozenset(
    """Abs Add Cast Ceil Clip Cos Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Mul Neg Pow
    Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Swish Tanh Where""".split()  # noqa: SIM905
)  # new numbers in the order of those that came in


_HEADS_INSIDE = (0, 2, 1, 3)  # how attention lays down what it puts out


class Memory:
    """Follows, node by node, in which order the numbers of values lie.

    `bent` are the values whose numbers do not lie row after row: turned ones, with the order of axes in which they do,
    and cut out or repeated ones, without one.  To bring a bent one into another shape takes a copy.
    """

    def __init__(self) -> None:
        self.bent: dict[str, tuple[int, ...] | None] = {}

    def takes(
        self, node: Node, taken: Sequence[Sizes], made: Sequence[Sizes], few: Callable[[str], Sequence[float] | None]
    ) -> bool:
        """Does a node take new memory?  `few` gives the numbers of a short stored tensor, None where it is not one.

        >>> memory, few = Memory(), lambda name: None
        >>> turn, shape = Node("Transpose", ("x",), ("t",)), Node("Reshape", ("t", "s"), ("y",))
        >>> memory.takes(turn, [(2, 3)], [(3, 2)], few), memory.takes(shape, [(3, 2), None], [(6,)], few)
        (False, True)
        """
        if node.domain or not node.inputs:
            return True
        if node.op in _VIEWS:
            return self._reshaped(node, taken[0], made[0] if made else None)
        if node.op in _KEEPING:
            like = next(
                (n for n, size in zip(node.inputs, taken, strict=False) if n in self.bent and size == made[0]), ""
            )
            if like:
                self._bend(node, self.bent[like])
            return True
        if node.op == "Attention" and made[0] is not None and len(made[0]) == 4:
            self._bend(node, _HEADS_INSIDE)
            return True
        if node.op == "Transpose":
            self._turn(node, taken[0])
            return False
        axis = self._cut(node, taken[0], few)
        if axis is None:
            return True
        first = axis == 0 or (taken[0] is not None and all(size == 1 for size in taken[0][:axis]))
        if not first or node.inputs[0] in self.bent:
            self._bend(node, None)
        return False

    def _bend(self, node: Node, order: tuple[int, ...] | None) -> None:
        self.bent.update(dict.fromkeys(node.outputs, order))

    def _turn(self, node: Node, size: Sizes) -> None:
        turn = node.attributes.get("perm") or tuple(range(len(size or ()) - 1, -1, -1))
        before = self.bent.get(node.inputs[0], tuple(range(len(turn))))
        if before is None or len(before) != len(turn):
            return self._bend(node, None)
        order = tuple(turn.index(axis) for axis in before)
        moved = [axis for axis in order if size is None or size[turn[axis]] != 1]
        return self._bend(node, order) if moved != sorted(moved) else None

    def _reshaped(self, node: Node, before: Sizes, after: Sizes) -> bool:
        if node.inputs[0] not in self.bent:
            return False
        if before is not None and after is not None and _without_ones(before) != _without_ones(after):
            return True  # and they lie in order now
        self._bend(node, self.bent[node.inputs[0]] if before == after else None)
        return False

    def _cut(self, node: Node, size: Sizes, few: Callable[[str], Sequence[float] | None]) -> int | None:
        """From which axis on a view is bent; None where it is no view."""
        attributes = node.attributes
        if node.op == "Split":
            return _axis(attributes.get("axis", 0), size)
        if node.op == "Expand":
            return 1 << 30
        if node.op == "Gather" and len(node.inputs) > 1:
            index = few(node.inputs[1])
            return _axis(attributes.get("axis", 0), size) if index is not None and len(index) == 1 else None
        if node.op == "Slice":
            steps = (few(node.inputs[4]) or (-1,)) if len(node.inputs) > 4 and node.inputs[4] else (1,)
            axes = few(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] else attributes.get("axes")
            cut = [_axis(int(a), size) for a in axes or range(len(size or ()))]
            return max(cut, default=0) if min(steps) > 0 else None
        return None


def _axis(axis: int, size: Sizes) -> int:
    return axis + len(size) if axis < 0 and size is not None else axis if axis >= 0 else 1 << 30


def _without_ones(size: tuple[int, ...]) -> list[int]:
    return [n for n in size if n != 1]
