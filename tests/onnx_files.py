"""ONNX files for tests: exports of small torch networks, models written as text, and files that are wrong."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, parser
from torch import Tensor, nn

EXPORTERS = ("dynamo", "older")


def exported(
    model: nn.Module, x: Tensor, path: Path, exporter: str = "older", free: bool = True, version: int | None = None
) -> Path:
    """The model as torch exports it; `free`: with a batch axis of any length; `version`: the operator set."""
    dynamo = exporter == "dynamo"
    options: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"]}
    if version is not None:
        options["opset_version"] = version
    if free:
        batch = {0: torch.export.Dim("batch", min=2, max=64)}
        options |= {"dynamic_shapes": (batch,)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}}}
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(model, (x,), str(path), dynamo=dynamo, verbose=False, **options)
    finally:
        logging.disable(logging.NOTSET)
    return path


def written(text: str, path: Path, version: int = 18, **metadata: str) -> Path:
    """A model in the standard's own notation: `agraph (float[N,3] x) => (float[N,3] y) { y = Relu(x) }`."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : {version}, "local" : 1]>\n{text}')
    helper.set_model_props(model, metadata)
    return saved(model, path)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def weighted(path: Path, **outside: str) -> Path:
    """`y = x + w`, with the four numbers of `w` in another file, at the place that is stated."""
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    if outside:
        w.data_location = TensorProto.EXTERNAL
        for key, value in outside.items():
            w.external_data.add(key=key, value=value)
    else:
        w.raw_data = torch.arange(4.0).numpy().tobytes()
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [w])
    return saved(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
