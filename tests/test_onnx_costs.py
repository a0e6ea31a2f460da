"""What an ONNX map says without running, held against a recorded pass of the same file."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.architecture.graph import Graph
from pellucid.architecture.sources.from_onnx import from_onnx
from pellucid.architecture.sources.from_tape import from_tape
from pellucid.architecture.sources.onnx_memory import viewed
from pellucid.architecture.unrun import of_onnx
from pellucid.core.recording.record import record_module
from pellucid.doors.onnx import functions, open_file
from pellucid.doors.onnx.file import parse
from pellucid.doors.onnx.probe import described
from pellucid.doors.onnx.running import build
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.shapes.folded import folded
from pellucid.doors.onnx.shapes.followed import followed
from pellucid.doors.onnx.shapes.inferred import inferring, with_shapes
from tests.networks import BLOCKS, Net, picture, seeded
from tests.onnx_cases import as_tensor, cases
from tests.onnx_files import exported, written
from tests.onnx_single import numbers, single

MS = "com.microsoft"
PRODUCTS = (
    "attention_*", "basic_conv*", "conv_*", "convinteger*", "convtranspose*", "qlinearconv*", "basic_deform_conv*",
    "causal_conv*", "gemm*", "matmul*", "qlinearmatmul*", "einsum*", "lstm*", "gru*", "simple_rnn*", "rnn*",
    "flexattention*", "linear_attention*", "relu*", "softmax_*", "layer_normalization_*", "batchnorm*", "maxpool*",
)  # fmt: skip


def costs(proto: Any, given: list[Any]) -> tuple[list[int | None], int]:
    """What the graph says of each operation, and what a pass counts in all."""
    model = parse.model(proto, "one")
    with inferring(proto, proto.SerializeToString()) as types:
        graph = from_onnx(with_shapes(model, followed(proto, model, types())))
    said = [f for f, family in zip(graph.nodes.flops, graph.nodes.family, strict=True) if family != "io"]
    tape = record_module(build.module(functions.inlined(model)), tuple(given), {})
    return said, tape.flops


@pytest.mark.parametrize("pattern", PRODUCTS)
def test_every_operator_of_the_standard_costs_what_a_pass_counts(pattern: str):
    found = [case for name, case in cases().items() if fnmatch(name, f"test_{pattern}") and "expanded" not in name]
    assert found
    for case in found:
        said, counted = costs(case.model, [as_tensor(v) for v in case.data_sets[0][0]])
        assert sum(f for f in said if f is not None) == counted and None not in said, case.name


def gaussian(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded(1))


def halves(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


A, B, ONE, LEVEL = numbers(1, 2, 4, 6), numbers(2, 2, 6, 5), np.float32(0.1), np.uint8(3)
X, W = numbers(1, 2, 5, 8), numbers(2, 8, 24)
RUNTIME: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "FusedMatMul": ([A, B], {}),
    "FusedMatMul ": ([numbers(1, 2, 6, 4), numbers(2, 2, 5, 6)], {"transA": 1, "transB": 1}),
    "FusedGemm": ([numbers(1, 4, 6), numbers(2, 6, 5)], {"activation": "Relu"}),
    "FusedConv": ([numbers(1, 2, 4, 6, 6), numbers(2, 6, 2, 3, 3)], {"group": 2, "activation": "Relu"}),
    "QGemm": ([halves(4, 6), ONE, LEVEL, halves(6, 5), ONE, LEVEL], {}),
    "MatMulIntegerToFloat": ([halves(4, 6), halves(6, 5), ONE, ONE], {}),
    "DynamicQuantizeMatMul": ([numbers(1, 4, 6), halves(6, 5), ONE], {}),
    "Attention": ([X, W, numbers(3, 24)], {"num_heads": 2}),
    "MultiHeadAttention": ([X, numbers(2, 2, 7, 8), numbers(3, 2, 7, 8)], {"num_heads": 2}),
    "MultiHeadAttention ": ([numbers(1, 2, 5, 2, 3, 4)], {"num_heads": 2}),
    "GroupQueryAttention": (
        [X, numbers(2, 2, 5, 4), numbers(3, 2, 5, 4), None, None, np.full(2, 4, np.int32), np.int32(5)],
        {"num_heads": 4, "kv_num_heads": 2, "outputs": 3},
    ),
    "BiasGelu": ([A, numbers(2, 6)], {}),
    "SkipLayerNormalization": ([X, X, numbers(2, 8), numbers(3, 8)], {}),
}


@pytest.mark.parametrize("name", RUNTIME)
def test_operators_of_onnx_runtime_cost_what_a_pass_counts(name: str):
    inputs, options = RUNTIME[name]
    model, fed = single(name.strip(), *inputs, domain=MS, **options)
    for value in model.graph.output:  # what the standard's inference does not know of them
        value.CopyFrom(_typed(model, fed)[value.name])
    said, counted = costs(model, [torch.from_numpy(np.asarray(v)) for v in fed.values()])
    assert said == [counted]
    assert (counted > 0) == (name not in ("BiasGelu", "SkipLayerNormalization"))


def _typed(model: Any, fed: dict[str, Any]) -> dict[str, Any]:
    import onnx

    module = build.module(functions.inlined(parse.model(model, "one")))
    out = module(**{name: torch.from_numpy(np.asarray(v)) for name, v in fed.items()})
    out = out if isinstance(out, dict) else {model.graph.output[0].name: out}
    return {k: onnx.helper.make_tensor_value_info(k, 1, list(v.shape)) for k, v in out.items()}


class Steps(nn.Module):
    """A recurrent layer and what exporters compute shapes for: padding, reshaping, repeating."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(12, 5, bidirectional=True, batch_first=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (1, 1, 0, x.shape[2] % 4))
        x = x.permute(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)
        out: Tensor = self.head(self.layer(x)[0]).mean(1)
        return out


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.reshape(x.shape[0], 8, 6).transpose(1, 2))
        out: Tensor = self.attend(x, x, x, need_weights=False)[0]
        return out.mean(1)


