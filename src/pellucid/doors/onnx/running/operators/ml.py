"""What the operators of classical machine learning (ai.onnx.ml) share: numbers in attributes, classes, scores."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.graph import Weights
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.text import array

DOMAIN = "ai.onnx.ml"


def listed(node: Node, name: str) -> list[Any]:
    """The values of an attribute, or of its twin that ends in `_as_tensor`; empty when there is neither."""
    value = node.get(name) if node.get(name) is not None else node.get(f"{name}_as_tensor")
    if isinstance(value, Weights):
        return value.array().reshape(-1).tolist()  # type: ignore[no-any-return]
    return list(value or ())


def numbers(node: Node, name: str, x: Tensor) -> Tensor:
    """The numbers of an attribute, beside `x`; read once."""
    if name not in node.fixed:
        node.fixed[name] = torch.tensor(listed(node, name), dtype=torch.float64)
    found: Tensor = node.fixed[name]
    return found.to(x.device, x.dtype)


def as_floats(x: Tensor) -> Tensor:
    """Whole numbers as floating ones; floating ones as they are."""
    return x if x.is_floating_point() else x.to(torch.float32)


def rows(x: Tensor) -> Tensor:
    """`[samples, features]`; one sample may come without its axis."""
    return as_floats(x.unsqueeze(0) if x.dim() == 1 else x.flatten(1))


def classes(node: Node) -> list[Any]:
    """The labels of the classes, whole numbers or strings."""
    return list(node.get("classlabels_strings") or node.get("classlabels_int64s") or node.get("classlabels_ints") or ())


def named(labels: list[Any], which: Tensor) -> Any:
    """The label of each sample."""
    if labels and isinstance(labels[0], str):
        return array([labels[i] for i in which.tolist()], which.shape)
    return which if not labels else torch.tensor(labels, dtype=torch.int64, device=which.device)[which]


def transformed(scores: Tensor, how: str) -> Tensor:
    """Scores `[samples, classes]` as the attribute `post_transform` wants them."""
    if how in ("NONE", ""):
        return scores
    if how == "LOGISTIC":
        return torch.sigmoid(scores)
    if how == "SOFTMAX":
        return F.softmax(scores, -1)
    if how == "SOFTMAX_ZERO":
        kept = scores != 0
        shares = torch.where(kept, torch.exp(scores - scores.amax(-1, keepdim=True)), 0)
        return shares / shares.sum(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
    if how == "PROBIT":
        return 2**0.5 * torch.erfinv(2 * scores - 1)
    raise BadModel(f"Scores are to be transformed by {printable(how, 40)!r}.", "Export the model with another one.")


def opposed(score: Tensor, how: str, shares: bool) -> Tensor:
    """Two columns from the score of the second class alone; `shares` when it is one of 1 already."""
    if how == "PROBIT":
        return transformed(score, how)
    if shares:
        return torch.cat([1 - score, score], -1)
    both = torch.cat([-score, score], -1)
    return torch.sigmoid(both) if how == "LOGISTIC" else both
