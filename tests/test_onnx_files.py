"""Files that are wrong, too large or hostile end in a sentence, before anything heavy is done."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pellucid.core.errors import BadModel, Missing, PellucidError
from pellucid.doors.onnx import functions, load, open_file
from pellucid.doors.onnx.file import guard, parse
from pellucid.doors.onnx.probe import described
from tests.onnx_files import saved, weighted, written

RELU = "agraph (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"


def refused(path: Path, kind: type[PellucidError] = BadModel) -> str:
    with pytest.raises(kind) as error:
        open_file(path)
    assert error.value.hint
    return error.value.what


def bytes_of(text: str, tmp_path: Path) -> bytes:
    return written(text, tmp_path / "whole.onnx").read_bytes()


def test_what_is_no_model(tmp_path):
    path = tmp_path / "net.onnx"
    assert "no file" in refused(path, Missing)
    path.write_bytes(b"")
    assert "empty (0 bytes)" in refused(path)
    path.write_bytes(b"\x08\x0a" + os.urandom(4000))
    assert "cannot be decoded" in refused(path)
    path.write_bytes(b"\x08\x0a")
    assert "holds no graph" in refused(path)
    assert "folder or a device" in refused(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_that_ends_too_early(share: float, tmp_path):
    whole = bytes_of(RELU, tmp_path)
    path = tmp_path / "net.onnx"
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path)


TEXTS = [
    ("y = Relu(a) a = Neg(b) b = Neg(a)", "waits for its own result: a circle"),
    ("y = Relu(a)", "Nothing makes the value 'a'"),
    ("y = Relu(x) y = Neg(x)", "Two things are named 'y'"),
    ("x = Relu(x) y = Neg(x)", "Two things are named 'x'"),
    ("a = Mystery(x) b = other.Strange(a) c = Mystery(b) y = Add(a, c)", "uses 2 operators that are not known"),
    ("a = Mystery(x) b = other.Strange(a) c = Mystery(b) y = Add(a, c)", "Mystery (set 18, 2x), other::Strange (set 1"),
]


@pytest.mark.parametrize(("body", "said"), TEXTS)
def test_graphs_that_cannot_run(body: str, said: str, tmp_path):
    assert said in refused(written(f"agraph (float[N,3] x) => (float[N,3] y) {{ {body} }}", tmp_path / "net.onnx"))


def test_nodes_may_come_in_any_order(tmp_path):
    text = "agraph (float[N,3] x) => (float[N,3] y) { y = Neg(b) b = Relu(a) a = Neg(x) }"
    assert [n.op for n in load(written(text, tmp_path / "net.onnx")).graph.nodes] == ["Neg", "Relu", "Neg"]


def test_operator_sets_of_the_future(tmp_path):
    said = refused(written(RELU, tmp_path / "net.onnx", version=99))
    assert "operator set 99" in said and "up to" in said


def test_functions_that_call_themselves(tmp_path):
    text = """agraph (float[N,3] x) => (float[N,3] y) { y = local.a(x) }
    <domain: "local", opset_import: ["" : 18, "local" : 1]> a (x) => (y) { y = local.b(x) }
    <domain: "local", opset_import: ["" : 18, "local" : 1]> b (x) => (y) { y = local.a(x) }"""
    assert "calls itself" in refused(written(text, tmp_path / "net.onnx"))


def test_functions_that_explode(tmp_path):
    """Forty functions that each call the next one twice: 2^40 operations in a few kilobytes."""
    text = "agraph (float[N,3] x) => (float[N,3] y) { y = local.f0(x) }\n"
    for i in range(38):
        body = f"h = local.f{i + 1}(x) y = local.f{i + 1}(h)" if i < 37 else "y = Relu(x)"
        text += f'<domain: "local", opset_import: ["" : 18, "local" : 1]> f{i} (x) => (y) {{ {body} }}\n'
    path = written(text, tmp_path / "net.onnx")
    functions_most, functions.MOST_NODES = functions.MOST_NODES, 1000
    try:
        assert "more than 1,000 operations" in refused(path)
    finally:
        functions.MOST_NODES = functions_most


def test_graphs_of_too_many_nodes(tmp_path, monkeypatch):
    monkeypatch.setattr(parse, "MOST_NODES", 2)
    path = written(
        "agraph (float[N,3] x) => (float[N,3] y) { a = Neg(x) b = Neg(a) y = Neg(b) }", tmp_path / "net.onnx"
    )
    assert "more than 2 operations" in refused(path)


def test_small_files_that_would_become_large(tmp_path, monkeypatch):
    nodes = 100_000  # two bytes each
    graph = b"\x0a\x00" * nodes
    length = bytes([len(graph) & 127 | 128, len(graph) >> 7 & 127 | 128, len(graph) >> 14])
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x0a" + b"\x3a" + length + graph)
    monkeypatch.setattr(guard, "memory", lambda: 10 << 20)
    monkeypatch.setattr(guard, "MOST_NODES", nodes - 1)
    monkeypatch.setattr(parse, "decoded", None)  # it must not come to that
    assert "more than 99,999 operations" in refused(path)


def test_files_and_weights_larger_than_memory(tmp_path, monkeypatch):
    path = weighted(tmp_path / "net.onnx")
    monkeypatch.setattr(guard, "memory", lambda: 10)
    assert "10 " not in refused(path) and "of memory are free" in refused(path)
    monkeypatch.setattr(guard, "memory", lambda: 1 << 30)
    tensor = TensorProto(name="w", data_type=1, dims=[1 << 40])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "w.bin").write_bytes(b"")
    os.truncate(tmp_path / "w.bin", 1 << 42)  # sparse: it takes no room on the disk
    value = [helper.make_tensor_value_info(name, 1, ["n"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [tensor])
    big = saved(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "big.onnx")
    assert "take 4,194,304 MiB and 1,024 MiB of memory are free" in refused(big)


def spoiled(tmp_path: Path, change: Callable[[TensorProto], object]) -> Path:
    model = onnx.load(weighted(tmp_path / "good.onnx"), load_external_data=False)
    change(model.graph.initializer[0])
    return saved(model, tmp_path / "bad.onnx")


SPOILS = [
    (lambda w: w.dims.append(1 << 40), "needs 17592186044416 bytes; the file holds 16"),
    (lambda w: w.dims.append(0), "needs 0 bytes; the file holds 16"),
    (lambda w: w.dims.append(-1), "nothing can be that"),
    (lambda w: setattr(w, "data_type", 0), "nothing can be that"),
    (lambda w: setattr(w, "data_type", 999), "nothing can be that"),
    (lambda w: setattr(w, "data_type", 11), "needs 32 bytes; the file holds 16"),
    (lambda w: (w.ClearField("raw_data"), w.float_data.append(1)), "needs 4 numbers; the file holds 1"),
]


@pytest.mark.parametrize(("change", "said"), SPOILS)
def test_weights_that_are_not_what_they_claim(change: Callable[[TensorProto], object], said: str, tmp_path):
    assert said in refused(spoiled(tmp_path, change))


def test_two_weights_of_one_name(tmp_path):
    model = onnx.load(weighted(tmp_path / "good.onnx"))
    model.graph.initializer.append(model.graph.initializer[0])
    assert "Two weights are named 'w'" in refused(saved(model, tmp_path / "bad.onnx"))


PLACES = [
    ({"location": "../secret.bin"}, "outside its own folder"),
    ({"location": "a/../../secret.bin"}, "outside its own folder"),
    ({"location": "/etc/passwd"}, "outside its own folder"),
    ({"location": "C:\\secret.bin"}, "outside its own folder"),
    ({"location": "..\\secret.bin"}, "outside its own folder"),
    ({"location": ""}, "outside its own folder"),
    ({"location": "nowhere.bin"}, "are not beside it"),
    ({"location": "linked.bin"}, "are a link to another file"),
    ({"location": "folder/w.bin"}, "are a link to another file"),
    ({"location": "hard.bin"}, "are a hard link"),
    ({"location": "w.bin", "offset": "-8"}, "lies at -8 + 16 bytes of w.bin, which has 16"),
    ({"location": "w.bin", "offset": "8"}, "lies at 8 + 16 bytes of w.bin, which has 16"),
    ({"location": "w.bin", "offset": str(1 << 70)}, "which has 16"),
    ({"location": "w.bin", "length": "-1"}, "which has 16"),
    ({"location": "w.bin", "length": "8"}, "needs 16 bytes; the file holds 8"),
    ({"location": "w.bin", "offset": "seven"}, "is no number"),
]


@pytest.mark.parametrize(("entries", "said"), PLACES)
def test_weights_beside_the_file_stay_beside_it(entries: dict[str, str], said: str, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (home / "w.bin").write_bytes(bytes(16))
    (home / "linked.bin").symlink_to(tmp_path / "secret.bin")
    (home / "folder").symlink_to(tmp_path)
    os.link(tmp_path / "secret.bin", home / "hard.bin")
    assert said in refused(weighted(home / "net.onnx", **entries))


def test_a_map_needs_no_weights(tmp_path):
    path = weighted(tmp_path / "net.onnx", location="nowhere.bin")
    assert described(path).graph.weights["w"].shape == (4,)


def test_the_decoder_alone_finds_the_shapes_that_the_whole_package_finds(tmp_path):
    """Also those that only follow from the numbers of other values: the reshape's is computed in the graph."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.array([0]), "first"),
        numpy_helper.from_array(np.array([12]), "rest"),
        numpy_helper.from_array(np.ones((12, 2), np.float32), "w"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    made = helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights))
    path = tmp_path / "net.onnx"
    onnx.save(made, path)
    program = "import json, sys; from pathlib import Path; from pellucid.doors.onnx.probe import described\n"
    program += "graph = described(Path(sys.argv[1])).graph; types = [*graph.values.values(), *graph.outputs]\n"
    program += "print(json.dumps([{v.name: v.shape for v in types}, 'numpy' in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    whole = onnx.shape_inference.infer_shapes(made, data_prop=True).graph
    expected = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*whole.value_info, *whole.output)}
    assert json.loads(done.stdout) == [expected, False]
    assert expected["r"] == [2, 12] and expected["y"] == [2, 2]


