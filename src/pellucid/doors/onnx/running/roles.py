"""Which stored tensors are shapes and the like, and what the others are called in the module of their node."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.doors.onnx.graph import FEW, Weights
from pellucid.doors.onnx.graph import Node as Given
from pellucid.doors.onnx.running.module import Node

_NAMES: Mapping[str, tuple[str, ...]] = {
    "BatchNormalization": ("input", "weight", "bias", "running_mean", "running_var"),
    "PRelu": ("input", "weight"),
    "Gather": ("weight", "indices"),
}
_USUAL = ("Conv", "ConvTranspose", "Gemm", "InstanceNormalization", "GroupNormalization", "LayerNormalization")


def is_shape(value: Any) -> bool:
    """Few whole numbers in a row: a shape, axes, sizes.  These are kept on the CPU, where they are read."""
    if isinstance(value, Weights):
        return value.dtype in ("int64", "int32") and len(value.shape) <= 1 and value.count <= FEW
    if isinstance(value, Tensor):
        return value.dtype in (torch.int64, torch.int32) and value.dim() <= 1 and value.numel() <= FEW
    return False


def buffer_name(node: Given, position: int, name: str, taken: Sequence[Any]) -> str:
    """What a stored tensor is called in the module of its node: `weight`, `bias`, or the end of its own name."""
    names = _NAMES.get(node.op) or (("input", "weight", "bias") if node.op in _USUAL else ())
    end = re.sub(r"\W", "_", name.rpartition(".")[2] if "." in name else "")[:40]
    if node.domain or position >= len(names):
        found = end if end.isidentifier() else f"constant_{position}"
    else:
        found = names[position]
    while found in taken or hasattr(nn.Module, found) or found in _OWN:
        found += "_"
    return found


_OWN = {*vars(Node), "kind", "operator", "parts", "fixed", "plain"}  # what nodes hold under their own names
