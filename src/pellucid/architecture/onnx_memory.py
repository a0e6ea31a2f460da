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


class Memory:
    """Follows, node by node, in which order the numbers of values lie.

    `bent` are the values whose numbers do not lie row after row: turned, cut out or repeated ones.  To bring such a one
    into another shape takes a copy.
    """

    def __init__(self) -> None:
        self.bent: set[str] = set()

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
            if any(n in self.bent and size == made[0] for n, size in zip(node.inputs, taken, strict=False)):
                self.bent.update(node.outputs)
            return True
        axis = self._turned(node, taken[0], few)
        if axis is None:
            return True
        first = axis == 0 or (taken[0] is not None and all(size == 1 for size in taken[0][:axis]))
        if not first or node.inputs[0] in self.bent:
            self.bent.update(node.outputs)
        return False

    def _reshaped(self, node: Node, before: Sizes, after: Sizes) -> bool:
        if node.inputs[0] not in self.bent:
            return False
        if before is not None and after is not None and _without_ones(before) != _without_ones(after):
            return True  # and they lie in order now
        self.bent.update(node.outputs)
        return False

    def _turned(self, node: Node, size: Sizes, few: Callable[[str], Sequence[float] | None]) -> int | None:
        """From which axis on a view is bent; None where it is no view."""
        attributes = node.attributes
        if node.op == "Transpose":
            order = attributes.get("perm") or tuple(range(len(size or ()) - 1, -1, -1))
            moved = [a for a in order if size is None or a >= len(size) or size[a] != 1]
            return 0 if moved == sorted(moved) else 1 << 30
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
