"""Weights without an architecture: what is listed, and statistics against numpy over the same numbers."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pellucid.doors.weight_files import listing
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
