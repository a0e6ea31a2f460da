"""What an ONNX operation costs by the shapes around it: two a multiply-add of its products, as a recorded pass counts.

Convolutions, matrix products, attention and recurrent layers have products; all other operators of the standard, and
of ONNX Runtime as far as they are known here, have none and cost 0, as elementwise work, normalization and pooling do
in a pass (see `pellucid.core.recording.flops`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TypeAlias

from pellucid.doors.onnx.graph import Node

Sizes: TypeAlias = tuple[int, ...] | None  # None: not known, or not there
Formula: TypeAlias = Callable[[Node, Sequence[Sizes], Sequence[Sizes]], int]

MICROSOFT = "com.microsoft"
_DOMAINS = ("", "ai.onnx.ml", "ai.onnx.preview.training")  # whose other operators have no products
_TRAINED = ("SVMClassifier", "SVMRegressor")  # how many vectors there are is not told by shapes
_BARE = """BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu DequantizeLinear DynamicQuantizeLinear
    EmbedLayerNormalization ExpandDims FastGelu GatherBlockQuantized GatherND Gelu GridSample GroupNorm
    LayerNormalization NhwcMaxPool Pad QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere
    QuantizeLinear QuickGelu Range RotaryEmbedding SimplifiedLayerNormalization SkipGroupNorm SkipLayerNormalization
    SkipSimplifiedLayerNormalization StringNormalizer Trilu Unique"""
_KNOWN = frozenset(_BARE.split())  # of ONNX Runtime's operators those without products


def flops(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int | None:
    """Floating-point operations of a node that takes and makes values of these sizes; None where that is unknown.

    >>> flops(Node("MatMul", ("a", "b"), ("y",)), [(2, 3), (3, 4)], [(2, 4)])
    48
    >>> flops(Node("Relu", ("x",), ("y",)), [None], [None])
    0
    """
    formula = _FORMULAS.get((node.domain, node.op))
    if formula is None:
        known = node.domain in _DOMAINS and node.op not in _TRAINED
        return 0 if known or (node.domain == MICROSOFT and node.op in _KNOWN) else None
    try:
        return formula(node, taken, made)
    except (TypeError, IndexError, ValueError, KeyError, ZeroDivisionError, AttributeError):  # a size that is not known
        return None


def _size(sizes: Sequence[Sizes], i: int) -> tuple[int, ...]:
    found = sizes[i]
    if found is None:
        raise ValueError
    return found


def _past(taken: Sequence[Sizes], i: int, axis: int) -> int:
    """How much a cache holds; 0 without one."""
    found = taken[i] if i < len(taken) else None
    return found[axis] if found else 0


def _convolution(at: int = 1) -> Formula:
    """Every output is a product of a filter's length; `at` says which input the filters are."""
    return lambda node, taken, made: 2 * prod(_size(made, 0)) * prod(_size(taken, at)[1:])


