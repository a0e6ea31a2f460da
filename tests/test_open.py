"""One way in: what opens, what is refused and with which sentence."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.architecture.graph import Edges, Graph, nodes, only_root
from pellucid.architecture.text import to_text
from pellucid.core.errors import BadInput, BadModel, BadOption, Missing
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors.open import open as open_network
from pellucid.doors.pictures.reading import reading


def small() -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, partial(torch.compile, backend="eager")], ids=["DataParallel", "compile"]
)
def test_wrappers_are_taken_off_and_said(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = small()
    net = open_network(wrap(model))
    assert net.model is model and "model inside of" in net.notes[0]
    assert open_network(model).notes == ()


def test_a_network_without_preparation_asks_for_it() -> None:
    with pytest.raises(BadInput, match=r"pl\.Preparation\(size=224"):
        open_network(small()).read(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(BadOption):
        open_network(small(), preparation=Preparation(size=4, crop=2.0))


def test_a_reading_keeps_the_notes(lite0: Network) -> None:
    seen = reading(lite0, np.zeros((20, 100), np.uint8))
    assert any("grey values" in note for note in seen.notes) and any("leaves out" in note for note in seen.notes)
    torch.testing.assert_close(seen.x, lite0.read(np.zeros((20, 100), np.uint8)))


def test_options_are_laid_over_a_named_network(tmp_path: Path, lite0: Network) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"class {i}" for i in range(1000)) + "\n", encoding="utf-8")
    p = Preparation(size=64)
    net = open_network("efficientnet_lite0", labels=tmp_path / "names.txt", preparation=p, name="mine")
    assert (net.labels[7], net.preparation, net.name, net.source) == ("class 7", p, "mine", "efficientnet_lite0")
    assert net.read(np.zeros((9, 9, 3), np.uint8)).shape == (1, 3, 64, 64)
    assert open_network(lite0) is lite0
    assert open_network(lite0, name="other").labels == lite0.labels
    spoken = open_network(Network(small(), reader=lambda _, what: torch.ones(len(what))), name="words")
    assert spoken.read("abc").tolist() == [1, 1, 1]  # another door's reader stays


@pytest.mark.parametrize(("text", "says"), [("a\n\nb\n", "Line 2"), ("", "Line 1 of"), (None, "not a UTF-8")])
def test_bad_label_files(text: str | None, says: str, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_bytes(b"\xff\xfe\x00" if text is None else text.encode())
    with pytest.raises(BadInput, match=says):
        open_network(small(), labels=tmp_path / "n.txt")
    with pytest.raises(Missing):
        open_network(small(), labels=tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("efficientnet_lite", "Did you mean efficientnet_lite"),
        ("EfficientNet-Lite0", "Did you mean efficientnet_lite0"),
        ("zzz", "There are: efficientnet_lite0"),
        ("no/such/file.pt", "no file"),
        ("model.onnx", "no file"),
        ("x\x1b[31m", "no network named 'x?[31m'"),
    ],
)
def test_unknown_names_get_a_suggestion(name: str, says: str) -> None:
    with pytest.raises(Missing) as caught:
        open_network(name)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (nn.Linear, "is a class"),
        ({"w": 1}, "holds no architecture"),
        (3, "int"),
        ("https://x.org/m.pt", "fetches nothing"),
    ],
)
def test_what_is_no_model_is_refused(what: Any, says: str) -> None:
    with pytest.raises(BadModel) as caught:
        open_network.__wrapped__(what) if hasattr(open_network, "__wrapped__") else open_network(what)
    assert says in str(caught.value)


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return out.getvalue()


def torch_saved(what: object, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(what, out, **options)
    return out.getvalue()


def safetensors(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(8)


def array_archive() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.zeros(3))
    return out.getvalue()


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


_ONES = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
MODEL_FILES = [
    ("empty.pt", b"", "is empty (0 bytes)"),
    ("weights.pt", torch_saved(small().state_dict()), "is a PyTorch checkpoint"),
    ("whole.pt", torch_saved(small()), "whole.pt is a PyTorch checkpoint with 2 tensors"),
    (
        "old.pt",
        torch_saved(small().state_dict(), _use_new_zipfile_serialization=False),
        "with 2 tensors (8 numbers; first",
    ),
    ("cut.pt", torch_saved(small().state_dict())[:-40], "a damaged or incomplete ZIP archive"),
    (
        "script.pt",
        zipped(m__data_DOT_pkl=b"", m__constants_DOT_pkl=b"", m__code__a_DOT_py=b""),
        "brings code of its own",
    ),
    ("program.pt2", zipped(m__archive_format=b"pt2", m__models__model_DOT_json=b"{}"), "holds no graph"),
    ("model.keras", zipped(config_DOT_json=b"{}", metadata_DOT_json=b"{}"), "a configuration that is not Keras's"),
    ("arrays.npz", array_archive(), "a NumPy archive"),
    ("bag.zip", zipped(readme=b"hi", a__net_DOT_onnx=b""), "is a ZIP archive that holds readme, a/net.onnx. Unpack it"),
    ("full.zip", zipped(a=b"", b=b"", c=b"", d=b"", e=b""), "holds a, b, c and 2 more."),
    (
        "cut.keras",
        zipped(config_DOT_json=b'{"class_name": 1, "config": {"layers": []}}')[:90],
        "damaged or incomplete ZIP",
    ),
    ("one.npy", array(), "one array and no network"),
    ("notes.onnx", b"Not found", "a text file; it cannot be opened as it is. A download that failed"),
    ("map.json", to_text(Graph("n", "", nodes("relu"), only_root("Net"), Edges())).encode(), "text.from_text(text)"),
    ("w.safetensors", safetensors({"__metadata__": {}, "a": _ONES}), "and no architecture"),
    ("huge.safetensors", (1 << 31).to_bytes(8, "little") + b'{"a":1}', "a damaged header"),
    (
        "deep.safetensors",
        len(b'{"a":' + b"[" * 99999).to_bytes(8, "little") + b'{"a":' + b"[" * 99999,
        "damaged header",
    ),
    ("net.onnx", b"\x08\x0e\x12\x00:3", "net.onnx is damaged or incomplete"),
    ("old.h5", b"\x89HDF\r\n\x1a\n" + bytes(20), "old.h5 is damaged or incomplete"),
    ("llm.gguf", b"GGUF" + bytes(20), "a GGUF language model"),
    ("cat.png", b"\x89PNG\r\n\x1a\n" + bytes(20), "a PNG picture, not a model"),
    ("page.pt", b"<!doctype html>", "a web page (HTML); it cannot be opened as it is. A page was downloaded"),
    ("junk.pt", bytes(range(1, 9)) * 9, "a kind that Pellucid does not know"),
]


@pytest.mark.parametrize(("name", "data", "says"), MODEL_FILES, ids=[m[0] for m in MODEL_FILES])
def test_model_files_are_named_and_the_next_step_said(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    for what in (tmp_path / name, str(tmp_path / name)):
        with pytest.raises(BadModel) as caught:
            open_network(what)
        assert says.lower() in str(caught.value).lower() and caught.value.hint
        assert str(tmp_path) not in str(caught.value)


def test_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="is a folder"):
        open_network(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadModel, match="names no model_type"):
        open_network(tmp_path)


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "sang")


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_pickle_never_runs(new: bool, tmp_path: Path) -> None:
    canary, model = tmp_path / "canary", tmp_path / "model.pt"
    model.write_bytes(torch_saved(Canary(canary), _use_new_zipfile_serialization=new))
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Canary(canary)))
    for path in (model, tmp_path / "plain.pkl"):
        with pytest.raises(BadModel):
            open_network(path)
    assert not canary.exists()


@pytest.mark.parametrize("door", [pl.open, pl.map])
@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_said_to_be_empty(door: Any, name: str) -> None:
    with pytest.raises(BadInput, match="name of the network is empty"):
        door(name)


def test_a_preparation_is_refused_for_what_is_wrong_with_it() -> None:
    for wrong, words in ((pl.Preparation(0), "size=224"), (pl.Preparation(8, crop=2.0), "crop=0.875")):
        with pytest.raises(pl.BadOption) as said:
            pl.open(nn.Flatten(), preparation=wrong)
        assert words in said.value.hint
