"""What commands do without: nobody waits for torch where a file is listed, or for Keras's plots for a map."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn

import pellucid as pl
from pellucid.core.errors import BadInput, Missing
from pellucid.doors.pictures.reading import reading, refuse_alone
from pellucid.doors.torch.guesses import guesses
from pellucid.doors.torch.pickle_parts import Seen
from pellucid.doors.torch.pickle_text import OPERATIONS, told
from pellucid.doors.torch.torch_file import checkpoint
from tests.corpus import files

SAID = (
    "import sys; from pellucid.surfaces.cli import main; sys.argv[0] = 'pellucid'\n"
    "try: code = main()\n"
    "except SystemExit as end: code = end.code\n"
    "print(code, sorted(name for name in {names} if name in sys.modules))"
)


def run(*argv: str, names: tuple[str, ...] = ("torch",)) -> tuple[str, str]:
    """The last line, which says the exit code and what was imported, and everything printed."""
    command = [sys.executable, "-c", SAID.format(names=names), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1], done.stdout + done.stderr


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save({"first.weight": torch.ones(2, 3), "first.bias": torch.ones(2)}, tmp_path / "w.pt")
    two = struct.pack("<ff", 1, 2)
    (tmp_path / "w.safetensors").write_bytes(files.safetensors({"a.weight": files.tensor(0, 8, [2])}, two))
    (tmp_path / "w.gguf").write_bytes(files.gguf(1, 0, files.gguf_tensor(b"a.weight", (32,), 2) + bytes(64)))
    return tmp_path


@pytest.mark.parametrize("argv", [("--help",), ("map", "--help")])
def test_help_comes_without_torch(argv: tuple[str, ...]) -> None:
    assert run(*argv)[0] == "0 []"


@pytest.mark.parametrize("ending", [".pt", ".safetensors", ".gguf"])
@pytest.mark.parametrize("more", [(), ("--json",), ("-o", "map.json"), ("-o", "map.dot")])
def test_weights_of_nobody_knows_what_are_mapped_without_torch(
    weights: Path, ending: str, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(weights)
    last, said = run("map", f"w{ending}", "--quiet", *more)
    assert last == "0 []" and "tensor" in said
    if "-o" in more:
        slow = pl.map(weights / f"w{ending}").save(weights / f"slow_{more[1]}")
        assert (weights / more[1]).read_bytes() == slow.read_bytes()


def test_weights_of_a_known_architecture_are_not_listed_alone(tmp_path: Path) -> None:
    name = {"layer1.0.conv1.weight": torch.ones(1), "layer2.0.conv1.weight": torch.ones(1)}
    known = {f"layer{i}.{j}.conv1.weight": torch.ones(1) for i in (1, 2, 3, 4) for j in (0, 1)}
    assert not guesses({k: tuple(v.shape) for k, v in name.items()})
    assert guesses({k: tuple(v.shape) for k, v in known.items()})
    torch.save(known, tmp_path / "w.pt")
    assert run("map", str(tmp_path / "w.pt"))[0] == "0 ['torch']"  # somebody may know them: torchvision is asked


def test_bad_pickles_and_pictures_that_are_not_there_are_refused_without_torch(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"\x80\x02" + b"N" * 2000)
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt")
    last, said = run("map", str(tmp_path / "bad.pt"))
    assert last == "1 []" and "cut off or damaged" in said
    last, said = run("map", str(tmp_path / "w.pt"), "--input", str(tmp_path / "cat.jpg"))
    assert last == "3 []" and "There is no file" in said


def test_a_map_imports_no_other_part_of_the_package(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    net = nn.Sequential(nn.Linear(3, 2)).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(2, 3),)), path)
    parts = ("dream", "concepts", "checks", "methods", "trials", "surfaces.show", "surfaces.report", "surfaces.kept")
    last, said = run("map", str(path), "--shape", "2x3", names=tuple(f"pellucid.{part}" for part in parts))
    assert last == "0 []" and "linear" in said.lower()


@pytest.mark.slow  # keras takes seconds to import
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # keras writing
def test_keras_is_imported_without_plots_tables_and_compiler(tmp_path: Path) -> None:
    keras: Any = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.GlobalMaxPool2D()])
    model.save(tmp_path / "net.keras")
    last, said = run(
        "map", str(tmp_path / "net.keras"), names=("matplotlib", "pandas", "sklearn", "requests", "torch._dynamo")
    )
    assert last == "0 []" and "20 parameters" in said


class Two(nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return scale * left + right


def test_a_picture_that_is_not_there_is_said_before_a_preparation_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="There is no file"):
        reading(pl.open(nn.Flatten()), tmp_path / "cat.jpg")
    with pytest.raises(BadInput, match="how pictures are prepared"):
        reading(pl.open(nn.Flatten()), b"no file")


def test_a_network_of_two_inputs_is_not_asked_for_a_preparation(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"P5 2 2 255 " + bytes(4))
    for act in (lambda p: pl.map(pl.open(Two()), p), lambda p: refuse_alone(pl.open(Two()), p)):
        with pytest.raises(BadInput, match="takes 2 inputs, and a picture is one"):
            act(tmp_path / "cat.png")
    refuse_alone(pl.open(nn.Flatten()), tmp_path / "cat.png")


# ---- pickles, told by a table


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner, inner, inner),
)


@given(PLAIN, st.integers(0, 5))
def test_plain_values_are_told_as_python_unpickles_them(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    file = io.BytesIO(data + b"rest")
    assert told(file, Seen()) == pickle.loads(data) and file.read() == b"rest"  # noqa: S301 (our own)


@given(st.binary(max_size=300), st.integers(3, 5))
def test_bytes_are_told_as_python_unpickles_them(value: bytes, protocol: int) -> None:
    assert told(io.BytesIO(pickle.dumps([value, value], protocol)), Seen()) == [value, value]


def test_the_limit_is_that_of_a_hundred_thousand_tensors(tmp_path: Path) -> None:
    counts = []
    for many in (300, 400):
        torch.save({f"layer.{i}.weight": torch.zeros(1, 1, 1, 1) for i in range(many)}, tmp_path / "w.pt")
        counts.append(checkpoint(tmp_path / "w.pt").seen.operations)
    assert 0.9 * OPERATIONS < 1000 * (counts[1] - counts[0]) < OPERATIONS


def test_a_pickle_in_pieces_that_break_off_counts_them_all(tmp_path: Path) -> None:
    piece = b"\x80\x04" + b"N" * 900
    (tmp_path / "long.pt").write_bytes(b"\x80\x04" + 5000 * (b"B" + len(piece).to_bytes(4, "little") + piece))
    with pytest.raises(pl.BadModel, match="more operations than one of 100 000 tensors"):
        checkpoint(tmp_path / "long.pt")
