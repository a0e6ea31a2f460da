"""What passes between operators: torch's types for ONNX's, and the numbers of shapes and axes."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.errors import BadInput, BadModel
from pellucid.doors.onnx.graph import DTYPES, Dims, Weights

Numbers: TypeAlias = Tensor | Sequence[Any] | float  # a shape, axes, a count: Python's own where they are read ahead
# How many samples go through a model that was exported for one; `OnnxModule.forward` says it.
samples: ContextVar[int] = ContextVar("onnx_samples", default=1)
# Types that torch has not, or only packed: one number is kept a byte, in a type that has all of theirs.
_WIDER = {
    "uint4": torch.uint8, "int4": torch.int8, "uint2": torch.uint8, "int2": torch.int8,
    "float4_e2m1fn": torch.float8_e4m3fn,
}  # fmt: skip


def dtype(code: int) -> torch.dtype:
    """The torch type for ONNX's number of a type.  Raises `BadModel` for those that torch does not have."""
    return named_dtype(DTYPES.get(code, str(code)))


def named_dtype(name: str) -> torch.dtype:
    """The torch type of that name."""
    found = _WIDER.get(name) or getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise BadModel(f"torch has no numbers of type {name}.", "Export the model with another type.")
    return found


def tensor(stored: Weights) -> Any:
    """A stored tensor as a tensor of its own; strings stay a NumPy array."""
    return from_array(stored.array(), stored.dtype)


def from_array(array: NDArray[Any], name: str = "") -> Any:
    """A NumPy array (of `ml_dtypes` too) as a tensor."""
    name = name or array.dtype.name
    if array.dtype.kind in "OUST":
        return array.astype(object)
    target = named_dtype(name)
    shape, flat = array.shape, array.reshape(-1)
    if name == "float4_e2m1fn":
        return torch.from_numpy(flat.astype(np.float32)).to(target).reshape(shape)
    if name in _WIDER:
        flat = flat.astype(np.uint8 if name.startswith("u") else np.int8)
    elif name.startswith(("bfloat", "float8")):
        raw = torch.from_numpy(flat.view(np.uint8 if flat.dtype.itemsize == 1 else np.uint16).copy())
        return raw.view(target).reshape(shape)
    return torch.from_numpy(flat.copy()).reshape(shape)


def ints(x: Any) -> list[int]:
    """The numbers of a shape, of axes or of sizes."""
    if isinstance(x, Tensor):
        return [int(v) for v in x.reshape(-1).tolist()]
    return [int(v) for v in (x if isinstance(x, list | tuple) else [x])]


def one(x: Any) -> Any:
    """The number in a tensor of one, which says how to compute and is no data: a count, an axis, a limit."""
    if isinstance(x, Tensor):
        return x.reshape(-1)[0].item()
    return x[0] if isinstance(x, list) else x


def axes(node: Any, given: Any) -> list[int] | None:
    """Axes as an input (newer operator sets) or as an attribute (older ones)."""
    if given is not None:
        return ints(given)
    stated = node.get("axes")
    return None if stated is None else list(stated)


def refuse_misfit(name: str, shape: Dims, x: Tensor, batch: int | None) -> None:
    """Raise `BadInput` for an input of another number of axes, or of samples where the file fixes it (`batch`)."""
    if x.dim() != len(shape):
        wanted = " x ".join("any" if d is None else str(d) for d in shape) or "one number"
        raise BadInput(f"Input {name!r} has shape {tuple(x.shape)}; the model takes {wanted}.", "Reshape it.")
    if batch is not None and x.shape[0] != batch:
        raise BadInput(
            f"Input {name!r} has {x.shape[0]} samples; the file was exported for exactly {batch}.",
            "Use pl.running(pl.Run(max_batch=1)), or export it with a free batch axis (dynamic_axes).",
        )
