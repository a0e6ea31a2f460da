"""Sequences, which are lists of tensors, and optional values, which may be None."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, ints, one


@operator("SequenceConstruct")
def construct(node: Node, *inputs: Any) -> list[Any]:
    """A sequence of the inputs."""
    return list(inputs)


@operator("SequenceEmpty")
def empty(node: Node) -> list[Any]:
    """A sequence of nothing."""
    return []


@operator("SequenceAt", read=(1,))
def at(node: Node, items: list[Any], position: Numbers) -> Any:
    """One of a sequence; negative positions count from its end."""
    i = one(position)
    if not -len(items) <= i < len(items):
        raise BadModel(f"The model reads item {i} of a sequence of {len(items)}.", "Check its inputs.")
    return items[i]


@operator("SequenceInsert", read=(2,))
def insert(node: Node, items: list[Any], item: Any, position: Numbers | None = None) -> list[Any]:
    """The sequence with one more, at a position or at its end."""
    i = len(items) if position is None else one(position)
    i = i + len(items) if i < 0 else i
    return [*items[:i], item, *items[i:]]


@operator("SequenceErase", read=(1,))
def erase(node: Node, items: list[Any], position: Numbers | None = None) -> list[Any]:
    """The sequence without one, by default the last."""
    i = (-1 if position is None else one(position)) % max(len(items), 1)
    return [*items[:i], *items[i + 1 :]]


@operator("SequenceLength")
def length(node: Node, items: list[Any]) -> Tensor:
    """How many there are."""
    return torch.tensor(len(items), dtype=torch.int64)


@operator("SplitToSequence", read=(1,))
def split_to_sequence(node: Node, x: Tensor, split: Any = None) -> list[Tensor]:
    """Parts along an axis: of length 1 (the axis is left out unless `keepdims`), of one length, or of those given."""
    axis = node.get("axis", 0)
    if split is None:
        parts = x.split(1, axis)  # type: ignore[no-untyped-call]
        return list(parts) if node.get("keepdims", 1) else [part.squeeze(axis) for part in parts]
    single = split.dim() == 0 if isinstance(split, Tensor) else isinstance(split, int)
    return list(x.split(one(split) if single else ints(split), axis))  # type: ignore[no-untyped-call]


@operator("ConcatFromSequence")
def concat_from_sequence(node: Node, items: list[Tensor]) -> Tensor:
    """All joined along an axis, which may be a new one."""
    axis = node.get("axis", 0)
    return torch.stack(items, axis) if node.get("new_axis", 0) else torch.cat(items, axis)


@operator("SequenceMap")
def sequence_map(node: Node, items: list[Any], *others: Any) -> Any:
    """The subgraph's outputs for each item; other sequences go along, other tensors stay."""
    more = node.kind.explicit - 1
    found = list[list[Any]]([] for _ in range(node.count))
    for i, item in enumerate(items):
        beside = [v[i] if isinstance(v, list) else v for v in others[:more]]
        out = node.subgraph("body")(item, *beside, *others[more:])
        for into, value in zip(found, out if node.count > 1 else (out,), strict=True):
            into.append(value)
    return tuple(found)


@operator("Optional")
def optional(node: Node, x: Any = None) -> Any:
    """The value, or nothing."""
    return x


@operator("OptionalGetElement")
def get_element(node: Node, x: Any = None) -> Any:
    """The value.  Raises `BadModel` when there is none."""
    if x is None:
        raise BadModel("The model reads an optional value that is not there.", "Check its inputs.")
    return x


@operator("OptionalHasElement")
def has_element(node: Node, x: Any = None) -> Tensor:
    """Is there a value?"""
    return torch.tensor(x is not None)
