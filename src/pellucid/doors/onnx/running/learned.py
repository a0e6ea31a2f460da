"""Which stored tensors are parameters: numbers that were learned, by the operators that read them and where.

Whether a file is run or only read, this says what counts, so that it has as many parameters either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from pellucid.doors.onnx.graph import BITS, Node, Weights

_Places = Mapping[str, tuple[int, ...]]

# Where layers take their weights.  A constant that stands in a node of its own counts only here, and as their bias.
_LAYERS: _Places = {
    **dict.fromkeys(("Conv", "ConvTranspose", "FusedConv", "NhwcConv", "BatchNormalization", "InstanceNormalization",
                     "LayerNormalization", "GroupNormalization", "GroupNorm", "Attention"), (1, 2)),
    **dict.fromkeys(("Gemm", "FusedGemm", "Einsum"), (0, 1, 2)), **dict.fromkeys(("MatMul", "FusedMatMul"), (0, 1)),
    "DeformConv": (1, 3), "LSTM": (1, 2, 3, 7), "GRU": (1, 2, 3), "RNN": (1, 2, 3), "RMSNormalization": (1,),
    "SimplifiedLayerNormalization": (1,), "PRelu": (1,), "Gather": (0,),
}  # fmt: skip
# Where quantized layers do; everything else that they read is a scale, a zero point or the like.
_QUANTIZED: _Places = {
    "DequantizeLinear": (0,), "QuantizeLinear": (), "ConvInteger": (1,), "MatMulInteger": (0, 1),
    "QLinearConv": (3, 8), "QLinearMatMul": (0, 3), "QLinearAdd": (0, 3), "QLinearMul": (0, 3), "QGemm": (0, 3, 6),
    "MatMulIntegerToFloat": (0, 1, 6), "DynamicQuantizeMatMul": (1, 4), "QAttention": (1, 2), "MatMulNBits": (1, 5),
    "GatherBlockQuantized": (0,), "DynamicQuantizeLSTM": (1, 2, 3, 7), "QEmbedLayerNormalization": (2, 3, 4, 5, 6),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearLeakyRelu",
                     "QLinearSoftmax", "QLinearReduceMean", "QLinearConcat", "QLinearWhere"), ()),
}  # fmt: skip
_BITS: Mapping[str, int] = {"MatMulNBits": 1, "GatherBlockQuantized": 0}  # where bytes hold several numbers each
_SETTINGS: _Places = {  # statistics, limits, scales of pictures
    "BatchNormalization": (3, 4), "Resize": (1, 2), "Upsample": (1,), "Clip": (1, 2), "Pad": (2,), "Range": (0, 1, 2),
    "Dropout": (1, 2), "OneHot": (2,), "Pow": (1,),
}  # fmt: skip
_STATES: _Places = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}  # to begin with: learned, or zeros
_MASKED = ("Where", "Add", "Mul", "Sub", "Max", "Min", "Clip", "Expand", "Slice", "Unsqueeze", "Cast", "Attention")
_HANDED_ON = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Identity", "Expand", "Slice", "Flatten")
_NEVER = ("string", "bool", "int64", "uint64", "uint32", "int16", "uint16")  # texts, truths, indices
_FAR = 8  # steps that a stored tensor is followed until something computes with it


class Learned:
    """The parameters among the stored tensors that the nodes of one graph read."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = nodes

    def numbers(self, node: Node, position: int, w: Weights) -> int:
        """How many parameters a stored tensor is to the node that reads it there; 0 when it is none.

        Learned are floating numbers with an axis, and whole ones where quantized layers take their weights and
        biases; neither scales, zero points, statistics, limits and masks, nor states of zeros to begin with, nor
        constants that no layer takes as a weight.

        >>> weights = Weights("w", "int8", (4, 2), list)
        >>> layer = Node("DequantizeLinear", ("w", "scale", "zero"), ("y",))
        >>> Learned([layer]).numbers(layer, 0, weights), Learned([layer]).numbers(layer, 2, weights)
        (8, 0)
        """
        if not w.shape or 0 in w.shape or w.dtype in _NEVER or (node.op in _MASKED and holds_infinity(w)):
            return 0
        if position or node.op not in _HANDED_ON:
            return self._there(node, position, w)
        nobody = 0 if w.constant or "float" not in w.dtype else w.count
        return max((self._there(reader, place, w) for reader, place in self._ends(node)), default=nobody)

    def _ends(self, node: Node) -> Iterator[tuple[Node, int]]:
        """Who computes with a tensor that a node only hands on, in another shape, type or number of copies."""
        ahead = [(node, 0, 0)]
        while ahead:
            reader, place, far = ahead.pop()
            if place or far > _FAR or reader.op not in _HANDED_ON:
                yield reader, place
            else:
                ahead.extend((*found, far + 1) for found in self._readers.get(reader.outputs[0], ()))

    def _there(self, node: Node, position: int, w: Weights) -> int:
        quantized = _QUANTIZED.get(node.op)
        if quantized is not None:
            return w.count * packed(node, position, w) if position in quantized else 0
        if position in _SETTINGS.get(node.op, ()):
            return 0
        if is_narrow(w):
            return w.count if len(w.shape) > 1 and not w.constant else 0
        if "float" not in w.dtype:
            return 0
        if position in _LAYERS.get(node.op, ()):
            return w.count
        return w.count if self._elsewhere(node, position, w) else 0

    def _elsewhere(self, node: Node, position: int, w: Weights) -> bool:
        """Are floating numbers learned that no layer takes as its weights?"""
        if w.constant:  # unless it is a bias that is added to what a layer puts out
            return node.op == "Add" and any(maker.op in _LAYERS for maker in self._beside(node, position))
        if node.op == "Mul" and any(m.op == "DynamicQuantizeLinear" for m in self._beside(node, position)):
            return False  # the scale of quantized weights
        if position in _STATES.get(node.op, ()):
            return not is_zero(w)
        return not (node.op in _MASKED and holds_infinity(w))

    def _beside(self, node: Node, position: int) -> list[Node]:
        """Who makes a node's other inputs."""
        names = (name for i, name in enumerate(node.inputs) if i != position)
        return [self._makers[name] for name in names if name in self._makers]

    @cached_property
    def _makers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def _readers(self) -> dict[str, list[tuple[Node, int]]]:
        found: dict[str, list[tuple[Node, int]]] = {}
        for node in self.nodes:
            for i, name in enumerate(node.inputs):
                found.setdefault(name, []).append((node, i))
        return found


