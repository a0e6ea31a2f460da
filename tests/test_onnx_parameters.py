"""What counts as a parameter of an ONNX file: the same run and not run, as many as in the network it came from."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import pellucid as pl
from pellucid.architecture.unrun import of_onnx
from tests.onnx_files import EXPORTERS, exported

FLOAT, MS = TensorProto.FLOAT, "com.microsoft"
LEVELS = np.random.default_rng(0).integers(-100, 100, (8, 3, 3, 3)).astype(np.int8)
BIAS, SCALE, ZERO = np.arange(8, dtype=np.int32), np.float32(0.1), np.int8(0)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def file(folder: Path, nodes: list[Any], stored: dict[str, Any], x: Any = (1, 3, 8, 8), outside: bool = False) -> Path:
    weights = [numpy_helper.from_array(np.asarray(v), name) for name, v in stored.items()]
    given = [helper.make_tensor_value_info("x", FLOAT, x)]
    graph = helper.make_graph(nodes, "g", given, [helper.make_empty_tensor_value_info("y")], weights)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MS, 1)]
    path = folder / "model.onnx"
    more: dict[str, Any] = {"save_as_external_data": True, "size_threshold": 0} if outside else {}
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path, **more)
    return path


def counts(path: Path, x: tuple[int, ...]) -> tuple[int, int]:
    """How many parameters a file has in its tree, and what they take: not run, run, and as modules alone."""
    read, run = of_onnx(path), pl.map(path, x)
    found = (read.totals.parameters, read.totals.parameter_bytes or 0)
    assert found == (run.totals.parameters, run.totals.parameter_bytes) and run.totals.unused == 0
    assert pl.record(pl.open(path), torch.zeros(x)).parameters == found[0]
    assert sum(read.graph.nodes.parameters) == sum(run.graph.nodes.parameters) == found[0]  # no weight is shared here
    return found


def quantized(kind: str) -> tuple[list[Any], dict[str, Any]]:
    """A convolution of eight-bit weights, as the three ways of ONNX Runtime's quantizer write it."""
    node, stored = helper.make_node, {"w": LEVELS, "s": SCALE, "z": ZERO, "b": BIAS}
    if kind == "around":
        return [
            node("DequantizeLinear", ["w", "s", "z"], ["wf"]), node("DequantizeLinear", ["b", "bs"], ["bf"], axis=0),
            node("QuantizeLinear", ["x", "s", "z"], ["xq"]), node("DequantizeLinear", ["xq", "s", "z"], ["xf"]),
            node("Conv", ["xf", "wf", "bf"], ["y"]),
        ], stored | {"bs": np.full(8, 0.1, np.float32)}  # fmt: skip
    if kind == "within":
        inputs = ["xq", "s", "z", "w", "ws", "wz", "s", "z", "b"]
        return [
            node("QuantizeLinear", ["x", "s", "z"], ["xq"]), node("QLinearConv", inputs, ["yq"]),
            node("DequantizeLinear", ["yq", "s", "z"], ["y"]),
        ], stored | {"ws": np.full(8, 0.1, np.float32), "wz": np.zeros(8, np.int8)}  # fmt: skip
    return [
        node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]), node("ConvInteger", ["xq", "w", "xz", "z"], ["h"]),
        node("Cast", ["h"], ["f"], to=FLOAT), node("Mul", ["xs", "ws"], ["m"]), node("Mul", ["f", "m"], ["g"]),
        node("Add", ["g", "bias"], ["y"]),
    ], {"w": LEVELS, "z": ZERO, "ws": np.ones((1, 8, 1, 1), np.float32),
        "bias": np.ones((1, 8, 1, 1), np.float32)}  # fmt: skip


@pytest.mark.parametrize("kind", ["around", "within", "in the pass"])
def test_a_quantized_network_has_as_many_parameters_as_before(tmp_path: Path, kind: str) -> None:
    path = file(tmp_path, *quantized(kind))
    held = {w.name: prod(w.dims) for w in onnx.load(path).graph.initializer}
    learned = [name for name in ("w", "b", "bias") if name in held]
    found, size = counts(path, (1, 3, 8, 8))
    assert found == count(nn.Conv2d(3, 8, 3)) == sum(held[name] for name in learned)
    assert size == LEVELS.size + 4 * 8


