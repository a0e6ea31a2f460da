"""Boxes: choosing among those that overlap, and reading feature maps inside of them."""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, one


@operator("NonMaxSuppression", read=(2, 3, 4))
def non_max_suppression(
    node: Node,
    boxes: Tensor,
    scores: Tensor,
    most: Numbers | None = None,
    overlap: Numbers | None = None,
    least: Numbers | None = None,
) -> Tensor:
    """The best boxes of each class that do not overlap a better one: `[chosen, (sample, class, box)]`."""
    count = 0 if most is None else int(one(most))
    share = 0.0 if overlap is None else float(one(overlap))
    chosen = list[tuple[int, int, int]]()
    for i, (corners, ratings) in enumerate(zip(_corners(node, boxes.detach()), scores.detach(), strict=True)):
        for c, rating in enumerate(ratings):
            passing = torch.arange(len(rating), device=rating.device)
            if least is not None:
                passing = passing[rating > float(one(least))]
            order = passing[torch.argsort(rating[passing], descending=True, stable=True)]
            chosen.extend((i, c, box) for box in _best(corners, order, count, share))
    return torch.tensor(chosen, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _corners(node: Node, boxes: Tensor) -> Tensor:
    """Lower and upper corners, from any two opposite ones or from center and size."""
    if node.get("center_point_box", 0):
        center, half = boxes[..., [1, 0]], boxes[..., [3, 2]] / 2
        return torch.cat([center - half, center + half], -1)
    a, b = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(a, b), torch.maximum(a, b)], -1)


def _best(corners: Tensor, order: Tensor, count: int, share: float) -> list[int]:
    found = list[int]()
    areas = (corners[:, 2:] - corners[:, :2]).prod(-1)
    while len(found) < count and len(order):
        best, order = order[0], order[1:]
        found.append(int(best))
        low = torch.maximum(corners[best, :2], corners[order, :2])
        high = torch.minimum(corners[best, 2:], corners[order, 2:])
        shared = (high - low).clamp(min=0).prod(-1)
        order = order[~(shared > share * (areas[best] + areas[order] - shared))]
    return found


@operator("RoiAlign")
def roi_align(node: Node, x: Tensor, boxes: Tensor, samples: Tensor) -> Tensor:
    """Each box read on a regular grid, between the pixels: `[boxes, channels, height, width]`."""
    size = (node.get("output_height", 1), node.get("output_width", 1))
    ratio, scale = node.get("sampling_ratio", 0), node.get("spatial_scale", 1.0)
    usual = "half_pixel" if node.version >= 16 else "output_half_pixel"
    half = node.get("coordinate_transformation_mode", usual) == "half_pixel"
    placed = boxes.to(x.dtype) * scale - (0.5 if half else 0.0)
    start, extent = placed[:, [1, 0]], placed[:, [3, 2]] - placed[:, [1, 0]]
    extent = extent if half else extent.clamp(min=1)
    steps = [(ratio, ratio)] * len(boxes)
    if ratio <= 0:
        steps = [(ceil(h / size[0]), ceil(w / size[1])) for h, w in extent.detach().tolist()]
    out = x.new_zeros(len(boxes), x.shape[1], *size)
    for grid in sorted(set(steps)):
        which = torch.tensor([i for i, g in enumerate(steps) if g == grid], device=x.device)
        if min(grid) > 0:
            read = _read(node, x, samples[which].to(torch.int64), start[which], extent[which], size, grid)
            out = out.index_copy(0, which, read)
    return out


def _read(
    node: Node,
    x: Tensor,
    samples: Tensor,
    start: Tensor,
    extent: Tensor,
    size: tuple[int, int],
    grid: tuple[int, int],
) -> Tensor:
    """Boxes with equally many grid points in each cell."""
    axes = list[tuple[Tensor, Tensor, Tensor, Tensor]]()
    for k in (0, 1):
        n = size[k] * grid[k]
        at = start[:, k : k + 1] + (torch.arange(n, device=x.device) + 0.5) * (extent[:, k : k + 1] / n)
        axes.append(_between(at, x.shape[2 + k]))
    total: list[Tensor] = []
    (y0, y1, wy0, wy1), (x0, x1, wx0, wx1) = axes
    for row, row_weight in ((y0, wy0), (y1, wy1)):
        for column, column_weight in ((x0, wx0), (x1, wx1)):
            corner = x[samples[:, None, None], :, row[:, :, None], column[:, None, :]]
            total.append(corner * (row_weight[:, :, None] * column_weight[:, None, :]).unsqueeze(-1))
    if node.get("mode", "avg") == "max":
        # The standard's maximum is over the corners as they are weighted, not over the values between them.
        value = torch.stack(total).amax(0)
    else:
        value = total[0] + total[1] + total[2] + total[3]
    rows = value.permute(0, 3, 1, 2).reshape(len(value), -1, size[0], grid[0], size[1], grid[1])
    return rows.amax((3, 5)) if node.get("mode", "avg") == "max" else rows.mean((3, 5))


def _between(at: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The pixels on both sides of places on an axis and how much each counts: nothing when far outside."""
    inside = ((at >= -1) & (at <= length)).to(at.dtype)
    at = at.clamp(min=0)
    low = at.detach().floor().clamp(max=length - 1).to(torch.int64)
    high = (low + 1).clamp(max=length - 1)
    part = torch.where(low >= length - 1, torch.zeros_like(at), at - low)
    return low, high, (1 - part) * inside, part * inside


@operator("MaxRoiPool")
def max_roi_pool(node: Node, x: Tensor, boxes: Tensor) -> Tensor:
    """The greatest value in each cell of each box, boxes being rounded to pixels; 0 for a cell outside of the map."""
    height, width = node.get("pooled_shape", (1, 1))
    scale, out = node.get("spatial_scale", 1.0), list[Tensor]()
    for sample, *box in boxes.detach().double().tolist():
        left, top, right, bottom = (int(abs(v * scale) + 0.5) * (1 if v >= 0 else -1) for v in box)
        right, bottom = max(right, left), max(bottom, top)
        around = (-left, right + 1 - x.shape[3], -top, bottom + 1 - x.shape[2])  # a negative padding cuts
        cut = F.pad(x[int(sample)], around, value=float("-inf"))
        out.append(F.adaptive_max_pool2d(cut, (height, width)))
    found = torch.stack(out) if out else x.new_zeros(0, x.shape[1], height, width)
    return torch.where(torch.isneginf(found), 0, found)
