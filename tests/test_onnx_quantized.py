"""Quantized operators against torch's fake quantization, whole numbers, and what is said about their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.core.errors import PellucidError
from pellucid.doors.onnx import open_file
from tests.onnx_files import written
from tests.onnx_single import answer, answers, numbers

MS = "com.microsoft"


def levels(seed: int, *shape: int) -> np.ndarray:
    """All that 8 bits without a sign can be."""
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def signed(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_there_and_back_is_torchs_fake_quantization(axis: int | None):
    x = numbers(1, 3, 4, 5)
    if axis is None:
        scale, zero = np.float32(0.013), np.uint8(130)
        wanted = torch.fake_quantize_per_tensor_affine(torch.from_numpy(x), float(scale), int(zero), 0, 255)
    else:
        n = x.shape[axis]
        scale, zero = np.abs(numbers(2, n)) + np.float32(0.01), levels(3, n)
        wanted = torch.fake_quantize_per_channel_affine(
            torch.from_numpy(x), torch.from_numpy(scale), torch.from_numpy(zero).to(torch.int32), axis, 0, 255
        )
    kept = answer("QuantizeLinear", x, scale, zero, version=21, axis=axis or 0)
    assert kept.dtype == torch.uint8
    torch.testing.assert_close(
        answer("DequantizeLinear", kept.numpy(), scale, zero, version=21, axis=axis or 0), wanted
    )


def test_blocks_have_scales_of_their_own():
    x, scale = numbers(1, 2, 6), np.array([[0.1, 0.2, 0.4], [0.5, 0.7, 0.3]], np.float32)
    kept = answer("QuantizeLinear", x, scale, np.zeros((2, 3), np.int8), version=21, axis=1, block_size=2)
    wanted = np.clip(np.rint(x / np.repeat(scale, 2, 1)), -128, 127)
    np.testing.assert_array_equal(kept.numpy(), wanted)


def test_products_of_extreme_levels_are_exact():
    a, b = np.full((1, 64), 255, np.uint8), np.full((64, 1), -128, np.int8)
    assert answer("MatMulInteger", a, b).item() == -255 * 128 * 64
    zero = np.array([3, 250], np.uint8)
    a, b = levels(1, 2, 5), signed(2, 5, 3)
    wanted = (a.astype(int) - zero[:, None].astype(int)) @ b.astype(int)
    np.testing.assert_array_equal(answer("MatMulInteger", a, b, zero).numpy(), wanted)


def test_a_quantized_convolution_is_the_convolution_of_what_it_stands_for():
    x, w, bias = levels(1, 1, 2, 6, 6), signed(2, 3, 2, 3, 3), np.array([40, -7, 900], np.int32)
    x_scale, w_scale, y_scale = np.float32(0.02), np.array([0.1, 0.02, 0.03], np.float32), np.float32(0.4)
    found = answer(
        "QLinearConv", x, x_scale, np.uint8(120), w, w_scale, np.zeros(3, np.int8), y_scale, np.uint8(9), bias,
        pads=[1, 1, 1, 1], strides=[2, 2],
    )  # fmt: skip
    real = torch.nn.functional.conv2d(
        (torch.from_numpy(x).double() - 120) * 0.02,
        torch.from_numpy(w).double() * torch.from_numpy(w_scale).double().reshape(3, 1, 1, 1),
        torch.from_numpy(bias * 0.02 * w_scale.astype(float)),
        stride=2,
        padding=1,
    )
    wanted = torch.clamp(torch.round(real / 0.4) + 9, 0, 255)
    assert (found.double() - wanted).abs().max() <= 1  # a scale of single precision may tip a half


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_sums_and_products_of_quantized_tensors(op: str):
    a, b, one = levels(1, 4, 5), levels(2, 5), np.float32
    found = answer(op, a, one(0.02), np.uint8(100), b, one(0.05), np.uint8(90), one(0.1), np.uint8(80), domain=MS)
    left, right = (a.astype(float) - 100) * 0.02, (b.astype(float) - 90) * 0.05
    wanted = np.clip(np.rint((left + right if op == "QLinearAdd" else left * right) / 0.1) + 80, 0, 255)
    assert np.abs(found.numpy().astype(float) - wanted).max() <= 1


def test_dynamic_levels_span_the_values_and_zero():
    x = np.array([1.0, 2.0, 3.0], np.float32)
    kept, scale, zero = answers("DynamicQuantizeLinear", x, outputs=3)
    assert (scale.item(), zero.item()) == (pytest.approx(3 / 255), 0)
    np.testing.assert_array_equal(kept.numpy(), [85, 170, 255])


def test_matrices_of_four_bits_are_unpacked_low_bits_first():
    packed = np.array([[[0x21, 0x43], [0x65, 0x87]]], np.uint8)  # one row of two blocks: 1 2 3 4, 5 6 7 8
    scales, x = np.array([[2.0, 10.0]], np.float32), np.eye(8, dtype=np.float32)
    found = answer("MatMulNBits", x, packed, scales, domain=MS, K=8, N=1, bits=4, block_size=4)
    assert found[:, 0].tolist() == [2 * (v - 8) for v in (1, 2, 3, 4)] + [10 * (v - 8) for v in (5, 6, 7, 8)]


def test_no_gradient_passes_and_that_is_said(tmp_path):
    text = """
    agraph (float[1,4] x) => (float[1,4] y) <float scale = {0.1}, uint8 zero = {128}>
    { q = QuantizeLinear(x, scale, zero) d = DequantizeLinear(q, scale, zero) y = Relu(d) }
    """
    net, x = open_file(written(text, tmp_path / "few.onnx")), torch.tensor([[0.5, -0.4, 1.2, 0.0]])
    torch.testing.assert_close(net.model(x), torch.tensor([[0.5, 0.0, 1.2, 0.0]]))
    with pytest.raises(PellucidError, match="differentiably"):
        pl.methods.saliency(net, x, pl.logit(2))
    found = pl.methods.shapley_values(net, x, pl.logit(2)).values.reshape(-1)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 1.2, 0.0]))
