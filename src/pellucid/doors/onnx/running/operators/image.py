"""Grids, patches put back together, and convolutions that look where they want."""

from __future__ import annotations

from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, ints


@operator("AffineGrid", read=(1,))
def affine_grid(node: Node, theta: Tensor, size: Numbers) -> Tensor:
    """Where each place of a picture (or volume) lies after an affine map, in coordinates from -1 to 1."""
    return F.affine_grid(theta, ints(size), bool(node.get("align_corners", 0)))


@operator("Col2Im", read=(1, 2))
def col_to_im(node: Node, x: Tensor, size: Numbers, block: Numbers) -> Tensor:
    """Columns of patches added up into the picture that they lie in."""
    shape, kernel = tuple(ints(size)), tuple(ints(block))
    n = len(shape)
    strides, dilations = node.get("strides", [1] * n), node.get("dilations", [1] * n)
    pads = list(node.get("pads", [0] * 2 * n))
    if n == 2 and pads[:2] == pads[2:]:
        return F.fold(x, shape, kernel, tuple(dilations), tuple(pads[:2]), tuple(strides))
    full = [s + pads[i] + pads[n + i] for i, s in enumerate(shape)]
    counts = [(f - d * (k - 1) - 1) // s + 1 for f, k, d, s in zip(full, kernel, dilations, strides, strict=True)]
    columns = x.reshape(x.shape[0], -1, prod(kernel), *counts)
    out = x.new_zeros(x.shape[0], columns.shape[1], *full)
    for i, place in enumerate(product(*map(range, kernel))):
        where = [
            slice(p * d, p * d + (c - 1) * s + 1, s)
            for p, d, c, s in zip(place, dilations, counts, strides, strict=True)
        ]
        out[(slice(None), slice(None), *where)] += columns[:, :, i]
    for axis, length in enumerate(shape):
        out = out.narrow(2 + axis, pads[axis], length)
    return out


@operator("DeformConv", since=19)
def deformable_convolution(
    node: Node, x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Convolution that reads beside its regular places, by offsets (Dai et al., 2017), weighted by a mask."""
    n, c, height, width = x.shape
    kh, kw = weight.shape[2:]
    strides, dilations = node.get("strides", [1, 1]), node.get("dilations", [1, 1])
    pads, parts = node.get("pads", [0] * 4), node.get("offset_group", 1)
    rows, columns = offset.shape[2:]
    shift = offset.reshape(n, parts, kh * kw, 2, rows, columns)
    regular = _regular((kh, kw), (rows, columns), strides, dilations, pads, x)
    places = shift + regular
    grid = torch.stack([places[:, :, :, 1] * 2 / max(width - 1, 1), places[:, :, :, 0] * 2 / max(height - 1, 1)], -1)
    planes = x.reshape(n * parts, c // parts, height, width)
    flat = grid.reshape(n * parts, kh * kw * rows, columns, 2) - 1
    read = F.grid_sample(planes, flat, align_corners=True).reshape(n, parts, c // parts, kh * kw, rows, columns)
    if mask is not None:
        read = read * mask.reshape(n, parts, 1, kh * kw, rows, columns)
    groups = node.get("group", 1)
    patches = read.reshape(n, groups, c // groups * kh * kw, rows * columns)
    kernels = weight.reshape(groups, weight.shape[0] // groups, -1)
    out = torch.matmul(kernels, patches).reshape(n, weight.shape[0], rows, columns)
    return out if bias is None else out + bias[:, None, None]


def _regular(
    kernel: tuple[int, int], size: tuple[int, int], strides: list[int], dilations: list[int], pads: list[int], x: Tensor
) -> Tensor:
    """Row and column that an ordinary convolution reads: `[kernel places, 2, rows, columns]`."""
    along = []
    for i in range(2):
        inside = torch.arange(kernel[i], device=x.device) * dilations[i]
        start = torch.arange(size[i], device=x.device) * strides[i] - pads[i]
        along.append(inside[:, None] + start)
    row = along[0][:, None, :, None].expand(*kernel, *size)
    column = along[1][None, :, None, :].expand(*kernel, *size)
    return torch.stack([row, column], 2).flatten(0, 1).to(x.dtype)
