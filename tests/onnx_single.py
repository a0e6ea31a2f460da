"""Models of one node: built from arrays, imported, run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor

from pellucid.doors.onnx import functions, support
from pellucid.doors.onnx.file import parse
from pellucid.doors.onnx.running import build
from pellucid.doors.onnx.running.module import OnnxModule
from pellucid.doors.onnx.running.values import from_array


def single(op: str, *inputs: Any, outputs: int = 1, domain: str = "", version: int = 18, **attributes: Any) -> Any:
    """The model, and what to feed it: `inputs` are arrays, or None for one that is left out."""
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], domain=domain, **attributes)
    fed = {name: np.asarray(value) for name, value in zip(names, inputs, strict=True) if name}
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in fed.items()
    ]
    graph = helper.make_graph([node], "one", values, [helper.make_empty_tensor_value_info(n) for n in node.output])
    opsets = [helper.make_opsetid("", version)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 3 if domain == "ai.onnx.ml" else 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=9), fed


def imported(model: onnx.ModelProto) -> OnnxModule:
    data = functions.inlined(parse.model(model, "one"))
    support.refuse_unknown(data)
    return build.module(data)


def answers(op: str, *inputs: Any, **options: Any) -> list[Any]:
    """All outputs of a single node for these arrays."""
    model, fed = single(op, *inputs, **options)
    with torch.no_grad():
        out = imported(model)(**{name: from_array(value) for name, value in fed.items()})
    return list(out.values()) if isinstance(out, dict) else [out]


def answer(op: str, *inputs: Any, **options: Any) -> Tensor:
    """Its one output."""
    (found,) = answers(op, *inputs, **options)
    assert isinstance(found, Tensor)
    return found


def numbers(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    """Normally distributed, in single precision."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