def _transposed(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    return 2 * prod(_size(taken, 0)) * prod(_size(taken, 1)[1:])


def _product(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    return 2 * prod(_size(made, 0)) * _size(taken, 0)[-1]


def _general_product(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    return 2 * prod(_size(made, 0)) * _size(taken, 0)[0 if node.attributes.get("transA", 0) else -1]


def _turned_product(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    turned, moved = node.attributes.get("transA", 0), node.attributes.get("transBatchA", 0)
    return 2 * prod(_size(made, 0)) * _size(taken, 0)[(0 if moved else -2) if turned else -1]


def _of_bits(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    return 2 * prod(_size(made, 0)) * int(node.attributes["K"])


def _recurrent(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    """In every step, the matrices of each direction times what comes in and times the state."""
    return 2 * prod(_size(taken, 0)[:2]) * (prod(_size(taken, 1)) + prod(_size(taken, 2)))


def _einsum(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    """Of two arrays: all letters, but those that stand in one of them only and are summed before."""
    left, arrow, right = str(node.attributes["equation"]).replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) == 1:
        return 0
    if len(terms) > 2 or "." in left:
        raise ValueError
    right = right if arrow else "".join(letter for letter in left if left.count(letter) == 1)
    sizes = [dict(zip(term, _size(taken, i), strict=True)) for i, term in enumerate(terms)]
    both, either = sizes[0].keys() & sizes[1].keys(), sizes[0] | sizes[1]
    if not both - set(right):
        return 0  # nothing is summed over: elementwise
    return 2 * prod(size for letter, size in either.items() if letter in both or letter in right)


def _mixed(batch: int, heads: int, rows: int, columns: int, size: int, value_size: int) -> int:
    """Scores and mixing, in every head."""
    return 2 * batch * heads * rows * columns * (size + value_size)


def _attention(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    query, key, value = (_size(taken, i) for i in range(3))
    past = _past(taken, 4, 2)
    if len(query) == 4:
        return _mixed(*query[:3], key[2] + past, query[3], value[3])
    heads, few = int(node.attributes["q_num_heads"]), int(node.attributes["kv_num_heads"])
    return _mixed(query[0], heads, query[1], key[1] + past, query[2] // heads, value[2] // few)


def _linear_attention(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    """In every step, the state is read by each query, and by each key where it is corrected."""
    query, value = _size(taken, 0), _size(taken, 2)
    heads, few = int(node.attributes["q_num_heads"]), int(node.attributes["kv_num_heads"])
    readers = heads + (few if len(taken) > 5 and node.inputs[5] else 0)
    return 2 * prod(query[:2]) * readers * (query[2] // heads) * (value[2] // few)


def _projected_attention(at: int = 1, past_at: int = 4) -> Formula:
    """Self-attention with the projection before it; `at` says which input the projection is."""

    def formula(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
        (batch, length, width), weight = _size(taken, 0), _size(taken, at)
        stated = node.attributes.get("qkv_hidden_sizes") or [weight[1] // 3] * 3
        columns = length + _past(taken, past_at, 3)
        return 2 * batch * length * width * weight[1] + _mixed(batch, 1, length, columns, stated[1], stated[2])

    return formula


def _multi_head(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    query, heads = _size(taken, 0), int(node.attributes["num_heads"])
    if len(query) == 5:  # all three are packed in one
        return _mixed(query[0], heads, query[1], query[1] + _past(taken, 6, 2), query[4], query[4])
    key = _size(taken, 1)
    if len(key) == 5:
        return _mixed(query[0], heads, query[1], key[1] + _past(taken, 6, 2), key[4], key[4])
    value = _size(taken, 2)
    if len(key) == 4:
        return _mixed(query[0], heads, query[1], key[2], key[3], value[3])
    return _mixed(query[0], 1, query[1], key[1] + _past(taken, 6, 2), query[2], value[2])


def _grouped(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    """The keys are as many as there are in the cache that is put out."""
    query, keys, heads = _size(taken, 0), _size(made, 1), int(node.attributes["num_heads"])
    return _mixed(query[0], heads, query[1], keys[2], keys[3], keys[3])


def _linear_model(node: Node, taken: Sequence[Sizes], made: Sequence[Sizes]) -> int:
    x = _size(taken, 0)
    return 2 * (x[0] if len(x) > 1 else 1) * len(node.attributes["coefficients"])


_STANDARD: Mapping[str, Formula] = {
    **dict.fromkeys(("Conv", "ConvInteger", "DeformConv", "CausalConvWithState"), _convolution()),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed,
    "Gemm": _general_product,
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul"), _product),
    "Einsum": _einsum,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Attention": _attention,
    "LinearAttention": _linear_attention,
}
_RUNTIME: Mapping[str, Formula] = {
    **dict.fromkeys(("FusedConv", "NhwcConv", "NhwcFusedConv"), _convolution()),
    "QLinearConv": _convolution(3),
    "FusedGemm": _general_product,
    "QGemm": _general_product,
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul"), _turned_product),
    **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _product),
    "MatMulNBits": _of_bits,
    "DynamicQuantizeLSTM": _recurrent,
    "Attention": _projected_attention(),
    "QAttention": _projected_attention(past_at=8),
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _grouped,
}
_FORMULAS: Mapping[tuple[str, str], Formula] = {
    **{("", op): formula for op, formula in _STANDARD.items()},
    **{(MICROSOFT, op): formula for op, formula in _RUNTIME.items()},
    ("ai.onnx.ml", "LinearClassifier"): _linear_model,
    ("ai.onnx.ml", "LinearRegressor"): _linear_model,
    ("ai.onnx.preview", "FlexAttention"): _attention,
}
