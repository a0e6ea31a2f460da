"""Boxes, samplings and signals of ONNX files against their definitions, and by their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pellucid.core.errors import BadModel
from tests.onnx_single import answer, imported, numbers, single


def test_a_box_over_pixels_read_once_each_is_the_picture():
    x = numbers(1, 1, 2, 4, 5)
    box = np.array([[0, 0, 5, 4]], np.float32)
    found = answer("RoiAlign", x, box, np.zeros(1, np.int64), output_height=4, output_width=5, sampling_ratio=1)
    torch.testing.assert_close(found, torch.from_numpy(x))


def test_more_samples_are_the_mean_of_finer_cells():
    x, box = numbers(1, 2, 3, 8, 9), np.array([[1.2, 0.4, 6.9, 7.1], [2, 3, 4, 8]], np.float32)
    which = np.array([1, 0], np.int64)
    fine = answer("RoiAlign", x, box, which, output_height=6, output_width=6, sampling_ratio=1)
    coarse = answer("RoiAlign", x, box, which, output_height=2, output_width=3, sampling_ratio=3)
    again = answer("RoiAlign", x, box, which, output_height=6, output_width=9, sampling_ratio=1)
    torch.testing.assert_close(coarse, torch.nn.functional.avg_pool2d(again, 3))
    assert fine.shape == (2, 3, 6, 6)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_reading_boxes_has_gradients(mode: str):
    x, box = numbers(1, 1, 2, 6, 6).astype(float), np.array([[0.3, 0.7, 4.4, 5.2], [1, 1, 1.5, 1.5]])
    model, fed = single("RoiAlign", x, box, np.zeros(2, np.int64), output_height=2, output_width=2, mode=mode)
    rest = {k: torch.from_numpy(v) for k, v in fed.items() if k != "x0"}
    given = torch.from_numpy(x).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: imported(model)(x0=v, **rest), (given,))


def test_the_greatest_in_each_cell_of_a_box():
    x = numbers(1, 2, 3, 9, 9)
    box = np.array([[1, 2, 1, 7, 6]], np.float32)  # sample 1, columns 2 to 7, rows 1 to 6
    found = answer("MaxRoiPool", x, box, pooled_shape=[3, 2])
    for i in range(3):
        for j in range(2):
            cell = x[1, :, 1 + 2 * i : 3 + 2 * i, 2 + 3 * j : 5 + 3 * j]
            np.testing.assert_array_equal(found[0, :, i, j].numpy(), cell.max((1, 2)))


def test_boxes_that_overlap_a_better_one_go():
    boxes = np.array([[[0, 0, 2, 2], [0, 0, 2, 1.5], [5, 5, 6, 6], [6, 6, 5, 5]]], np.float32)
    scores = np.array([[[0.5, 0.9, 0.3, 0.2], [0.1, 0.1, 0.8, 0.1]]], np.float32)
    most, overlap, least = np.array([9]), np.array([0.5], np.float32), np.array([0.25], np.float32)
    found = answer("NonMaxSuppression", boxes, scores, most, overlap, least)
    assert found.tolist() == [[0, 0, 1], [0, 0, 2], [0, 1, 2]]


@pytest.mark.parametrize("size", [(3, 4), (3, 4, 5)])
def test_a_grid_of_the_pixels_themselves_is_the_picture(size: tuple[int, ...]):
    x = numbers(1, 1, 2, *size)
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in size]
    grid = np.stack(np.meshgrid(*axes, indexing="ij")[::-1], -1)[None]
    found = answer("GridSample", x, grid, version=20, align_corners=1, mode="linear")
    torch.testing.assert_close(found, torch.from_numpy(x))


def test_cubic_sampling_of_volumes_is_refused():
    with pytest.raises(BadModel, match="volumes"):
        answer("GridSample", numbers(1, 1, 1, 3, 3, 3), numbers(2, 1, 2, 2, 2, 3), version=20, mode="cubic")


def test_a_transform_there_and_back():
    x = numbers(1, 2, 8, 1)
    there = answer("DFT", x, None, np.array(1), version=20, onesided=1)
    k = torch.arange(5)[:, None] * torch.arange(8) * (2 * math.pi / 8)
    wanted = torch.stack([torch.cos(k), -torch.sin(k)], -1)
    torch.testing.assert_close(
        there, torch.einsum("bn,fnc->bfc", torch.from_numpy(x[..., 0]), wanted), atol=1e-5, rtol=0
    )
    whole = answer("DFT", x, None, np.array(1), version=20)
    back = answer("DFT", whole.numpy(), None, np.array(1), version=20, inverse=1)
    torch.testing.assert_close(back[..., :1], torch.from_numpy(x))


def test_frames_are_transformed_one_by_one():
    x, window = numbers(1, 1, 20), np.hanning(9)[:8].astype(np.float32)
    found = answer("STFT", x, np.array(4), window, np.array(8))
    for i in range(4):
        wanted = np.fft.rfft(x[0, 4 * i : 4 * i + 8] * window)
        np.testing.assert_allclose(found[0, i, :, 0].numpy(), wanted.real, atol=1e-5)
        np.testing.assert_allclose(found[0, i, :, 1].numpy(), wanted.imag, atol=1e-5)


@pytest.mark.parametrize(("op", "wanted"), [("HannWindow", np.hanning(9)), ("BlackmanWindow", np.blackman(9))])
def test_windows_are_numpys(op: str, wanted: np.ndarray):
    np.testing.assert_allclose(answer(op, np.array(9), periodic=0).numpy(), wanted, atol=1e-6)
    np.testing.assert_allclose(answer(op, np.array(8)).numpy(), wanted[:8], atol=1e-6)
