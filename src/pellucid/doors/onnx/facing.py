"""Pictures and maps whose channels come last, as TensorFlow's and Keras's do: which values of a file they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from pellucid.doors.onnx.graph import Graph, Node

_FEW = (1, 3, 4)  # channels that a picture has
_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
# what changes values where they stand
_KEEPS = frozenset(
    """Add Sub Mul Div Pow Sqrt Abs Neg Identity Cast Clip QuantizeLinear DequantizeLinear Relu LeakyRelu PRelu Elu Selu
    HardSigmoid HardSwish Sigmoid Softplus Tanh Swish Gelu Softmax LogSoftmax Max Min""".split()  # noqa: SIM905
)
# what has its channels as the second axis, by the standard
_FIRST = frozenset(
    """Conv ConvInteger QLinearConv ConvTranspose DeformConv MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool
    BatchNormalization InstanceNormalization GroupNormalization DepthToSpace SpaceToDepth LRN""".split()  # noqa: SIM905
)


def channels_last(graph: Graph) -> frozenset[str]:
    """The inputs and outputs that are pictures or maps of `[batch, height, width, channels]`.

    An input is one where it has few channels at its end and a turn to the standard's order comes before anything that
    wants that order.  Its shape alone does not tell.  Outputs are told by the last turn; else they go with the inputs.
    """
    readers = defaultdict[str, list[Node]](list)
    makers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name].append(node)
        makers.update((name, [node]) for name in node.outputs)
    given = [v for v in graph.inputs if v.name not in graph.weights and v.shape is not None and len(v.shape) == 4]
    few = [v for v in given if v.shape is not None and v.shape[3] in _FEW]
    last = [v.name for v in few if _told(v.name, readers.__getitem__, lambda n: n.outputs, _TO_FIRST)]
    if not last:
        return frozenset()
    maps = [v.name for v in graph.outputs if v.shape is None or len(v.shape) == 4]
    told = {name: _told(name, lambda n: makers.get(n, []), lambda n: n.inputs[:1], _TO_LAST) for name in maps}
    return frozenset([*last, *(name for name in maps if told[name] is not False)])


def _told(
    name: str, nodes: Callable[[str], Sequence[Node]], onward: Callable[[Node], Sequence[str]], turn: tuple[int, ...]
) -> bool | None:
    """Is a value turned before anything wants its channels second?  None where the nodes do not tell."""
    waiting, seen = [name], {name}
    while waiting:
        for node in nodes(waiting.pop()):
            if node.op == "Transpose" and not node.domain:
                return tuple(node.attributes.get("perm", ())) == turn
            if node.op in _FIRST and not node.domain:
                return False
            if node.op in _KEEPS:
                more = [n for n in onward(node) if n not in seen]
                seen.update(more)
                waiting += more
    return None