def test_numbers_that_share_a_byte_count_each(tmp_path: Path) -> None:
    stored = {"w": np.zeros((6, 2, 16), np.uint8), "s": np.ones((6, 2), np.float32)}
    nodes = [helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain=MS, K=64, N=6, bits=4, block_size=32)]
    assert counts(file(tmp_path, nodes, stored, (1, 64)), (1, 64)) == (count(nn.Linear(64, 6, bias=False)), 6 * 32)


class Recurrent(nn.Module):
    def __init__(self, learned: bool) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(4, 6, batch_first=True, bidirectional=True), nn.Linear(12, 2)
        self.state = nn.Parameter(torch.randn(2, 1, 6)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        state = None if self.state is None else (self.state.expand(-1, len(x), -1).contiguous(),) * 2
        return self.head(self.layer(x, state)[0][:, -1])


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("learned", [False, True])
def test_a_state_of_zeros_to_begin_with_is_no_parameter_and_a_learned_one_is(
    tmp_path: Path, learned: bool, free: bool
) -> None:
    model = Recurrent(learned).eval()
    path = exported(model, torch.zeros(2, 5, 4), tmp_path / "lstm.onnx", free=free)
    read, run = of_onnx(path), pl.map(path, (2, 5, 4))
    assert read.totals.parameters == run.totals.parameters == count(model)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_statistics_and_constants_are_none(tmp_path: Path, exporter: str) -> None:
    class Scaled(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / 0.2)

    model = Scaled(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.PReLU(4)).eval()
    path = exported(model, torch.rand(2, 3, 8, 8), tmp_path / "model.onnx", exporter)
    read, run = of_onnx(path).totals.parameters, pl.map(path, (2, 3, 8, 8)).totals.parameters
    held = sum(prod(w.dims) for w in onnx.load(path).graph.initializer)
    assert read == run == count(model) + 3 * (exporter == "dynamo")  # which writes a constant tensor like a weight
    assert held >= read


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize(("numbers", "parameters"), [(-np.inf, 0), (0.5, 64 * 64)])
def test_a_mask_of_infinities_is_no_parameter(tmp_path: Path, numbers: float, parameters: int, outside: bool) -> None:
    mask = np.triu(np.full((64, 64), numbers, np.float32), 1)
    path = file(tmp_path, [helper.make_node("Add", ["x", "m"], ["y"])], {"m": mask}, (1, 64, 64), outside)
    assert counts(path, (1, 64, 64))[0] == parameters


def test_constants_that_layers_take_as_weights_are_parameters(tmp_path: Path) -> None:
    """As exporters write them that have no initializers."""
    held = {"w": np.ones((4, 6), np.float32), "b": np.ones(4, np.float32), "m": np.ones(6, np.float32)}
    nodes = [helper.make_node("Constant", [], [k], value=numpy_helper.from_array(v)) for k, v in held.items()]
    nodes += [
        helper.make_node("Mul", ["x", "m"], ["h"]), helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["h", "t"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"]),
    ]  # fmt: skip
    assert counts(file(tmp_path, nodes, {}, (1, 6)), (1, 6)) == (28, 4 * 28)


def test_branches_may_use_one_name_for_two_weights(tmp_path: Path) -> None:
    branches = {
        key: helper.make_graph(
            [helper.make_node("Add", ["x", "w"], [key])], key, [], [helper.make_tensor_value_info(key, FLOAT, [4])],
            [numpy_helper.from_array(np.full(4, fill, np.float32), "w")],
        )
        for key, fill in (("then_branch", 1), ("else_branch", 2))
    }  # fmt: skip
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["t"], keepdims=0), helper.make_node("Greater", ["t", "o"], ["c"]),
        helper.make_node("If", ["c"], ["y"], **branches),
    ]  # fmt: skip
    path = file(tmp_path, nodes, {"o": np.float32(0)}, (4,))
    assert of_onnx(path).totals.parameters == pl.map(path, (4,)).totals.parameters == 8


def test_weights_need_no_operators(tmp_path: Path) -> None:
    held = np.arange(16, dtype=np.float32).reshape(4, 4)
    stored = {"w": held, "shape": np.array([1, 4])}
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["h"]), helper.make_node("Own", ["h", "w"], ["y"], domain=MS)]
    found = pl.weights(file(tmp_path, nodes, stored, (1, 4)))
    assert [(t.name, t.shape) for t in found.tensors] == [("w", (4, 4))]
    assert found.tensors[0].norm == pytest.approx(float(np.linalg.norm(held)))
    assert "1 operator that is not known" in found.notes[0]
