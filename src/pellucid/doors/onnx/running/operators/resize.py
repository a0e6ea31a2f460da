"""Resizing in every way of the standard: by torch's own functions where they mean the same, else a matrix an axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import ints

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
_HALVES = ("half_pixel", "pytorch_half_pixel")


@dataclass(frozen=True, slots=True)
class Way:
    """How an axis is resized: the attributes of the operator."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude: bool = False
    antialias: bool = False
    fill: float = 0.0


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: which, how long it was and will be, by which factor, and the part of it that is meant."""

    number: int
    before: int
    after: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@operator("Upsample", read=(1,))
def upsample(node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    """Resizing of operator sets up to 9."""
    factors = list(node.get("scales", ())) if scales is None else scales.tolist()
    if not factors:
        factors = [1.0, 1.0, node.get("height_scale", 1.0), node.get("width_scale", 1.0)]
    mode: str = node.get("mode", "nearest")
    mode = "linear" if mode == "bilinear" else mode
    axes = [Axis(i, n, floor(n * s), s) for i, (n, s) in enumerate(zip(x.shape, factors, strict=True))]
    return resized(x, axes, Way(mode, "asymmetric", "floor"))


@operator("Resize", since=10, read=(1,))
def resize_asymmetric(node: Node, x: Tensor, scales: Tensor) -> Tensor:
    """Resizing of operator set 10."""
    return upsample(node, x, scales)


@operator("Resize", since=11, read=(1, 2, 3))
def resize(
    node: Node, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """To given sizes or by given factors, of all axes or some."""
    way = Way(
        node.get("mode", "nearest"),
        node.get("coordinate_transformation_mode", "half_pixel"),
        node.get("nearest_mode", "round_prefer_floor"),
        node.get("cubic_coeff_a", -0.75),
        bool(node.get("exclude_outside", 0)),
        bool(node.get("antialias", 0)),
        node.get("extrapolation_value", 0.0),
    )
    which = [a % x.dim() for a in node.get("axes") or range(x.dim())]
    lengths = [x.shape[a] for a in which]
    if scales is not None and scales.numel():
        factors = scales.double().tolist()
        after = [floor(n * s) for n, s in zip(lengths, factors, strict=True)]
    elif sizes is not None:
        after, factors = _by_size(node, lengths, ints(sizes))
    else:
        raise BadModel("Resize has neither scales nor sizes.", "Export the model again.")
    part = [0.0] * len(which) + [1.0] * len(which)
    if way.coordinates == "tf_crop_and_resize" and roi is not None:
        part = roi.double().tolist()
    many = len(which)
    axes = [
        Axis(a, n, m, s, part[i], part[many + i])
        for i, (a, n, m, s) in enumerate(zip(which, lengths, after, factors, strict=True))
    ]
    return resized(x, axes, way)


def _by_size(node: Node, lengths: list[int], sizes: list[int]) -> tuple[list[int], list[float]]:
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    factors = [m / n for m, n in zip(sizes, lengths, strict=True)]
    if policy == "stretch":
        return sizes, factors
    scale = min(factors) if policy == "not_larger" else max(factors)
    return [floor(scale * n + 0.5) for n in lengths], [scale] * len(lengths)


def resized(x: Tensor, axes: list[Axis], way: Way) -> Tensor:
    """The tensor with its axes resized one after another."""
    changed = [a for a in axes if a.scale != 1 or a.after != a.before or way.coordinates == "tf_crop_and_resize"]
    if not changed:
        return x
    kind = x.dtype
    fast = _fast(x, changed, way)
    if fast is not None:
        return fast
    if way.mode == "nearest":
        for axis in changed:
            x = _nearest(x, axis, way)
        return x
    wide = x if x.is_floating_point() else x.float()
    for axis in changed:
        matrix, outside = weights(axis, way)
        wide = torch.matmul(wide.movedim(axis.number, -1), matrix.to(wide).t()).movedim(-1, axis.number)
        if outside.any():
            shape = [-1 if i == axis.number else 1 for i in range(x.dim())]
            wide = torch.where(outside.reshape(shape).to(x.device), way.fill, wide)
    if kind.is_floating_point:
        return wide.to(kind)
    limits = torch.iinfo(kind)
    return torch.clamp(torch.round(wide), limits.min, limits.max).to(kind)


def _fast(x: Tensor, axes: list[Axis], way: Way) -> Tensor | None:
    """Torch's own function, where it computes exactly this."""
    n = x.dim() - 2
    if not 1 <= n <= 3 or any(a.number < 2 for a in axes) or not x.is_floating_point() or way.antialias:
        return None
    exact = all(a.after == a.before * a.scale or a.scale == a.after / a.before for a in axes)
    size = list(x.shape[2:])
    for axis in axes:
        size[axis.number - 2] = axis.after
    if way.mode == "nearest":
        whole = all(a.scale == int(a.scale) and a.scale >= 1 for a in axes)
        floors = way.coordinates == "asymmetric" and way.rounding == "floor"
        halves = way.coordinates in _HALVES and way.rounding.startswith("round")
        return F.interpolate(x, size) if whole and (floors or halves) else None
    half = way.coordinates == "half_pixel" or (way.coordinates == "pytorch_half_pixel" and 1 not in size)
    if not exact or not (half or way.coordinates == "align_corners"):
        return None
    corners = way.coordinates == "align_corners"
    if way.mode == "linear":
        return F.interpolate(x, size, mode=_LINEAR[n], align_corners=corners)
    if n == 2 and way.cubic == -0.75 and not way.exclude:
        return F.interpolate(x, size, mode="bicubic", align_corners=corners)
    return None


