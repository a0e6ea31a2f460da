"""Columns chosen and joined, categories as numbers, names as other names."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.graph import Weights
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.ml import DOMAIN
from pellucid.doors.onnx.running.operators.text import array, texts
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import from_array


@operator("ArrayFeatureExtractor", domain=DOMAIN)
def extract(node: Node, x: Any, which: Tensor) -> Any:
    """Some of the last axis."""
    places = which.reshape(-1).to(torch.int64)
    if not isinstance(x, Tensor):
        return np.asarray(x)[..., places.tolist()]
    return (x.unsqueeze(0) if x.dim() == 1 else x).index_select(-1, places.to(x.device))


@operator("FeatureVectorizer", domain=DOMAIN)
def join(node: Node, *inputs: Tensor) -> Tensor:
    """All features side by side; each input is cut to, or filled up with zeros to, its stated number."""
    sizes = node.get("inputdimensions") or [None] * len(inputs)
    parts = list[Tensor]()
    for x, size in zip(inputs, sizes, strict=False):
        part = (x.unsqueeze(0) if x.dim() == 1 else x.flatten(1)).to(torch.float32)
        if size is not None and size != part.shape[1]:
            part = torch.nn.functional.pad(part, (0, size - part.shape[1]))
        parts.append(part)
    return torch.cat(parts, -1)


@operator("OneHotEncoder", domain=DOMAIN)
def one_hot(node: Node, x: Any) -> Tensor:
    """1 at the place of the category on a new last axis, all 0 for an unknown one when `zeros`."""
    if isinstance(x, Tensor):
        known = torch.tensor(node.get("cats_int64s", ()), device=x.device)
        found = x.unsqueeze(-1).to(torch.int64) == known
    else:
        pool = list(node.get("cats_strings", ()))
        found = torch.tensor([[t == c for c in pool] for t in texts(x)], dtype=torch.bool)
        found = found.reshape(*np.asarray(x).shape, len(pool))
    if not node.get("zeros", 1) and not bool(found.any(-1).all()):
        raise BadModel("The model was given a category that it does not know.", "Check the input's values.")
    return found.to(torch.float32)


@operator("ZipMap", domain=DOMAIN)
def zip_map(node: Node, scores: Tensor) -> Tensor:
    """The scores as they are: a table `[samples, classes]` says more than a list of dicts, and has a gradient."""
    return scores


@operator("LabelEncoder", domain=DOMAIN)
def encode_classes(node: Node, x: Any) -> Any:
    """Operator set 1: strings to their places in a list, or places to strings."""
    pool = list(node.get("classes_strings", ()))
    if isinstance(x, Tensor):
        return _looked_up(x, range(len(pool)), pool, node.get("default_string", "_Unused"))
    return _looked_up(x, pool, list(range(len(pool))), node.get("default_int64", -1))


@operator("CategoryMapper", domain=DOMAIN)
def map_categories(node: Node, x: Any) -> Any:
    """Strings to whole numbers, or back."""
    names, codes = list(node.get("cats_strings", ())), list(node.get("cats_int64s", ()))
    if isinstance(x, Tensor):
        return _looked_up(x, codes, names, node.get("default_string", "_Unused"))
    return _looked_up(x, names, codes, node.get("default_int64", -1))


@operator("LabelEncoder", since=2, domain=DOMAIN)
def encode(node: Node, x: Any) -> Any:
    """Each value replaced by the one beside it in a table."""
    keys, _ = _column(node, "keys")
    values, kind = _column(node, "values")
    usual = {"strings": ("string", "_Unused"), "int64s": ("int64", -1), "floats": ("float", -0.0)}
    if kind in usual:
        return _looked_up(x, keys, values, node.get(f"default_{usual[kind][0]}", usual[kind][1]))
    stated = node.get("default_tensor")
    if isinstance(stated, Weights):
        missing = stated.array().reshape(-1).tolist()[0]
    else:
        missing = "_Unused" if kind == "string" else 0 if kind.startswith("float") else -1
    out = _looked_up(x, keys, values, missing)
    return out.to(getattr(torch, kind)) if isinstance(out, Tensor) else out


def _column(node: Node, side: str) -> tuple[list[Any], str]:
    for kind in ("strings", "int64s", "floats"):
        if node.get(f"{side}_{kind}") is not None:
            return list(node.get(f"{side}_{kind}")), kind
    stored = node.get(f"{side}_tensor")
    if not isinstance(stored, Weights):
        raise BadModel(f"A label encoder has no {printable(side)}.", "Export the model again.")
    values = stored.array().reshape(-1)
    if stored.dtype == "string":
        return texts(values), "string"
    return from_array(values).tolist(), stored.dtype


def _looked_up(x: Any, keys: Sequence[Any], values: Sequence[Any], missing: Any) -> Any:
    asked = x.reshape(-1).tolist() if isinstance(x, Tensor) else texts(x)
    shape = tuple(x.shape) if isinstance(x, Tensor) else np.asarray(x).shape
    table = {_key(k): v for k, v in zip(keys, values, strict=True)}
    found = [table.get(_key(v), missing) for v in asked]
    if isinstance(missing, str | bytes):
        return array(texts(found), shape)
    kind = torch.int64 if isinstance(missing, int) else torch.float32
    return torch.tensor(found, dtype=kind, device=x.device if isinstance(x, Tensor) else None).reshape(shape)


def _key(value: Any) -> Any:
    """Every NaN is the same key."""
    if isinstance(value, float) and isnan(value):
        return "NaN", "NaN"
    return value.decode() if isinstance(value, bytes) else value
