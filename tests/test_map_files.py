"""Files of weights without an architecture, and configurations without weights: maps, facts and differences."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.architecture import weight_facts
from pellucid.architecture.sources.from_names import Named, from_names
from pellucid.architecture.tree import tree
from pellucid.doors.weight_files import listing
from pellucid.render.terminal import terminal
from pellucid.surfaces.facts import facts
from pellucid.surfaces.show import view_of
from tests.command_line import pellucid as pellucid
from tests.corpus import files


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.scale = nn.Parameter(torch.ones(8))


class Blocks(nn.Module):
    """A network that nobody knows: twelve blocks, so that 10 comes before 2 where names are sorted as texts."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, 5, 8))
        self.stem, self.blocks = nn.Conv2d(3, 8, 3), nn.ModuleList(Block() for _ in range(12))


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(Blocks().state_dict())


def written(kind: str, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path = folder / f"w.{kind}"
    if kind == "npz":
        np.savez(path, **{k: v.numpy() for k, v in tensors.items()})
    elif kind == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, v in tensors.items():
                file[name.replace(".", "/")] = v.numpy()
    elif kind == "pt":
        torch.save({"epoch": 3, "state_dict": tensors}, path)
    else:
        header, data = {}, b""
        for name in sorted(tensors):  # as texts
            raw = tensors[name].contiguous().numpy().tobytes()
            header[name] = files.tensor(len(data), len(data) + len(raw), list(tensors[name].shape))
            data += raw
        path.write_bytes(files.safetensors(header, data))
    return path


@pytest.mark.parametrize("kind", ["pt", "safetensors", "npz", "h5"])
def test_a_file_of_weights_is_mapped_by_its_names(kind: str, tmp_path: Path) -> None:
    tensors = state()
    found = pl.map(written(kind, tmp_path, tensors))
    graph, count = found.graph, sum(v.numel() for v in tensors.values())
    assert (found.totals.parameters, found.totals.parameter_bytes) == (count, 4 * count)
    assert (found.totals.tensors, found.totals.operations, len(graph.edges)) == (len(tensors), 0, 0)
    assert found.overlay.measures["stored"].groups[0] == 4 * count
    held = {p: n for p, n in zip(graph.groups.path, graph.groups.parameters, strict=True)}
    assert held["blocks.7.norm"] == 16 and held["blocks.7"] == 8 * 8 + 8 + 16 + 8 and held["place"] == 40
    assert graph.nodes.label[graph.nodes.site.index("stem")] == "8x3x3x3, bias 8"
    (run,) = (line for line in tree(graph) if line.count > 1)
    assert (run.name, run.count, run.parameters) == ("0 … 11", 12, 12 * held["blocks.7"])
    assert "tells no operations" in found.notes[-1]


def test_tensors_of_one_place_are_counted_once_and_deep_names_end_somewhere() -> None:
    tied = [Named("a.w", (4,), "float32", 16, "here"), Named("b.w", (4,), "float32", 16, "here")]
    graph, (nodes, groups) = from_names(tied, "tied")
    assert graph.groups.parameters == (4, 4, 4) and nodes == (16, 0) and groups == (16, 16, 0)
    graph, _ = from_names([Named("x." * 5000 + "w", (1,), "float32", 4)], "deep")
    assert len(graph.groups) < 40 and graph.groups.parameters[0] == 1


@pytest.mark.parametrize("at_once", [10**9, 1], ids=["whole", "streamed"])
def test_facts_of_a_file_are_those_of_its_finite_numbers(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_facts, "AT_ONCE", at_once)
    monkeypatch.setattr(listing, "_PIECE", 100)
    v = torch.randn(7, 96, generator=torch.Generator().manual_seed(1))
    v[0, 0], v[1, 5], v[2, :4] = math.nan, -math.inf, 0
    found = pl.weights(written("safetensors", tmp_path, {"a.w": v, "eye": 2 * torch.eye(3)}), spectra=at_once > 1)
    fine = v[torch.isfinite(v)].double().numpy()
    a, eye = found.tensors
    assert (a.bad, a.count, a.dtype, a.spectrum) == (2, 672, "float32", ())
    assert a.norm == pytest.approx(np.linalg.norm(fine)) and a.mean == pytest.approx(fine.mean())
    assert a.spread == pytest.approx(fine.std()) and (a.low, a.high) == (fine.min(), fine.max())
    assert list(a.histogram) == np.histogram(fine, 32)[0].tolist() and a.zeros == pytest.approx(4 / 672)
    assert eye.spectrum == (pytest.approx((2, 2, 2)) if at_once > 1 else ())
    assert "2 numbers are NaN or infinite" in terminal(view_of(found), width=120)
    json.dumps(facts(found), allow_nan=False)


def gguf(folder: Path) -> Path:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    keys = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    keys += text(b"llama.block_count") + struct.pack("<II", 4, 2)
    keys += text(b"llama.context_length") + struct.pack("<II", 4, 2048)
    header = files.gguf(1, 3, keys + files.gguf_tensor(b"blk.0.w.weight", (256, 2), 16))
    path = folder / "m.gguf"
    path.write_bytes(header + bytes(-len(header) % 32) + bytes(2 * 66))
    return path


def test_packed_numbers_are_listed_and_the_file_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pellucid.doors.weight_files.listing.is_unpacked", lambda _: False)
    monkeypatch.setattr("pellucid.doors.weight_files.gguf_file.is_unpacked", lambda _: False)
    found = pl.map(gguf(tmp_path))
    assert found.metadata["llama.context_length"] == "2048" and found.totals.parameter_bytes == 132
    assert any("llama, 2 layers, 2048 tokens of context" in note for note in found.notes)
    listed = pl.weights(gguf(tmp_path))
    (one,) = listed.tensors
    assert (one.name, one.shape, one.dtype, one.bad) == ("blk.0.w.weight", (2, 256), "iq2_xxs", 0)
    assert one.norm != one.norm
    text = terminal(view_of(listed), width=120)
    assert "of type iq2_xxs" in text
    row = next(line for line in text.split("\n") if "2×256" in line)
    assert row.count("–") == 6
    assert facts(listed)["tensors"][0]["norm"] is None


def test_files_are_compared_by_name_whatever_holds_them(tmp_path: Path) -> None:
    old = state()
    new = {k: v.clone() for k, v in old.items()}
    new["stem.weight"] *= 1.5
    new["blocks.3.norm.bias"][0] = math.nan
    new["place"] = torch.zeros(1, 9, 8)
    del new["blocks.11.scale"]
    found = pl.map_difference(written("npz", tmp_path, old), written("h5", tmp_path, new))
    first, second = found.weights[:2]
    assert (first.name, first.bad) == ("blocks.3.norm.bias", 1)
    assert (second.name, second.other, second.relative) == ("stem.weight", "stem/weight", pytest.approx(0.5))
    assert second.cosine == pytest.approx(1) and all(w.largest == 0 and not w.bad for w in found.weights[2:])
    assert found.parts.removed == ("blocks.11.scale",) and [c.site for c in found.parts.changed] == ["place"]
    assert "2 of" in terminal(view_of(found), width=120)
    net = Blocks()
    net.load_state_dict(old)
    same = pl.map_difference(net, written("pt", tmp_path, old))
    assert len(same.weights) == len(old) and all(w.largest == 0 for w in same.weights)
    with pytest.raises(pl.BadInput, match="no operations"):
        pl.map_difference(tmp_path / "w.npz", tmp_path / "w.pt", torch.zeros(4, 3, 8, 8))


def test_long_names_of_hdf5_stay_apart_and_what_an_optimizer_keeps_is_left_out(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    long = "model_weights/a_layer_with_quite_a_long_name/projection/output_projection"
    for name, value in (("a.h5", 0.0), ("b.h5", 1.0)):
        with h5py.File(tmp_path / name, "w") as file:
            file[f"{long}/first"] = np.ones((2, 2), np.float32)
            file[f"{long}/second"] = np.full((2, 2), value, np.float32)
            for group in ("optimizer_weights/adam", "optimizer/vars"):
                file[f"{group}/momentum"] = np.ones(7, np.float32)
    found = pl.weights(tmp_path / "a.h5")
    assert {t.name: t.mean for t in found.tensors} == {f"{long}/first": 1.0, f"{long}/second": 0.0}
    assert any("2 of the file's 4 tensors" in note for note in found.notes)
    moved = {w.name: w.largest for w in pl.map_difference(tmp_path / "a.h5", tmp_path / "b.h5").weights}
    assert moved == {f"{long}/first": 0.0, f"{long}/second": 1.0}


def test_a_configuration_is_mapped_without_weights(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    said = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8192, "vocab_size": 1000,
            "intermediate_size": 28672, "num_hidden_layers": 4, "num_attention_heads": 64, "num_key_value_heads": 8,
            "dtype": "bfloat16", "id2label": {str(i): "x" * 30 for i in range(300)}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(dict(sorted(said.items()))))  # labels come first, many of them
    layer = 8192 * (2 * 8192 + 2 * 1024) + 3 * 8192 * 28672 + 2 * 8192
    for what in (tmp_path, tmp_path / "config.json"):
        found = pl.map(what)
        assert found.totals.parameters == 4 * layer + 2 * 1000 * 8192 + 8192
        assert found.totals.parameter_bytes == 2 * found.totals.parameters and found.totals.flops


def test_the_command_takes_what_is_stated_of_a_model(pellucid, tmp_path: Path) -> None:
    path = written("pt", tmp_path, state())
    assert "×12" in pellucid("map", str(path), "--quiet").out
    assert "stable rank" in pellucid("map", str(path), "--weights", "--quiet").out
    assert "0 of 63 shared weights differ" in pellucid("map", str(path), "--compare", str(path), "--quiet").out
    for ending in ("html", "svg", "png", "pdf", "json", "dot"):
        assert pellucid("map", str(path), "-o", f"m.{ending}", "--quiet").code == 0
    done = pellucid("map", str(path), "--architecture", "efficientnet_lite0", "--quiet")
    assert done.code == 1 and "does not fit" in done.err and "Traceback" not in done.err
    assert pellucid("map", str(path), "--trust-file", "noise.png", "--quiet").code == 2
    assert pellucid("dream", "--architecture", "efficientnet_lite0", "--target", "dog", "--quiet").code == 2


@pytest.mark.parametrize("case", tuple(files.listed_cases()), ids=lambda case: case.name)
def test_bad_files_are_refused_in_a_sentence(case: files.BadFile, pellucid, tmp_path: Path) -> None:
    (tmp_path / case.name).write_bytes(case.build(tmp_path / "canary"))
    for more in ((), ("--weights",), ("--compare", case.name)):
        done = pellucid("map", case.name, "--quiet", *more)
        said = " ".join(done.err.split())
        assert done.code in (1, 2, 3) and said.startswith("pellucid: ") and "Traceback" not in said