def is_narrow(w: Weights) -> bool:
    """Are its numbers of a type that weights are quantized to?"""
    return w.dtype.startswith(("int", "uint", "float")) and BITS[w.dtype] <= 8


def packed(node: Node, position: int, w: Weights) -> int:
    """How many numbers lie in each entry of a stored tensor: bytes may hold two of four bits.

    >>> layer = Node("MatMulNBits", ("x", "w", "scale"), ("y",), {"bits": 4})
    >>> packed(layer, 1, Weights("w", "uint8", (2, 1, 16), list))
    2
    """
    if _BITS.get(node.op) != position or w.dtype != "uint8":
        return 1
    bits = node.attributes.get("bits", 4)
    return 8 // bits if bits in (2, 4) else 1


def is_zero(w: Weights) -> bool:
    """Is every number zero?  No, where they cannot be looked at."""
    data = w.stored
    return bool(data) and data.count(0) == len(data)


def holds_infinity(w: Weights) -> bool:
    """Is any number infinite, as where attention is masked?  No, where they cannot be looked at."""
    ends = _INFINITE.get(w.dtype)
    if ends is None:
        return False
    data, size = w.stored, BITS[w.dtype] // 8
    return any(_aligned(data, end, size) for end in ends)


def _aligned(data: bytes, number: bytes, size: int) -> bool:
    at = data.find(number)
    while at >= 0 and at % size:
        at = data.find(number, at + 1)
    return at >= 0


_INFINITE: Mapping[str, tuple[bytes, bytes]] = {  # both of them, lowest byte first
    "float16": (b"\x00\x7c", b"\x00\xfc"), "bfloat16": (b"\x80\x7f", b"\x80\xff"),
    "float32": (b"\0\0\x80\x7f", b"\0\0\x80\xff"), "float64": (b"\0" * 6 + b"\xf0\x7f", b"\0" * 6 + b"\xf0\xff"),
}  # fmt: skip