@pytest.mark.slow
@settings(max_examples=200)
@given(st.data())
def test_damaged_files_end_in_a_sentence(tmp_path_factory, data):
    """Bytes changed, lost or added anywhere: the file is refused, or still is a model."""
    folder = tmp_path_factory.mktemp("damaged")
    text = "agraph (float[N,3] x) => (float[N,4] y) <float[3,4] w = {1,2,3,4,5,6,7,8,9,0,1,2}, int64[2] s = {-1,4}> "
    text += "{ a = MatMul(x, w) b = Constant<value_floats=[1.0]>() c = Mul(a, b) y = Reshape(c, s) }"
    whole = bytearray(written(text, folder / "whole.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        lost, added = data.draw(st.integers(0, 3)), data.draw(st.binary(max_size=3))
        whole[at : at + lost] = added
    path = folder / "net.onnx"
    path.write_bytes(whole)
    with contextlib.suppress(PellucidError):
        open_file(path)


def test_names_cannot_speak_to_a_terminal(tmp_path):
    model = onnx.load(written(RELU, tmp_path / "a.onnx"))
    model.graph.node[0].input[0] = "\x1b[31m\u202eevil"
    assert "\x1b" not in refused(saved(model, tmp_path / "b.onnx")) and "\u202e" not in refused(tmp_path / "b.onnx")
