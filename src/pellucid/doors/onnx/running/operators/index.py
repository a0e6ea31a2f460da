"""Picking values by their place, and putting values into places."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, ints, one

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def from_start(indices: Tensor, length: int) -> Tensor:
    """Indices in int64, negative ones counted from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + length, indices)


@operator("Gather", shapely=True)
def gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Slices of one axis, by index.  Rows of a matrix are an embedding."""
    axis = node.get("axis", 0) % max(x.dim(), 1)
    if node.fixed and indices.dim() == 0 and any(indices is held for held in node.fixed.values()):
        return x.select(axis, int(indices))
    indices = from_start(indices, x.shape[axis])
    if axis == 0 and x.dim() == 2 and x.is_floating_point():
        return F.embedding(indices, x)
    if indices.dim() == 1:
        return x.index_select(axis, indices)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, indices.reshape(-1)).reshape(shape)


@operator("GatherElements")
def gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """One value for every index, along one axis."""
    axis = node.get("axis", 0)
    return torch.gather(x, axis, from_start(indices, x.shape[axis]))


@operator("GatherND", shapely=True)
def gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Values (or whole slices) at places of several axes, one sample at a time after the first `batch_dims` axes."""
    batch = node.get("batch_dims", 0)
    lead = x.shape[:batch]
    flat = x.reshape((prod(lead), *x.shape[batch:]))
    places = indices.reshape((prod(lead), *indices.shape[batch:]))
    which = [from_start(i, flat.shape[1 + k]) for k, i in enumerate(places.unbind(-1))]
    samples = torch.arange(flat.shape[0], device=x.device).reshape(-1, *[1] * (places.dim() - 2))
    found = flat[(samples.expand(which[0].shape), *which)]
    return found.reshape((*lead, *found.shape[1:]))


@operator("Scatter", "ScatterElements")
def scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """A copy with one value put (or added, multiplied, ...) at every index of an axis."""
    axis, how = node.get("axis", 0), node.get("reduction", "none")
    indices = from_start(indices, x.shape[axis])
    if how == "none":
        return torch.scatter(x, axis, indices, updates)
    return torch.scatter_reduce(x, axis, indices, updates, _REDUCTIONS[how])


@operator("ScatterND", shapely=True)
def scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """A copy with values (or whole slices) put, added, multiplied, ... at places of several axes."""
    depth, how = indices.shape[-1], node.get("reduction", "none")
    flat = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=x.device)
    for k, index in enumerate(indices.unbind(-1)):
        flat = flat * x.shape[k] + from_start(index, x.shape[k])
    rows = x.reshape(prod(x.shape[:depth]), -1)
    where, new = flat.reshape(-1), updates.reshape(flat.numel(), -1)
    if how == "none":
        out = torch.index_put(rows, (where,), new)
    elif how == "add":
        out = torch.index_add(rows, 0, where, new)
    else:
        out = torch.scatter_reduce(rows, 0, where[:, None].expand_as(new), new, _REDUCTIONS[how])
    return out.reshape(x.shape)


@operator("TensorScatter")
def tensor_scatter(node: Node, past: Tensor, update: Tensor, start: Tensor | None = None) -> Tensor:
    """A cache with new rows written from a place of each sample's own on, around its end if it is `circular`."""
    axis, (length, rows) = node.get("axis", -2) % past.dim(), (0, 0)
    length, rows = past.shape[axis], update.shape[axis]
    first = torch.zeros(past.shape[0], dtype=torch.int64, device=past.device) if start is None else start.long()
    places = first[:, None] + torch.arange(rows, device=past.device)
    if node.get("mode", "linear") == "circular":
        places = places % length
    view = [past.shape[0], *[1] * (past.dim() - 1)]
    view[axis] = rows
    return torch.scatter(past, axis, places.reshape(view).expand_as(update), update)


@operator("OneHot", read=(1,))
def one_hot(node: Node, indices: Tensor, depth: Numbers, values: Tensor) -> Tensor:
    """The second of two values where the place along a new axis is the index, else the first."""
    n, axis = int(one(depth)), node.get("axis", -1)
    axis = axis % (indices.dim() + 1)
    places = torch.arange(n, device=indices.device).reshape(-1, *[1] * (indices.dim() - axis))
    hot = from_start(indices, n).unsqueeze(axis) == places
    return torch.where(hot, values[1], values[0])