NETWORKS = {**{b: (lambda b=b: Net("module", "relu", b, 3)) for b in BLOCKS}, "steps": Steps, "heads": Heads}
EXPORTS = [*(("older", n) for n in NETWORKS), ("dynamo", "plain"), ("dynamo", "steps")]


@pytest.mark.parametrize(("exporter", "network"), EXPORTS)
def test_a_file_that_is_not_run_says_what_a_pass_says(exporter: str, network: str, tmp_path):
    model, x = NETWORKS[network]().eval(), gaussian(1, 2, 6, 4) if network in ("steps", "heads") else picture(1)[:1]
    path = exported(model, torch.cat([x, x]), tmp_path / "net.onnx", exporter)
    said, net = of_onnx(path), open_file(path)
    tape = record_module(net.model, (x,), {})
    assert said.totals.flops == tape.flops > 0
    assert said.totals.parameters == pl.map(net, x).totals.parameters
    passed = dict(_by_module(net.model, from_tape(tape, "")))
    compared = 0
    for name, op, shape, flops, parameters in _by_node(said.graph):
        if name in passed:
            theirs = passed[name]
            assert (tuple(n if isinstance(n, int) else 1 for n in shape), flops, parameters) == theirs, (op, theirs)
            compared += 1
    assert compared > 3


def _by_node(graph: Graph) -> Iterator[tuple[str, str, Any, int | None, int]]:
    n = graph.nodes
    yield from zip(n.site, n.op, n.shape, n.flops, n.parameters, strict=True)


def _by_module(model: nn.Module, graph: Graph) -> Iterator[tuple[str, Any]]:
    """Shape, FLOPs and parameters of what ran in each operation's module, by the name of the file's node."""
    for path, module in model.named_modules():
        if isinstance(module, Node) and module.kind.name:
            inside = [i for i, g in enumerate(graph.nodes.group) if graph.groups.path[g] == path]
            if inside and len({graph.groups.call[graph.nodes.group[i]] for i in inside}) == 1:
                n, group = graph.nodes, graph.nodes.group[inside[0]]
                counted = sum(n.flops[i] or 0 for i in inside)
                yield module.kind.name, (n.shape[inside[-1]], counted, graph.groups.parameters[group])


def test_views_take_no_memory_and_copies_do(tmp_path):
    text = """agraph (float[2,3,4] x) => (float[4,6] y, float[24] z, float[2,3,2] c, float[24] f, float[24] g)
        <int64[2] two = {4, 6}, int64[1] one = {-1}, int64[2] cut = {2, 2}>
        { t = Transpose <perm = [2, 0, 1]> (x) y = Reshape(t, two) z = Reshape(x, one) c, d = Split <axis = 2> (x, cut)
        e = Relu(t) f = Reshape(e, one) g = Reshape(t, one) }"""
    path = written(text, tmp_path / "net.onnx")
    nodes = of_onnx(path).graph.nodes
    bytes_of = dict(zip(nodes.op, nodes.bytes, strict=True))
    assert (bytes_of["Transpose"], bytes_of["Split"], bytes_of["Relu"]) == (0, 0, 96)
    assert [b for op, b in zip(nodes.op, nodes.bytes, strict=True) if op == "Reshape"] == [0, 0, 96, 96]
    tape = record_module(open_file(path).model, (torch.zeros(2, 3, 4),), {})
    counted = from_tape(tape, "").nodes
    assert sum(counted.bytes) == sum(nodes.bytes)


