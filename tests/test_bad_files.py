"""Broken and hostile model files: one sentence each, nothing run, nothing left behind."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn

import pellucid as pl
from pellucid.core.errors import BadModel, PellucidError
from pellucid.doors.weight_files import sealed
from pellucid.doors.weight_files.listing import listed
from pellucid.surfaces.cli import main
from tests.corpus import files
from tests.corpus.files import BadFile, saved, small

CAT = Path(__file__).parent.parent / "examples" / "cat.jpg"


def made(case: BadFile, folder: Path) -> Path:
    path = folder / case.name
    path.write_bytes(case.build(folder / "canary"))
    return path


def refused(act: Callable[[], Any], case: BadFile, path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(PellucidError) as caught:
        act()
    said = str(caught.value)
    assert all(part in said for part in case.says), said
    assert len(said) <= 500 and "\n" not in said and str(path.parent) not in said
    assert caught.value.what.endswith((".", "...")) and caught.value.hint
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name] and path.read_bytes() == before


@pytest.mark.parametrize("case", tuple(files.cases()), ids=lambda case: case.name)
def test_refused_in_a_sentence(case: BadFile, tmp_path: Path) -> None:
    path = made(case, tmp_path)
    refused(lambda: pl.open(path), case, path)


@pytest.mark.parametrize("case", tuple(files.listed_cases()), ids=lambda case: case.name)
def test_listings_are_refused_in_a_sentence(case: BadFile, tmp_path: Path) -> None:
    path = made(case, tmp_path)
    refused(lambda: pl.weights(path), case, path)


@pytest.mark.parametrize("case", tuple(files.cases()), ids=lambda case: case.name)
def test_the_command_says_the_same(
    case: BadFile, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = made(case, tmp_path)
    assert main(["explain", str(CAT), "--model", str(path), "--quiet"]) in (1, 3)
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("pellucid: ") and "Traceback" not in said
    assert all(part in said for part in case.says), said
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


MAPPED = {"weights.pt", "whole.pt", "script.pt", "state.onnx", "llm.gguf"}  # it takes no architecture to see names


@pytest.mark.parametrize("case", (*files.cases(), *files.listed_cases()), ids=lambda case: case.name)
def test_the_map_is_whole_or_a_sentence(
    case: BadFile, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = made(case, tmp_path)
    code, out = main(["map", str(path), "-o", "map.svg", "--quiet"]), capsys.readouterr()
    said = " ".join(out.err.split())
    assert "Traceback" not in out.out + said and not (tmp_path / "canary").exists()
    if code == 0:
        assert case.name in MAPPED and (tmp_path / "map.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")
    else:
        assert code in (1, 3) and said.startswith("pellucid: ") and case.name not in MAPPED
        assert [p.name for p in tmp_path.iterdir()] == [path.name]


ENDLESS = {
    "values": b"N" * 4_100_000,
    "nests": b"N" + b"\x85" * 4_100_000,
    "names": b"".join(b"cm%d\nn\n" % i for i in range(90_000)),
    "texts": b"Va\n" * 1_400_000,
    "digits": b"L" + b"9" * 4000 + b"L\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDLESS)
def test_a_pickle_of_too_many_operations_is_given_up(name: str, tmp_path: Path) -> None:
    (tmp_path / "long.pt").write_bytes(b"\x80\x02" + ENDLESS[name])
    with pytest.raises(BadModel, match=r"more operations than one of 100 000 tensors|a number has 4001 digits"):
        pl.open(tmp_path / "long.pt")


def test_there_are_many_and_no_two_of_one_name() -> None:
    names = [case.name for case in (*files.cases(), *files.listed_cases())]
    assert len(names) >= 60 and len(set(names)) == len(names)


# ---- archives of exported programs, which torch would run in a dozen ways


def exported() -> bytes:
    out = io.BytesIO()
    torch.export.save(torch.export.export(small(), (torch.zeros(2, 3, 8, 8),)), out)
    return out.getvalue()


@pytest.fixture(scope="module")
def program() -> bytes:
    return exported()


def with_json(data: bytes, inside: str, change: Callable[[Any], None]) -> bytes:
    def edit(members: dict[str, bytes]) -> None:
        name = next(n for n in members if n.endswith(inside))
        said = json.loads(members[name])
        change(said)
        members[name] = json.dumps(said).encode()

    return files.changed(data, edit)


def first_node(said: Any) -> Any:
    return said["graph_module"]["graph"]["nodes"][0]


EDITS: list[tuple[str, Callable[[Any], None], str]] = [
    ("hub", lambda s: first_node(s).update(target="torch.hub.load"), "torch.hub.load"),
    ("system", lambda s: first_node(s).update(target="_operator.methodcaller"), "methodcaller"),
    ("file", lambda s: first_node(s).update(target="torch.ops.aten.from_file.default"), "from_file"),
    ("name", lambda s: first_node(s)["inputs"][0].update(name="x=__import__('os')"), "where a name should stand"),
    (
        "size",
        lambda s: s["graph_module"]["graph"]["sym_int_values"].update(
            s={"as_expr": {"expr_str": "__import__('os').system('true')", "hint": None}}
        ),
        "as a size",
    ),
    (
        "tree",
        lambda s: s["graph_module"]["module_call_graph"][0]["signature"].update(
            in_spec=json.dumps([1, {"type": "builtins.dict", "context": '{"__enum__": 1}', "children_spec": []}])
        ),
        "the structure of an input or output",
    ),
]


@pytest.mark.parametrize(("name", "change", "says"), EDITS, ids=[e[0] for e in EDITS])
def test_an_exported_program_runs_nothing_of_its_own(
    name: str, change: Callable[[Any], None], says: str, program: bytes, tmp_path: Path
) -> None:
    path = tmp_path / f"{name}.pt2"
    path.write_bytes(with_json(program, "models/model.json", change))
    with pytest.raises(BadModel) as caught:
        pl.open(path)
    assert says in str(caught.value)


def test_pickles_in_an_exported_program_never_run(program: bytes, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "m.pt2"

    def sample(members: dict[str, bytes]) -> None:
        members[next(n for n in members if "sample_inputs" in n)] = saved(files.touching(canary))

    path.write_bytes(with_json(files.changed(program, sample), "model.json", lambda s: s.update(guards_code=["1/0"])))
    net = pl.open(path)  # torch would unpickle the sample inputs, and run the guards
    x = torch.rand(2, 3, 8, 8)
    path.write_bytes(program)
    assert torch.equal(net.model(x), pl.open(path).model(x)) and not canary.exists()

    def pickled(said: Any) -> None:
        next(iter(said["config"].values()))["use_pickle"] = True

    path.write_bytes(with_json(program, "weights_config.json", pickled))
    with pytest.raises(BadModel, match="pickled object"):
        pl.open(path)


# ---- what needs more than a file's bytes


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(files.safetensors({"a": files.tensor(0, 8, [2])}, bytes(8)))
    with pytest.raises(BadModel, match="changed while it was being read"), sealed.unchanged(path):
        path.write_bytes(path.read_bytes())


def test_a_model_larger_than_memory_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(saved(small().state_dict()))
    monkeypatch.setattr(sealed, "available", lambda: 100)
    with pytest.raises(BadModel, match=r"w\.pt needs 488 bytes of memory; 100 bytes are available"):
        pl.open(path, architecture=small())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_with_the_first_name_and_count(value: float, tmp_path: Path) -> None:
    state = small().state_dict()
    state["3.weight"][0, :3] = value
    (tmp_path / "w.pt").write_bytes(saved(state))
    with pytest.raises(BadModel, match=r"3 values of '3\.weight' are NaN or infinite"):
        pl.open(tmp_path / "w.pt", architecture=small())


@pytest.mark.parametrize("name", ["../w.safetensors", "/etc/passwd", "a/b.safetensors", 3])
def test_an_index_leads_nowhere_else(name: Any, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(BadModel, match=r"not beside it|no index"):
        pl.open(index)


def test_a_part_that_is_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.safetensors").write_bytes(files.safetensors({"a": files.tensor(0, 8, [2])}, bytes(8)))
    (tmp_path / "in" / "w.safetensors").symlink_to(tmp_path / "secret.safetensors")
    index = tmp_path / "in" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "w.safetensors"}}))
    with pytest.raises(BadModel, match="not beside it"):
        pl.open(index)


@pytest.mark.parametrize("kind", ["external", "soft", "elsewhere", "bomb"])
def test_hdf5_links_and_bombs_are_refused(kind: str, tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "w.h5"
    (tmp_path / "raw").write_bytes(bytes(64))
    with h5py.File(path, "w") as file:
        if kind == "external":
            file["a"] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "soft":
            file["a"] = h5py.SoftLink("/b")
        elif kind == "elsewhere":
            file.create_dataset("a", (8,), "f8", external=[(str(tmp_path / "raw"), 0, 64)])
        else:
            file.create_dataset("a", (1 << 24,), "f4", chunks=(1 << 20,), compression="gzip", fillvalue=0)
    with pytest.raises(BadModel, match=r"link to another|lie in another file|would unpack from"):
        listed(path)


def test_damaged_pieces_of_hdf5_are_a_sentence(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        one = file.create_dataset("a", data=np.arange(4096.0), chunks=(4096,), compression="gzip")
        at, length = one.id.get_chunk_info(0).byte_offset, one.id.get_chunk_info(0).size
    data = bytearray(path.read_bytes())
    data[at : at + length] = b"\xff" * length
    path.write_bytes(data)
    (entry,) = listed(path).entries
    with pytest.raises(BadModel, match=r"w\.h5: the numbers of a are damaged"):
        entry.tensor()


def arrays() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.arange(3.0), b=np.ones((2, 2), np.float32))
    return out.getvalue()


VALID = {
    "zip.pt": saved(small().state_dict()),
    "old.pt": saved(small().state_dict(), new=False),
    "whole.pt": saved(small()),
    "w.safetensors": files.safetensors({"a": files.tensor(0, 8, [2])}, bytes(8)),
    "a.npz": arrays(),
    "l.gguf": files.gguf(1, 0, files.gguf_tensor(b"w", (32,), 2) + bytes(64)),
    "script.pt": files.scripted(Path()),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(VALID)), st.data())
def test_any_change_gives_a_result_or_a_sentence(tmp_path: Path, name: str, data: st.DataObject) -> None:
    bytes_ = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bytes_) - 1))
        cut = data.draw(st.integers(0, 8))
        bytes_[at : at + cut] = data.draw(st.binary(max_size=8))
        if not bytes_:
            break
    path = tmp_path / name
    path.write_bytes(bytes_)
    for act in (lambda: pl.open(path, architecture=small()), lambda: listed(path).tensors()):
        try:
            act()
        except PellucidError as error:
            assert error.what


def test_the_valid_files_are_valid(tmp_path: Path) -> None:
    for name, data in VALID.items():
        (tmp_path / name).write_bytes(data)
        assert listed(tmp_path / name).tensors()


def test_nothing_of_an_archive_is_ever_extracted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("extracted")

    for name in ("extract", "extractall", "_extract_member"):
        monkeypatch.setattr(zipfile.ZipFile, name, forbidden)
    (tmp_path / "w.pt").write_bytes(VALID["zip.pt"])
    model: nn.Module = pl.open(tmp_path / "w.pt", architecture=small()).model
    assert not model.training