@operator("Compress")
def compress(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    """The slices of an axis (or the values of all) for which the condition holds."""
    axis = node.get("axis")
    x, along = (x.reshape(-1), 0) if axis is None else (x, axis)
    return x.index_select(along, torch.nonzero(condition).reshape(-1))


@operator("NonZero", shapely=True)
def non_zero(node: Node, x: Tensor) -> Tensor:
    """The places of all values that are not zero, a column each."""
    return torch.nonzero(x.reshape(1) if x.dim() == 0 else x).t()


@operator("ArgMax")
def arg_max(node: Node, x: Tensor) -> Tensor:
    """Where along an axis the greatest value is: the first such place, or the last."""
    return _extreme(node, x, greatest=True)


@operator("ArgMin")
def arg_min(node: Node, x: Tensor) -> Tensor:
    """Where along an axis the least value is: the first such place, or the last."""
    return _extreme(node, x, greatest=False)


def _extreme(node: Node, x: Tensor, greatest: bool) -> Tensor:
    axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
    last = bool(node.get("select_last_index", 0))
    x = x.flip(axis) if last else x
    found = (torch.argmax if greatest else torch.argmin)(x, axis, keepdim=keep)
    return x.shape[axis] - 1 - found if last else found


@operator("TopK", read=(1,))
def top_k(node: Node, x: Tensor, k: Numbers | None = None) -> tuple[Tensor, Tensor]:
    """The k greatest (or least) values along an axis and their places; of equal ones, the first come first."""
    count, axis = node.get("k") if k is None else int(one(k)), node.get("axis", -1)
    if count is None or count > x.shape[axis]:
        raise BadModel(f"TopK asks for {count} of {x.shape[axis]} values.", "Export the model again.")
    kind = x.dtype
    wide = x.to(torch.int64) if kind in (torch.uint16, torch.uint32, torch.uint64) else x
    values, places = torch.sort(wide, dim=axis, descending=bool(node.get("largest", 1)), stable=True)
    return values.narrow(axis, 0, count).to(kind), places.narrow(axis, 0, count)


@operator("Unique")
def unique(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values (or slices) that differ, where each is first met, which each one is, and how often it is met."""
    axis = node.get("axis")
    x, along = (x.reshape(-1), 0) if axis is None else (x, axis % x.dim())
    values, inverse, counts = torch.unique(x, sorted=True, return_inverse=True, return_counts=True, dim=along)
    n = x.shape[along]
    order = torch.arange(n, device=x.device)
    first = torch.full_like(counts, n).scatter_reduce(0, inverse, order, "amin")
    if not node.get("sorted", 1):
        by_first = torch.argsort(first)
        values, first, counts = values.index_select(along, by_first), first[by_first], counts[by_first]
        inverse = torch.argsort(by_first)[inverse]
    return values, first, inverse, counts


@operator("ReverseSequence")
def reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    """The first `lengths` steps of each sample in reverse, the rest as they are."""
    time, batch = node.get("time_axis", 0), node.get("batch_axis", 1)
    steps = torch.arange(x.shape[time], device=x.device)[None]
    many = lengths.to(torch.int64)[:, None]
    places = torch.where(steps < many, many - 1 - steps, steps)
    places = places if batch < time else places.t()
    return torch.gather(x, time, places.reshape(*places.shape, *[1] * (x.dim() - 2)).expand(x.shape))


@operator("Trilu", read=(1,))
def trilu(node: Node, x: Tensor, k: Numbers | None = None) -> Tensor:
    """The upper (or the lower) triangle of matrices, zeros elsewhere."""
    diagonal = 0 if k is None else int(one(k))
    return torch.triu(x, diagonal) if node.get("upper", 1) else torch.tril(x, diagonal)


@operator("Range", shapely=True)
def range_(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Numbers from `start` on in steps, up to but without `limit`."""
    count = max(0, int(torch.ceil((limit.double() - start.double()) / delta.double())))
    if count > 1 << 31:
        raise BadModel(f"Range asks for {count} numbers.", "Export the model again.")
    return (torch.arange(count, device=start.device) * delta.reshape(()) + start.reshape(())).to(start.dtype)


@operator("EyeLike")
def eye_like(node: Node, x: Tensor) -> Tensor:
    """Ones on a diagonal, in the shape of the input."""
    from pellucid.doors.onnx.running.values import dtype

    code = node.get("dtype")
    ones = torch.ones(x.shape, dtype=x.dtype if code is None else dtype(code), device=x.device)
    k = node.get("k", 0)
    return torch.triu(torch.tril(ones, k), k)


@operator("CenterCropPad", read=(1,))
def center_crop_pad(node: Node, x: Tensor, to: Numbers) -> Tensor:
    """Axes cut down, or padded with zeros, on both sides until they have the length asked for."""
    for axis, length in zip(node.get("axes", range(x.dim())), ints(to), strict=True):
        axis, n = axis % x.dim(), x.shape[axis]
        if length <= n:
            x = x.narrow(axis, (n - length) // 2, length)
        else:
            before = (length - n) // 2
            x = F.pad(x, [*[0] * 2 * (x.dim() - 1 - axis), before, length - n - before])
    return x