def places(axis: Axis, way: Way) -> Tensor:
    """Where in the old axis each value of the new one lies, as the standard's formulas say."""
    at = torch.arange(axis.after, dtype=torch.float64)
    length, how = axis.scale * axis.before, way.coordinates
    if how == "align_corners":
        return at * 0 if length == 1 else at * (axis.before - 1) / (length - 1)
    if how == "asymmetric":
        return at / axis.scale
    if how == "tf_crop_and_resize":
        span = (axis.end - axis.start) * (axis.before - 1)
        inner = at * 0 + span / 2 if length == 1 else at * span / (length - 1)
        return inner + axis.start * (axis.before - 1)
    if how == "pytorch_half_pixel" and length == 1:
        return at * 0 - 0.5
    halves = (at + 0.5) / axis.scale - 0.5
    if how == "half_pixel_symmetric":
        return halves + axis.before / 2 * (1 - axis.after / length)
    if how in _HALVES:
        return halves
    raise BadModel(f"Resize by coordinates {how!r} is not known.", "Export the model again.")


def _nearest(x: Tensor, axis: Axis, way: Way) -> Tensor:
    at = places(axis, way)
    rounded: dict[str, Callable[[Tensor], Tensor]] = {
        "round_prefer_floor": lambda v: torch.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: torch.floor(v + 0.5),
        "floor": torch.floor,
        "ceil": torch.ceil,
    }
    which = rounded[way.rounding](at).clamp(0, axis.before - 1).long()
    out = x.index_select(axis.number, which.to(x.device))
    if way.coordinates != "tf_crop_and_resize":
        return out
    outside = ((at < 0) | (at > axis.before - 1)).reshape([-1 if i == axis.number else 1 for i in range(x.dim())])
    return torch.where(outside.to(x.device), torch.tensor(way.fill, dtype=x.dtype, device=x.device), out)


def weights(axis: Axis, way: Way) -> tuple[Tensor, Tensor]:
    """What each old value counts for each new one `[after, before]`, and which new ones lie outside."""
    at = places(axis, way)
    scale = min(axis.scale, 1.0) if way.antialias else 1.0
    reach = (1 if way.mode == "linear" else 2) / scale
    whole = torch.floor(at)
    offsets = torch.arange(-ceil(reach), ceil(reach) + 2, dtype=torch.float64)
    neighbors = whole[:, None] + offsets
    distance = (neighbors - at[:, None]) * scale
    share = (1 - distance.abs()).clamp(min=0) if way.mode == "linear" else _cubic(distance.abs(), way.cubic)
    outside = (neighbors < 0) | (neighbors > axis.before - 1)
    if way.exclude:
        share = torch.where(outside, 0.0, share)
    share = share / share.sum(1, keepdim=True)
    matrix = torch.zeros(axis.after, axis.before, dtype=torch.float64)
    matrix.scatter_add_(1, neighbors.clamp(0, axis.before - 1).long(), share)
    cropped = way.coordinates == "tf_crop_and_resize"
    return matrix, ((at < 0) | (at > axis.before - 1)) if cropped else torch.zeros(axis.after, dtype=torch.bool)


def _cubic(d: Tensor, a: float) -> Tensor:
    """The cubic kernel of Keys (1981)."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))