ARITHMETIC = {
    "s = Shape(x) n = Gather(s, none) m = Mul(n, two) w = Unsqueeze(m, row) y = Concat <axis = 0> (w, last)": (4, -1),
    "s = Shape(x) t = Slice(s, row, ends) r = ReduceProd(t) y = Div(r, pair)": (3,),
    "s = Shape(x) b = Equal(s, three) y = Where(b, pair, s)": (2, 2, 4),
    "f = ConstantOfShape <value = int64[1] {7}> (pair) y = Identity(f)": (7, 7),
    "q = Reshape(square, grid) r = Slice(q, last, far, row, last) t = Transpose(r) y = Reshape(t, last)": (3, 1, 4, 2),
    "r = Range(none, four, one) f = Cast <to = 1> (r) h = Mul(f, half) g = Floor(h) y = Cast <to = 7> (g)": (
        0,
        0,
        1,
        1,
    ),
    "n = Neg(four) d = Div(n, three) y = Unsqueeze(d, row)": (-1,),
}


@pytest.mark.parametrize("nodes", ARITHMETIC)
def test_what_is_computed_about_shapes_is_computed_without_running(nodes: str, tmp_path):
    text = f"""agraph (float[2,3,4] x) => (int64[K] y) <int64 none = {{0}}, int64 one = {{1}}, int64 two = {{2}},
        int64 three = {{3}}, int64 four = {{4}}, int64[1] row = {{0}}, int64[1] ends = {{2}}, int64[1] last = {{-1}},
        int64[1] pair = {{2}}, int64[4] square = {{1, 2, 3, 4}}, int64[2] grid = {{-1, 2}}, float half = {{0.5}},
        int64[1] far = {{-9223372036854775807}}> {{ {nodes} }}"""
    path = written(text, tmp_path / "net.onnx")
    found = folded(described(path).graph, {"x": (2, 3, 4)})["y"]
    run = open_file(path).model(torch.zeros(2, 3, 4)).tolist()
    assert list(found.numbers) == run == list(ARITHMETIC[nodes])


def test_numbers_that_would_fill_the_memory_are_left_alone(tmp_path):
    grow = " ".join(f"v{i + 1} = Mul(v{i}, v{i})" for i in range(12))
    text = f"""agraph (float[2] x) => (float[M] y) <int64[1] v0 = {{1000}}, int64[1] huge = {{4000000000000}}>
        {{ {grow} z = ConstantOfShape(huge) y = ConstantOfShape(v12) }}"""
    found = folded(described(written(text, tmp_path / "net.onnx")).graph, {"x": (2,)})
    assert set(found) == {"v1", "v2"}  # 10^6 and 10^12; 10^24 is no size any more


@pytest.mark.parametrize("seed", range(3))
def test_views_are_those_of_torch(seed: int):
    """Random turns, cuts and shapes: a view is one exactly where torch can make it without a copy."""
    draw = np.random.default_rng(seed)
    for _ in range(300):
        size = tuple(draw.integers(1, 5, draw.integers(1, 5)).tolist())
        x = torch.zeros(size).permute(*draw.permutation(len(size)).tolist())
        x = x[..., : draw.integers(1, x.shape[-1] + 1)] if draw.random() < 0.3 else x
        after = _split(draw, x.numel())
        try:
            wanted = tuple(x.view(after).stride())
        except RuntimeError:
            wanted = None
        found = viewed(tuple(x.shape), x.stride(), after)
        assert (found is None) == (wanted is None), (x.shape, x.stride(), after)
        if found is not None and wanted is not None:
            assert [s for s, n in zip(found, after, strict=True) if n > 1] == [
                s for s, n in zip(wanted, after, strict=True) if n > 1
            ]


def _split(draw: np.random.Generator, count: int) -> tuple[int, ...]:
    found: list[int] = []
    while count > 1:
        divisors = [n for n in range(1, count + 1) if count % n == 0]
        found.append(int(draw.choice(divisors)))
        count //= found[-1]
    return tuple(found)


def test_a_file_with_other_free_axes_says_nothing_about_them(tmp_path):
    ones = ", ".join("1" * 24)
    text = f"agraph (float[N,L] x) => (float[N,4] y) <float[6,4] w = {{{ones}}}> {{ y = MatMul(x, w) }}"
    found = of_onnx(written(text, tmp_path / "net.onnx"))
    assert found.totals.flops is None and found.totals.parameters == 24
