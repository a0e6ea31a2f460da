"""What a file of another program is, and that each says how to go on; the doors that such files go through."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import pellucid as pl
from pellucid.core.errors import BadModel, Missing
from pellucid.doors import converted
from pellucid.doors.formats import FORMATS, format_of
from pellucid.doors.kinds import DOORS, door_of, kind_of
from tests.onnx_files import exported

FILES: dict[str, tuple[str, bytes]] = {
    "inference.pdmodel": ("PaddlePaddle", b"\x0a\x20\x08\x00"),
    "resnet-symbol.json": ("MXNet", b'{"nodes": []}'),
    "net.caffemodel": ("Caffe", b"\x0a\x05"),
    "net.t7": ("Torch 7", bytes(9)),
    "yolo.cfg": ("Darknet", b"[net]\nbatch=1\n"),
    "yolo.weights": ("Darknet", bytes(20)),
    "net.meta": ("TensorFlow checkpoint", b"\x0a\x05"),
    "saved_model.pb": ("SavedModel", b"\x08\x01\x12\x05"),
    "model.json": ("TensorFlow.js", b'{"format": "layers-model", "modelTopology": {}}'),
    "arch.json": ("Keras architecture", b'{"class_name": "Sequential", "config": {"layers": []}}'),
    "flax_model.msgpack": ("Flax", b"\x82"),
    "net.mindir": ("MindSpore", b"\x0a\x05"),
    "net.mlmodel": ("Core ML", b"\x08\x04\x12\x02"),
    "net.xml": ("OpenVINO", b'<?xml version="1.0"?><net name="a"><layers></layers></net>'),
    "net.param": ("ncnn", b"7767517\n3 3\n"),
    "net.pnnx.param": ("PNNX", b"77\n3 3\n"),
    "net.mnn": ("MNN", bytes(9)),
    "net.engine": ("TensorRT", bytes(9)),
    "renamed.bin": ("TensorRT", b"ptrt\x00\x00"),
    "net.pte": ("ExecuTorch", b"\x20\x00\x00\x00ET12"),
    "net.ort": ("ONNX Runtime", b"\x20\x00\x00\x00ORTM"),
    "net.rknn": ("Rockchip", b"RKNN\x00"),
    "net.mlirbc": ("MLIR", b"ML\xefR"),
    "graph.nnef": ("NNEF", b"version 1.0;"),
    "forest.json": ("XGBoost", b'{"learner":{"gradient_booster":{}}}'),
    "forest.txt": ("LightGBM", b"tree\nversion=v4\n"),
    "forest.cbm": ("CatBoost", b"CBM1\x00"),
    "tokenizer.model": ("SentencePiece", b"\x0a\x0e\x0a\x05<unk>"),
    "net.espresso.net": ("Espresso", b'{"storage": ""}'),
    "clf.model": ("Weka", b"\xac\xed\x00\x05sr"),
    "adapter_model.bin": ("adapter", bytes(9)),
    "scan.nii": ("NIfTI", bytes(344) + b"n+1\x00"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_told_and_the_way_on_is_said(name: str, tmp_path: Path) -> None:
    what, content = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadModel, match=re.escape(what)) as why:
        pl.open(tmp_path / name)
    assert why.value.hint


@pytest.mark.parametrize("name", ["net.mlpackage", "net.mlmodelc"])
def test_folders_are_told_by_their_names(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(BadModel, match="Core ML"):
        pl.open(tmp_path / name)


def test_each_format_can_be_told_and_is_told_only_once() -> None:
    for form in FORMATS:
        assert form.extensions or form.marks or form.names or form.words, form
        assert (form.advice.endswith(".") and form.name[0].islower()) or form.name[:3] in ("an ", "a T"), form
        for extension in form.extensions:
            assert format_of(f"net{extension}", b"") == form, extension
        for name in form.names:
            assert format_of(name, b"") == form, name
        for at, mark in form.marks:
            assert format_of("x", bytes(at) + mark) == form, mark


def test_what_nobody_knows_is_not_guessed() -> None:
    assert format_of("net.xyz", bytes(100)) is None and format_of("notes.txt", b"hello") is None


@pytest.mark.parametrize("kind", DOORS)
def test_every_door_has_a_function_that_opens(kind: str) -> None:
    door = door_of(kind)
    assert door is not None and callable(door.open_file)


# TensorFlow, by converters in a process of their own


def test_without_a_converter_the_command_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converted, "_installed", lambda _: False)
    lite, folder, graph = tmp_path / "net.tflite", tmp_path / "saved", tmp_path / "frozen.pb"
    lite.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(20))
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    graph.write_bytes(b"\x0a\x10\x0a\x05input")
    assert kind_of(graph).name == "a frozen TensorFlow graph"
    for path, command in (
        (lite, "--tflite net.tflite"),
        (folder, "--saved-model saved"),
        (graph, "--graphdef frozen.pb"),
    ):
        with pytest.raises((Missing, BadModel), match=re.escape(f"tf2onnx.convert {command} --output model.onnx")):
            pl.open(path)


def test_a_program_is_not_converted_unless_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converted, "_installed", lambda _: True)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was run"))
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(BadModel, match="a program, parts of which run"):
        converted.open_file(tmp_path)


def test_a_conversion_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(20))
    monkeypatch.setattr(converted, "_installed", lambda name: name == "tflite2onnx")
    monkeypatch.setattr(converted, "_LITE", "raise ValueError('an operator that nobody knows')")
    with pytest.raises(BadModel, match=r"net.tflite cannot be converted by tflite2onnx: ValueError: an opera") as why:
        converted.open_file(tmp_path / "net.tflite")
    assert "pip install tensorflow tf2onnx, python -m tf2onnx.convert --tflite net.tflite --output" in why.value.hint
    monkeypatch.setattr(converted, "_LITE", "bytes(9 << 30)")
    with pytest.raises(BadModel, match="MemoryError"):
        converted.open_file(tmp_path / "net.tflite")
    monkeypatch.setattr(converted, "_LITE", "import time; time.sleep(60)")
    monkeypatch.setattr(converted, "_SECONDS", 1)
    with pytest.raises(BadModel, match="takes longer than 1 s"):
        converted.open_file(tmp_path / "net.tflite")


def test_where_one_converter_fails_the_next_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(20))
    made = exported(torch.nn.Linear(3, 2).eval(), torch.ones(1, 3), tmp_path / "made.onnx")
    monkeypatch.setattr(converted, "_installed", lambda _: True)
    monkeypatch.setattr(converted, "_LITE", f"import shutil, sys; shutil.copy({str(made)!r}, sys.argv[2])")
    assert converted.open_file(tmp_path / "net.tflite").model(torch.ones(1, 3)).shape == (1, 2)  # tf2onnx is not here


def test_hugging_face_by_its_config_file_and_by_folders_of_parts(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "auto_map": {"AutoModel": "x.Y"}}), "utf-8")
    for path in (tmp_path, tmp_path / "config.json"):
        with pytest.raises(BadModel, match="Python code of its own"):
            pl.open(path)
    with pytest.raises(Missing, match="downloads nothing"):
        pl.open("hf:nobody/nothing-of-this-name")
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "model_index.json").write_text("{}", "utf-8")
    with pytest.raises(BadModel, match="pipeline of several networks"):
        pl.open(parts)


def test_keras_by_its_contents(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.bin", "w") as file:
        file.writestr("config.json", "{}")
        file.writestr("metadata.json", "{}")
    pytest.importorskip("keras")
    with pytest.raises(BadModel, match="configuration that is not Keras's"):
        pl.open(tmp_path / "net.bin")


def test_the_front_door_imports_none_of_the_frameworks() -> None:
    code = (
        "import pellucid as pl, sys; pl.open; print([m for m in ('keras', 'transformers', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
