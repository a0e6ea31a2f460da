"""Weights without an architecture: what is listed, and statistics against numpy over the same numbers."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.doors.weight_files import gguf_blocks, listing
from pellucid.doors.weight_files.gguf_blocks import TYPES, unpacked_blocks
from pellucid.doors.weight_files.listing import listed, statistics
from tests.corpus import files

NUMBERS = np.random.default_rng(0).normal(size=(8, 96)).astype(np.float32)
NUMBERS[0, :5] = 0
NUMBERS[1, 3] = np.nan


def half(data: bytes) -> float:
    return float(np.frombuffer(data, "<f2")[0])


def slow_q4_0(data: bytes) -> list[float]:
    """One block at a time: a scale of two bytes, then sixteen of two halves; eight is nothing."""
    found: list[float] = []
    for at in range(0, len(data), 18):
        scale, packed = half(data[at : at + 2]), data[at + 2 : at + 18]
        found += [scale * ((b & 15) - 8) for b in packed] + [scale * ((b >> 4) - 8) for b in packed]
    return found


def slow_q4_1(data: bytes) -> list[float]:
    found: list[float] = []
    for at in range(0, len(data), 20):
        scale, least, packed = half(data[at : at + 2]), half(data[at + 2 : at + 4]), data[at + 4 : at + 20]
        found += [scale * (b & 15) + least for b in packed] + [scale * (b >> 4) + least for b in packed]
    return found


def slow_q8_0(data: bytes) -> list[float]:
    found: list[float] = []
    for at in range(0, len(data), 34):
        scale = half(data[at : at + 2])
        found += [scale * n for n in struct.unpack("32b", data[at + 2 : at + 34])]
    return found


@pytest.mark.parametrize(("kind", "size", "slow"), [(2, 18, slow_q4_0), (3, 20, slow_q4_1), (8, 34, slow_q8_0)])
def test_quantised_blocks_are_unpacked_as_the_format_says(kind: int, size: int, slow: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(kind)
    blocks = [np.float16(rng.normal()).tobytes() + rng.integers(0, 256, size - 2, np.uint8).tobytes() for _ in range(6)]
    if kind == 3:  # the second number of a block is a half as well
        blocks = [b[:2] + np.float16(rng.normal()).tobytes() + b[4:] for b in blocks]
    header = files.gguf(1, 0, files.gguf_tensor(b"blk.0.w", (96, 2), kind))
    path = tmp_path / "m.gguf"
    path.write_bytes(header + bytes(-len(header) % 32) + b"".join(blocks))
    (entry,) = listed(path).entries
    assert (entry.name, entry.shape, entry.bytes) == ("blk.0.w", (2, 96), 6 * size)
    wanted = np.array(slow(b"".join(blocks)), np.float32)
    assert np.allclose(entry.tensor().numpy().reshape(-1), wanted, rtol=1e-6)
    found = statistics(entry)
    assert found is not None and found.mean == pytest.approx(wanted.mean(), rel=1e-4, abs=1e-6)


KINDS = [name for name, *_ in TYPES.values()]
NO_ORACLE = {"q8_1", "q8_k", "q1_0"}  # the package gguf does not unpack them: closed forms below


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A file with a tensor of each packing, written by the package gguf, and the numbers that it finds in them."""
    gguf = pytest.importorskip("gguf")
    path, rng, wanted = tmp_path_factory.mktemp("gguf") / "all.gguf", np.random.default_rng(0), {}
    writer = gguf.GGUFWriter(path, "llama")
    for number, (name, _, size) in TYPES.items():
        kind = gguf.GGMLQuantizationType(number)
        data = rng.integers(0, 256, (3, 2 * size), dtype=np.uint8)
        if name in ("q8_1",):
            continue  # of another size in the package, and never in a file
        if name not in NO_ORACLE:
            with np.errstate(all="ignore"):
                wanted[name] = gguf.quants.dequantize(data, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, wanted


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in NO_ORACLE])
def test_every_packing_is_unpacked_as_by_the_package_gguf(
    kind: str, packed: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, oracle = packed
    (entry,) = [e for e in listed(path).entries if e.name == kind]
    wanted = oracle[kind]
    assert entry.shape == wanted.shape and np.array_equal(entry.tensor().numpy(), wanted, equal_nan=True)
    monkeypatch.setattr(listing, "_PIECE", 512)  # several pieces, the last a short one
    found, fine = statistics(entry), wanted[np.isfinite(wanted)].astype(np.float64)
    assert found is not None and found.bad == wanted.size - fine.size and found.zeros == (wanted == 0).mean()
    assert (found.lowest, found.highest) == (fine.min(), fine.max())
    assert found.mean == pytest.approx(fine.mean(), rel=1e-9, abs=1e-9 * fine.std())
    assert found.std == pytest.approx(fine.std(), rel=1e-9)


def test_packings_by_their_closed_forms() -> None:
    numbers = np.random.default_rng(1).integers(-128, 128, 256).astype(np.int8)
    assert np.array_equal(unpacked_blocks("q8_k", struct.pack("<f", 0.3) + numbers.tobytes() + bytes(32)),
                          np.float32(0.3) * numbers)  # fmt: skip
    halves = np.array([0.5, 7.0], np.float16).tobytes()  # the scale, and a sum that products use
    assert np.array_equal(unpacked_blocks("q8_1", halves + numbers[:32].tobytes()), numbers[:32] / np.float32(2))
    bits = unpacked_blocks("q1_0", np.float16(3).tobytes() + bytes([0b10] * 16))
    assert np.array_equal(bits, [-3, 3, *[-3] * 6] * 16)


def test_what_is_not_unpacked_is_said(packed: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pl.weights(packed[0])
    assert not [n for n in whole.notes if "unpacked" in n] and all(t.norm >= 0 for t in whole.tensors)
    monkeypatch.setattr(gguf_blocks.importlib.util, "find_spec", lambda _: None)
    less = pl.weights(packed[0])
    unknown = {t.name for t in less.tensors if np.isnan(t.norm)}
    assert unknown == set(gguf_blocks.BOOKS)
    (what, how) = [n for n in less.notes if "unpacked" in n]
    assert all(name in what for name in unknown) and "only shapes are known" in what and "pip install gguf" in how


def written(kind: str, folder: Path) -> Path:
    path, tensors = folder / f"w.{kind}", {"a": torch.from_numpy(NUMBERS), "t": torch.from_numpy(NUMBERS).T}
    if kind == "safetensors":
        data = NUMBERS.tobytes()
        path.write_bytes(files.safetensors({"a": files.tensor(0, len(data), [8, 96])}, data))
    elif kind == "npz":
        out = io.BytesIO()
        np.savez_compressed(out, a=NUMBERS, t=np.asfortranarray(NUMBERS.astype(">f4")))
        path.write_bytes(out.getvalue())
    elif kind == "h5":
        import h5py

        with h5py.File(path, "w") as file:
            file["a"] = NUMBERS
            file.create_dataset("t", data=NUMBERS, chunks=(4, 32), compression="gzip")
    else:
        path.write_bytes(files.saved(tensors, new=kind == "pt"))
    return path


@pytest.mark.parametrize("kind", ["pt", "old", "safetensors", "npz", "h5"])
def test_statistics_are_those_of_the_numbers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_PIECE", 100)  # several pieces, the last one shorter
    path = written(kind, tmp_path)
    fine = NUMBERS[np.isfinite(NUMBERS)].astype(np.float64)
    for entry in listed(path).entries:
        found = statistics(entry)
        assert found is not None and (found.bad, found.zeros) == (1, 5 / NUMBERS.size)
        assert (found.lowest, found.highest) == (fine.min(), fine.max())
        assert found.mean == pytest.approx(fine.mean(), abs=1e-12)
        assert found.std == pytest.approx(fine.std(), rel=1e-12)


def test_statistics_read_a_piece_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0

    def seen(place: Any, start: int, count: int, read: Any = listing.read) -> bytearray:
        nonlocal largest
        largest = max(largest, count)
        return bytearray(read(place, start, count))

    monkeypatch.setattr(listing, "read", seen)
    data = bytes(4 * (3 << 20))
    (tmp_path / "w.safetensors").write_bytes(files.safetensors({"a": files.tensor(0, len(data), [3 << 20])}, data))
    (entry,) = listed(tmp_path / "w.safetensors").entries
    assert statistics(entry) == listing.Statistics(0, 0, 0, 0, 1, 0)
    assert largest == 4 << 20


def test_the_facts_of_a_gguf_file_are_listed(tmp_path: Path) -> None:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    facts = text(b"general.name") + struct.pack("<I", 8) + text(b"toy")
    facts += text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"b")
    facts += text(b"layers") + struct.pack("<II", 4, 7)
    (tmp_path / "m.gguf").write_bytes(files.gguf(0, 3, facts))
    assert listed(tmp_path / "m.gguf").metadata == {"general.name": "toy", "tokens": "['a', 'b']", "layers": "7"}
