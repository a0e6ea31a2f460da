"""ONNX files as graphs, not run: costs by the formulas, modules by names, bodies inside their operators."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.architecture.architecture import Architecture
from pellucid.architecture.compared.difference import Difference
from pellucid.architecture.graph import shape_text
from pellucid.architecture.sources.from_onnx import from_onnx
from pellucid.architecture.unrun import of_onnx
from pellucid.architecture.weights import Weights
from pellucid.doors.onnx.file.parse import model as parsed_model
from pellucid.render.graph.page import built
from pellucid.render.terminal import terminal
from pellucid.surfaces.command_map import ENDINGS, MAP_ENDINGS
from pellucid.surfaces.show import endings, view_of
from pellucid.views.architecture import totals_words

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402  # after it is known to be there

FLOAT = TensorProto.FLOAT


def value(name, *shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def weight(name, *shape):
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def saved(folder: Path, nodes, inputs, outputs, weights=(), name="model.onnx") -> Path:
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    path = folder / name
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def small(folder: Path, batch, name="small.onnx") -> Path:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], "/stem/conv/Conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"], "/stem/act/Relu"),
        helper.make_node("Flatten", ["r"], ["f"], "/Flatten"),
        helper.make_node("Gemm", ["f", "v"], ["y"], "/fc/Gemm"),
    ]
    weights = [weight("w", 8, 3, 3, 3), weight("b", 8), weight("v", 128, 10)]
    return saved(folder, nodes, [value("x", batch, 3, 8, 8)], [value("y", batch, 10)], weights, name)


def test_one_weight_under_several_names_is_one_weight_and_a_bound_is_none(tmp_path):
    """As older exporters of torch write biases that are alike, through Identity, and the bounds of ReLU6."""
    nodes = [
        helper.make_node("Identity", ["b"], ["b2"]),
        helper.make_node("Add", ["x", "b"], ["h"]),
        helper.make_node("Clip", ["h", "low", "high"], ["c"]),
        helper.make_node("Add", ["c", "b2"], ["y"]),
    ]
    bounds = [numpy_helper.from_array(np.float32(v), name) for name, v in (("low", 0), ("high", 6))]
    path = saved(tmp_path, nodes, [value("x", 1, 4)], [value("y", 1, 4)], [weight("b", 4), *bounds])
    found = of_onnx(path)
    assert [op for op in found.graph.nodes.op if op not in ("input", "output")] == ["Add", "Clip", "Add"]
    assert found.graph.nodes.parameters[1:4] == (4, 0, 4)
    assert found.totals.parameters == 4


@pytest.mark.parametrize("batch", [1, "batch"])
def test_costs_are_those_of_the_formulas_and_groups_those_of_the_names(tmp_path, batch):
    found = pl.map(small(tmp_path, batch))
    graph = found.graph
    assert graph.nodes.op == ("input", "Conv", "Relu", "Flatten", "Gemm", "output")
    assert found.totals.parameters == 8 * 27 + 8 + 1280 and found.totals.parameter_bytes == 4 * found.totals.parameters
    assert graph.nodes.flops[1] == 2 * (8 * 16) * 27 and graph.nodes.flops[4] == 2 * 128 * 10
    assert graph.nodes.shape[1] == (batch, 8, 4, 4) and graph.nodes.label[1] == "8x3x3x3, stride 2, pad 1"
    assert graph.groups.path == ("", "stem", "stem.conv", "stem.act", "fc")
    assert set(zip(graph.edges.source, graph.edges.target, strict=True)) == {(i, i + 1) for i in range(5)}
    assert graph.nodes.bytes[1] == 4 * 8 * 16 and "without running" in found.notes[0]


def test_the_body_of_a_branch_lies_in_a_group_and_feeds_its_operator(tmp_path):
    branch = {
        key: helper.make_graph([helper.make_node(op, ["x"], [key])], key, [], [value(key, 4)])
        for key, op in (("then_branch", "Relu"), ("else_branch", "Tanh"))
    }
    nodes = [helper.make_node("If", ["c"], ["y"], "choose", **branch)]
    path = saved(tmp_path, nodes, [value("x", 4), value("c", kind=TensorProto.BOOL)], [value("y", 4)])
    graph = pl.map(path).graph
    at = {op: i for i, op in enumerate(graph.nodes.op)}
    edges = set(zip(graph.edges.source, graph.edges.target, strict=True))
    assert {(0, at["Relu"]), (0, at["Tanh"]), (at["Relu"], at["If"]), (at["Tanh"], at["If"]), (1, at["If"])} <= edges
    assert graph.groups.path[graph.nodes.group[at["Relu"]]] == "choose.then_branch"


def test_what_is_carried_through_a_loop_comes_from_outside(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Mul", ["s", "x"], ["t"])], "body",
        [value("i", kind=TensorProto.INT64), value("ok", kind=TensorProto.BOOL), value("s", 4)],
        [value("ok", kind=TensorProto.BOOL), value("t", 4)],
    )  # fmt: skip
    nodes = [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Loop", ["m", "", "n"], ["y"], body=body)]
    path = saved(tmp_path, nodes, [value("x", 4), value("m", kind=TensorProto.INT64)], [value("y", 4)])
    graph = pl.map(path).graph
    at = {op: i for i, op in enumerate(graph.nodes.op)}
    edges = set(zip(graph.edges.source, graph.edges.target, strict=True))
    assert {(at["Neg"], at["Mul"]), (0, at["Mul"]), (at["Mul"], at["Loop"]), (at["Neg"], at["Loop"])} <= edges


def test_constants_are_no_boxes_and_learned_ones_are_parameters():
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([1, 8]))),
        helper.make_node("Constant", [], ["scale"], value=numpy_helper.from_array(np.ones((2, 4), np.float32))),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("MatMul", ["scale", "x"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", 4, 2)], [value("y", 2, 2), value("r", 1, 8)])
    found = from_onnx(parsed_model(helper.make_model(graph)))
    assert found.nodes.op == ("input", "Reshape", "MatMul", "output", "output")
    assert found.nodes.parameters == (0, 0, 8, 0, 0) and found.nodes.flops[2] == 2 * 4 * 4


def test_what_no_shape_is_known_of_costs_nothing_that_is_claimed(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    path = saved(tmp_path, nodes, [value("x", "a", "b")], [value("y", "a", 4)], [weight("w", 3, 4)])
    found = pl.map(path)
    assert found.totals.flops is None and found.totals.parameters == 12


def test_a_size_below_nought_is_a_free_one(tmp_path):
    """Some exporters write -1 for a free size, also in what they state of values in between."""
    totals = pl.map(small(tmp_path, "batch")).totals
    path = small(tmp_path, -1)
    stated = onnx.load(path)
    stated.graph.value_info.extend([value("h", -1, 8, 4, 4), value("r", -1, 8, 4, 4), value("f", -1, 128)])
    onnx.save(stated, tmp_path / "stated.onnx")
    assert pl.map(path).graph.nodes.shape[1] == ("batch", 8, 4, 4)
    assert pl.map(path).totals == pl.map(tmp_path / "stated.onnx").totals == totals
    assert not totals.more_flops and not totals.more_bytes


def test_what_is_known_in_part_is_said_to_be_at_least_that(tmp_path):
    """One product has sizes that the file tells, the other a side that nobody knows."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Conv", ["z", "v"], ["c"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
    ]
    inputs = [value("x", 2, 3), value("z", 1, 3, "height", "width")]
    weights = [weight("w", 3, 4), weight("v", 5, 3, 3, 3)]
    path = saved(tmp_path, nodes, inputs, [value("h", 2, 4), value("p", 1, 5, 1, 1)], weights)
    found = pl.map(path)
    totals = found.totals
    assert (totals.flops, totals.more_flops) == (2 * 2 * 3 * 4, True)
    assert (totals.activation_bytes, totals.more_bytes) == (4 * (2 * 4 + 5), True)
    words = totals_words(totals)
    assert totals.unknown_flops == 1  # the convolution: only products cost anything here
    assert "at least 48 FLOP a pass (those of 1 operation are not known), at least 52 B of activations" in words
    conv = found.graph.nodes.shape[found.graph.nodes.op.index("Conv")]
    assert conv is not None and shape_text(conv) == "1x5x?x?"
    told = terminal(view_of(replace(pl.map_difference(path, small(tmp_path, 1)), a=found)))
    assert "at least 48" in told and "at least 52 B" in told and told.count("at least") == 2


