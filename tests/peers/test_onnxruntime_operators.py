"""onnxruntime's numbers for recurrent layers, boxes, attention, quantized operators, and those of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.onnx_single import answers, numbers, single

MS = "com.microsoft"


def theirs(op: str, *inputs: Any, **options: Any) -> list[np.ndarray]:
    model, fed = single(op, *inputs, **options)
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    data = model.SerializeToString()
    return onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"]).run(None, fed)


def same(op: str, *inputs: Any, within: float = 1e-4, **options: Any) -> None:
    """Raise AssertionError unless ours is theirs, relative to the greatest number of each output."""
    for ours, wanted in zip(answers(op, *inputs, **options), theirs(op, *inputs, **options), strict=True):
        found = ours.double().numpy()
        assert found.shape == wanted.shape
        if wanted.size:
            assert np.abs(found - wanted.astype(float)).max() <= within * max(np.abs(wanted).max(), 1e-12)


def whole(seed: int, most: int, *shape: int, kind: str = "int64") -> np.ndarray:
    return np.random.default_rng(seed).integers(0, most, shape).astype(kind)


STEPS, BATCH, WIDE, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
BENDS = ["Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ScaledTanh", "HardSigmoid", "Softsign"]
ALPHA, BETA = ("Affine", "LeakyRelu", "ScaledTanh", "HardSigmoid"), ("Affine", "ScaledTanh", "HardSigmoid")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_recurrent_layers(op: str, direction: str, seed: int):
    draw, ways, g = np.random.default_rng(seed), 1 + (direction == "bidirectional"), GATES[op]
    options: dict[str, Any] = {"hidden_size": HIDDEN, "direction": direction, "version": 14}
    options |= {"clip": 0.7} if draw.random() < 0.4 else {}
    if op == "GRU":
        options["linear_before_reset"] = seed % 2
    if op == "LSTM" and draw.random() < 0.3:
        options["input_forget"] = 1
    if draw.random() < 0.5:
        names = [str(draw.choice(BENDS)) for _ in range({"RNN": 1, "GRU": 2, "LSTM": 3}[op] * ways)]
        alpha, beta = ([0.3 + 0.1 * i for i, n in enumerate(names) if n in which] for which in (ALPHA, BETA))
        options |= {"activations": names, **({"activation_alpha": alpha} if alpha else {})}
        options |= {"activation_beta": beta} if beta else {}
    lengths = np.array([5, 2, 3], np.int32) if draw.random() < 0.5 else None
    states = [numbers(9 + i, ways, BATCH, HIDDEN) if draw.random() < 0.5 else None for i in range(1 + (op == "LSTM"))]
    bias = numbers(3, ways, 2 * g * HIDDEN) if draw.random() < 0.5 else None
    peepholes = [numbers(4, ways, 3 * HIDDEN) if draw.random() < 0.5 else None] if op == "LSTM" else []
    x, w, u = numbers(0, STEPS, BATCH, WIDE), numbers(1, ways, g * HIDDEN, WIDE), numbers(2, ways, g * HIDDEN, HIDDEN)
    same(op, x, w, u, bias, lengths, *states, *peepholes, outputs=2 + (op == "LSTM"), **options)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("place", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_boxes(mode: str, place: str, ratio: int):
    boxes = np.array([[1, 1, 6, 8], [2, 0, 9.4, 5.6], [8, 6, 20, 12], [3, 3, 3.2, 3.1]], np.float32)
    same(
        "RoiAlign", numbers(1, 2, 3, 10, 12), boxes, np.array([0, 1, 1, 0]), mode=mode, sampling_ratio=ratio,
        coordinate_transformation_mode=place, output_height=3, output_width=2, spatial_scale=0.7,
    )  # fmt: skip


def test_boxes_beyond_the_edge():
    boxes = np.array([[0, 1, 1, 16, 8], [1, 2, 0, 19, 15.0]], np.float32)
    same("MaxRoiPool", numbers(1, 2, 3, 10, 12), boxes, pooled_shape=[3, 3], spatial_scale=0.5)


MASKS = [
    None, np.array([3, 5], np.int32), np.array([3, 5, 0, 1], np.int32),
    np.array([[1, 1, 1, 0, 0], [1] * 5], np.int32),
]  # fmt: skip


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", MASKS, ids=["all", "lengths", "ends", "mask"])
def test_attention(mask: Any, causal: int):
    x, weight, bias = numbers(1, 2, 5, 8), numbers(2, 8, 24), numbers(3, 24)
    same("Attention", x, weight, bias, mask, domain=MS, num_heads=2, unidirectional=causal)


def test_attention_with_a_past():
    past = numbers(4, 2, 2, 2, 3, 4)
    same(
        "Attention", numbers(1, 2, 5, 8), numbers(2, 8, 24), numbers(3, 24), None, past, outputs=2, domain=MS,
        num_heads=2, unidirectional=1,
    )  # fmt: skip
    parts, before = [numbers(i, 2, 5, 8) for i in range(3)], [numbers(4 + i, 2, 2, 3, 4) for i in range(2)]
    bias = numbers(7, 1, 2, 5, 8)
    same("MultiHeadAttention", *parts, None, None, bias, *before, outputs=3, domain=MS, num_heads=2, unidirectional=1)
    same("MultiHeadAttention", parts[0], *before, domain=MS, num_heads=2)


GROUPED: dict[str, dict[str, Any]] = {
    "plain": {}, "rotary": {"do_rotary": 1}, "interleaved": {"do_rotary": 1, "rotary_interleaved": 1},
    "window": {"local_window_size": 3}, "capped": {"softcap": 2.0}, "smooth": {"smooth_softmax": 1},
}  # fmt: skip


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("case", GROUPED)
def test_grouped_attention(case: str, decode: bool):
    size, n = 16, 1 if decode else 5
    past = [numbers(7 + i, 2, 2, 6, size) if decode else None for i in range(2)]
    length = 7 if decode else 5
    cos, sin = np.cos(numbers(5, 32, size // 2)), np.sin(numbers(6, 32, size // 2))
    same(
        "GroupQueryAttention", numbers(1, 2, n, 4 * size), numbers(2, 2, n, 2 * size), numbers(3, 2, n, 2 * size),
        *past, np.full(2, length - 1, np.int32), np.array([length], np.int32), cos, sin, outputs=3, domain=MS,
        num_heads=4, kv_num_heads=2, **GROUPED[case],
    )  # fmt: skip


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("inputs", [64, 80])
def test_matrices_of_few_bits(bits: int, inputs: int):
    blocks = -(-inputs // 32)
    packed, scales = whole(1, 256, 6, blocks, 4 * bits, kind="uint8"), np.abs(numbers(2, 6, blocks))
    zeros = whole(3, 256, 6, -(-blocks * bits // 8), kind="uint8")
    options = {"domain": MS, "K": inputs, "N": 6, "bits": bits, "block_size": 32}
    same("MatMulNBits", numbers(4, 2, 3, inputs), packed, scales, **options)
    same("MatMulNBits", numbers(4, 2, 3, inputs), packed, scales, zeros, None, numbers(5, 6), **options)


def test_normalizations():
    x, skip, scale, bias = numbers(1, 2, 3, 4), numbers(2, 2, 3, 4), numbers(3, 4), numbers(4, 4)
    same("SkipLayerNormalization", x, skip[0], scale, bias, domain=MS, epsilon=1e-5)
    same("SkipSimplifiedLayerNormalization", x, skip, scale, domain=MS, epsilon=1e-5)
    same("SimplifiedLayerNormalization", x, scale, outputs=2, version=15, axis=-1, epsilon=1e-5)
    words, segments = whole(1, 7, 2, 3, kind="int32"), whole(2, 2, 2, 3, kind="int32")
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int32)
    tables = numbers(5, 7, 4), numbers(6, 5, 4), numbers(7, 2, 4)
    same("EmbedLayerNormalization", words, segments, *tables, scale, bias, mask, outputs=3, domain=MS)


def test_products_with_batch_axes_moved():
    same("FusedMatMul", numbers(1, 3, 6, 2, 4), numbers(2, 6, 2, 4, 5), domain=MS, transBatchA=1)
    same("FusedMatMul", numbers(1, 4, 2, 3), numbers(2, 2, 4, 5), domain=MS, transBatchA=1, transA=1)


# Weights of 7 bits: with 8, onnxruntime's sums overflow on processors without VNNI.
A, W = whole(1, 256, 2, 5, 8, kind="uint8"), (whole(2, 120, 8, 24) - 60).astype(np.int8)
SCALE, ZERO = np.float32(0.02), np.uint8(120)
ONE = (whole(3, 256, 2, 3, 6, 6, kind="uint8"), SCALE, ZERO, np.float32(0.03), np.uint8(100))
QUANTIZED: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "sum": ("QLinearAdd", (*ONE[:3], *ONE[:1], np.float32(0.03), ZERO, SCALE, ZERO), {}),
    "product": ("QLinearMul", (*ONE[:3], *ONE[:1], np.float32(0.03), ZERO, SCALE, ZERO), {}),
    "pool": ("QLinearAveragePool", ONE, {"kernel_shape": [2, 2]}),
    "whole": ("QLinearGlobalAveragePool", ONE, {}),
    "sigmoid": ("QLinearSigmoid", (*ONE[:3], np.float32(1 / 256), np.uint8(0)), {}),
    "leaky": ("QLinearLeakyRelu", ONE, {"alpha": 0.2}),
    "joined": ("QLinearConcat", (SCALE, ZERO, *ONE[:3], *ONE[:1], np.float32(0.04), np.uint8(80)), {"axis": 1}),
    "attention": ("QAttention", (A, W, numbers(1, 24), SCALE, SCALE, None, ZERO, np.int8(0)), {"num_heads": 2}),
    "to numbers": ("MatMulIntegerToFloat", (A, W, SCALE, np.abs(numbers(2, 24)), ZERO), {}),
    "dynamic": ("DynamicQuantizeMatMul", (numbers(3, 2, 8), W, SCALE, np.int8(3), numbers(4, 24)), {}),
    "gemm": ("QGemm", (A[0], SCALE, ZERO, W, SCALE, np.int8(0), whole(5, 999, 24, kind="int32"), *ONE[3:]), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", QUANTIZED)
def test_quantized(case: str):
    op, inputs, options = QUANTIZED[case]
    same(op, *inputs, domain=MS, within=1e-4 if case in ("attention", "to numbers", "dynamic") else 1 / 128, **options)
