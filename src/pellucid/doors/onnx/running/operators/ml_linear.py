"""Linear models, scaling, and other simple maps of features."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.ml import (
    DOMAIN,
    as_floats,
    classes,
    named,
    numbers,
    opposed,
    rows,
    transformed,
)
from pellucid.doors.onnx.running.registry import operator


def _scores(node: Node, x: Tensor, count: int) -> Tensor:
    weight, bias = numbers(node, "coefficients", x).reshape(count, -1), numbers(node, "intercepts", x)
    return F.linear(x, weight, bias if len(bias) else None)


@operator("LinearRegressor", domain=DOMAIN)
def regress(node: Node, x: Tensor) -> Tensor:
    """A weighted sum of the features for each target."""
    return transformed(_scores(node, rows(x), node.get("targets", 1)), node.get("post_transform", "NONE"))


@operator("LinearClassifier", domain=DOMAIN)
def classify(node: Node, x: Tensor) -> tuple[Any, Tensor]:
    """The class with the greatest score, and the scores."""
    x, labels, how = rows(x), classes(node), node.get("post_transform", "NONE")
    scores = _scores(node, x, numbers(node, "coefficients", x).numel() // x.shape[1])
    if scores.shape[1] == 1 and len(labels) == 2:
        return named(labels, (scores[:, 0] > 0).to(torch.int64)), opposed(scores, how, shares=False)
    return named(labels, scores.argmax(-1)), transformed(scores, how)


@operator("Scaler", domain=DOMAIN)
def scale(node: Node, x: Tensor) -> Tensor:
    """(x - offset) scale, for all features or for each."""
    x = as_floats(x)
    offset, factor = numbers(node, "offset", x), numbers(node, "scale", x)
    x = x - offset if len(offset) else x
    return x * factor if len(factor) else x


@operator("Normalizer", domain=DOMAIN)
def normalize(node: Node, x: Tensor) -> Tensor:
    """Each sample divided by its greatest value, its sum of magnitudes or its length; one of zeros stays."""
    x, norm = as_floats(x), node.get("norm", "MAX")
    axis = -1 if x.dim() > 1 else 0
    if norm == "MAX":
        size = x.amax(axis, keepdim=True)
    else:
        size = torch.linalg.vector_norm(x, 1 if norm == "L1" else 2, axis, keepdim=True)
    return x / torch.where(size == 0, torch.ones_like(size), size)


@operator("Binarizer", domain=DOMAIN)
def binarize(node: Node, x: Tensor) -> Tensor:
    """1 above a threshold, else 0."""
    limit: float = node.get("threshold", 0.0)
    return (x > limit).to(x.dtype)


@operator("Imputer", domain=DOMAIN)
def impute(node: Node, x: Tensor) -> Tensor:
    """Missing values replaced, for all features alike or for each."""
    whole = node.get("imputed_value_int64s")
    missing = node.get("replaced_value_int64", 0) if whole else node.get("replaced_value_float", 0.0)
    value = numbers(node, "imputed_value_int64s" if whole else "imputed_value_floats", x)
    gone = torch.isnan(x) if missing != missing else x == missing
    return torch.where(gone, value.to(x.dtype), x)