def test_weights_that_stand_in_nodes_take_memory_too(tmp_path):
    constant = helper.make_node("Constant", [], ["w"], value=weight("w", 3, 4))
    nodes = [constant, helper.make_node("MatMul", ["x", "w"], ["y"])]
    totals = pl.map(saved(tmp_path, nodes, [value("x", 1, 3)], [value("y", 1, 4)])).totals
    assert (totals.parameters, totals.parameter_bytes) == (12, 48)


def test_repeated_blocks_of_a_file_are_found(tmp_path):
    nodes, before = [], "x"
    for i in range(12):
        nodes += [
            helper.make_node("MatMul", [before, f"w{i}"], [f"m{i}"], f"/layers.{i}/fc/MatMul"),
            helper.make_node("Add", [f"m{i}", before], [f"a{i}"], f"/layers.{i}/Add"),
        ]
        before = f"a{i}"
    path = saved(tmp_path, nodes, [value("x", 1, 4)], [value(before, 1, 4)], [weight(f"w{i}", 4, 4) for i in range(12)])
    groups = pl.map(path).graph.groups
    leaders = {groups.path[groups.alike[g]] for g in range(len(groups)) if groups.path[g].count(".") == 1}
    assert leaders == {"layers.0"}


def test_a_damaged_file_is_refused_with_a_sentence(tmp_path):
    path = small(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(pl.PellucidError):
        pl.map(path)


def test_the_command_maps_a_file_without_torch_and_numpy(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = saved(tmp_path, [node], [value("x", 1, 4)], [value("y", 1, 2)], [weight("w", 4, 2)])
    said = (
        "import sys; from pellucid.surfaces.cli import main; code = main(sys.argv[1:]); "
        "print([name for name in ('torch', 'numpy', 'onnx', 'PIL') if name in sys.modules])"
    )
    command = [sys.executable, "-c", said, "map", str(path), "-o", str(tmp_path / "map.html"), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert built() is None or done.stdout.rstrip().endswith("[]")
    assert "8 parameters" in done.stdout and "MatMul" in done.stdout
    assert b"MatMul" in (tmp_path / "map.html").read_bytes()


def test_a_wrong_ending_is_refused_without_torch_and_a_false_name_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x", 1, 4)], [value("y", 1, 2)],
                 [weight("w", 4, 2)])  # fmt: skip
    lying = path.rename(tmp_path / "net.pt")
    said = "import sys; from pellucid.surfaces.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    command = [sys.executable, "-c", said, "map", str(lying)]
    wrong = subprocess.run([*command, "-o", "map.odt"], capture_output=True, text=True, check=True)
    assert wrong.stdout == "1 False\n" and "'map.odt' ends in .odt" in wrong.stderr
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "an ONNX model (though its name ends in .pt)" in told.stdout and told.stdout.endswith("0 False\n")


def test_the_command_knows_what_maps_are_written_as() -> None:
    assert set(MAP_ENDINGS) == set(endings(Architecture))
    assert set(ENDINGS) == set(endings(Difference)) == set(endings(Weights))


def test_a_pass_on_an_input_keeps_its_name_and_has_gradients(tmp_path):
    nodes = [
        helper.make_node("Conv", ["picture", "w"], ["h"]),
        helper.make_node("GlobalAveragePool", ["h"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    inputs, outputs = [value("picture", 1, 3, 8, 8)], [value("y", 1, 4)]
    path = saved(tmp_path, nodes, inputs, outputs, [weight("w", 4, 3, 3, 3)])
    found = pl.map(pl.open(path), torch.rand(1, 3, 8, 8))
    assert found.graph.nodes.label[found.graph.nodes.op.index("input")] == "picture"
    assert "gradient" in found.overlay.measures and not any("No gradients" in note for note in found.notes)


def in_turns(folder: Path) -> Path:
    """Two modules whose operations the file lists in turns, some alone between those of the other module."""
    listed = [("Relu", "x", "r", "a/lower/Relu"), ("Neg", "x", "n", "b/lower/Neg"), ("Abs", "n", "m", "b/lower/Abs"),
              ("Exp", "r", "e", "a/Exp"), ("Sqrt", "m", "q", "b/lower/Sqrt"), ("Tanh", "e", "t", "a/upper/Tanh"),
              ("Sigmoid", "q", "s", "b/Sigmoid")]  # fmt: skip
    nodes = [helper.make_node(op, [given], [made], f"/net/{name}") for op, given, made, name in listed]
    nodes.append(helper.make_node("Add", ["t", "s"], ["y"], "/net/Add"))
    return saved(folder, nodes, [value("x", 1, 4)], [value("y", 1, 4)])


def held(graph, path):
    """The operations inside a module."""
    group = graph.groups.path.index(path)
    pairs = zip(graph.nodes.op, graph.nodes.group, strict=True)
    return [op.lower() for op, inner in pairs if group in graph.ancestors(inner)]


def test_modules_whose_operations_are_listed_in_turns_are_one_group_each_when_they_run(tmp_path):
    path = in_turns(tmp_path)
    unrun, run = pl.map(path).graph, pl.map(path, (1, 4)).graph
    assert len(set(run.groups.path)) == len(run.groups.path)
    for module in unrun.groups.path[1:]:
        assert held(run, module) == held(unrun, module)
    assert held(run, "net.b") == ["neg", "abs", "sqrt", "sigmoid"]


def test_a_module_in_turns_puts_out_what_leaves_it_last(tmp_path):
    x = torch.tensor([[0.5, -1.0, 2.0, 0.0]])
    found = pl.map(in_turns(tmp_path), x)
    means = dict(zip(found.graph.groups.path, found.overlay.measures["mean"].groups, strict=True))
    expected = {"net.a": x.relu().exp().tanh(), "net.b": x.abs().sqrt().sigmoid(), "net.b.lower": x.abs().sqrt()}
    for path, put_out in expected.items():
        assert means[path] == pytest.approx(float(put_out.mean())), path


def test_a_value_under_another_name_is_no_box(tmp_path):
    nodes = [helper.make_node(op, [given], [made]) for op, given, made in
             (("Identity", "x", "i"), ("Relu", "i", "r"), ("Identity", "r", "s"), ("Identity", "s", "t"),
              ("Neg", "t", "n"), ("Identity", "n", "y"))]  # fmt: skip
    path = saved(tmp_path, nodes, [value("x", 1, 4)], [value("y", 1, 4)])
    for graph in (pl.map(path).graph, pl.map(path, (1, 4)).graph):
        assert [op.lower() for op in graph.nodes.op] == ["input", "relu", "neg", "output"]
        assert tuple(zip(graph.edges.source, graph.edges.target, strict=True)) == ((0, 1), (1, 2), (2, 3))
        assert graph.edges.shape == ((1, 4),) * 3
