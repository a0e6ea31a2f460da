"""The tensors of a GGUF file: names, shapes and how their numbers are packed, by a reader of the header alone.

The format is described by its authors (ggml, docs/gguf.md); versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import struct
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.weight_files.entries import Entry, Listing, Place, read, refuse_claim
from pellucid.doors.weight_files.gguf_blocks import TYPES, is_unpacked, unpacked_blocks

if TYPE_CHECKING:
    from torch import Tensor

TENSORS = 200_000
_FACTS = 100_000  # keys and list items
_TEXT = 1 << 24  # letters of one text; vocabularies have many short ones
_AXES = 8
_PLAIN = {
    0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64", 30: "bfloat16",
}  # fmt: skip
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


def gguf(path: Path) -> Listing:
    """Every tensor of a GGUF file, with the file's own facts; a shape is written as torch would, rows first.

    Raises `BadModel` for a file that is cut off, damaged, or makes claims that it cannot hold.
    """
    total, shown = path.stat().st_size, printable(path.name)
    with path.open("rb") as file:
        header = _Header(file, total, shown)
        magic, version = file.read(4), header.number("<I")
        if magic != b"GGUF" or version not in (2, 3):
            raise BadModel(f"{shown} is GGUF of version {version}; 2 and 3 are known.", "Convert it again.")
        tensors, keys = header.number("<Q"), header.number("<Q")
        if tensors > TENSORS or keys > _FACTS:
            raise BadModel(f"{shown} names {tensors} tensors and {keys} facts.", "It is damaged: do not trust it.")
        facts = {header.text(): header.value(header.number("<I"), 0) for _ in range(keys)}
        described = [header.tensor() for _ in range(tensors)]
        step = facts.get("general.alignment", 32)
        step = step if isinstance(step, int) and 0 < step <= 1 << 20 else 32
        base = -(-file.tell() // step) * step
    entries = tuple(_entry(path, base, *one) for one in described)
    end = max((e.place.start + e.place.size for e in entries if e.place), default=0)
    if end > total:
        raise BadModel(f"{shown} ends after {total} of {end} bytes.", "Copy or download it again.")
    if len({e.name for e in entries}) < len(entries):
        raise BadModel(f"{shown} names two tensors alike.", "Do not trust this file.")
    return Listing(path, "a GGUF language model", entries, {k: _said(v) for k, v in facts.items()})


class _Header:
    """Reads numbers and texts, and never more than the file has."""

    def __init__(self, file: IO[bytes], total: int, shown: str) -> None:
        self.file, self.total, self.shown, self.items = file, total, shown, 0

    def _bytes(self, count: int) -> bytes:
        if count > self.total - self.file.tell():
            raise BadModel(f"{self.shown} ends after {self.total} bytes, within its header.", "Download it again.")
        return self.file.read(count)

    def number(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def text(self) -> str:
        length = self.number("<Q")
        if length > _TEXT:
            raise BadModel(f"{self.shown} has a text of {length} letters in its header.", "Do not trust this file.")
        return self._bytes(length).decode("utf-8", "replace")

    def value(self, kind: int, depth: int) -> Any:
        """A fact's value; of a list of texts or numbers its length and the first few."""
        if kind == _STRING:
            return self.text()
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind != _ARRAY or depth > 2:
            raise BadModel(f"{self.shown} has a fact of the unknown type {kind}.", "Do not trust this file.")
        inner, count = self.number("<I"), self.number("<Q")
        if inner in _NUMBERS:
            data = self._bytes(count * struct.calcsize(_NUMBERS[inner]))
            return [v for (v,) in struct.iter_unpack(_NUMBERS[inner], data[: 8 * struct.calcsize(_NUMBERS[inner])])]
        if count > self.total:
            raise BadModel(f"{self.shown} has a list of {count} texts.", "Do not trust this file.")
        return [v for i in range(count) if (v := self.value(inner, depth + 1)) is not None and i < 8]

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, type and offset."""
        name, axes = self.text(), self.number("<I")
        if axes > _AXES:
            raise BadModel(f"{self.shown}: {printable(name, 60)} has {axes} axes.", "Do not trust this file.")
        shape = tuple(self.number("<Q") for _ in range(axes))[::-1]
        return name, shape, self.number("<I"), self.number("<Q")


def _entry(path: Path, base: int, name: str, shape: tuple[int, ...], kind: int, offset: int) -> Entry:
    count, total = math.prod(shape), path.stat().st_size
    if kind in _PLAIN:
        held = max(0, total - base - offset)
        entry = Entry(name, _PLAIN[kind], shape, Place(path, base + offset, 0))
        refuse_claim(path.name, entry, held)
        return Entry(name, _PLAIN[kind], shape, Place(path, base + offset, entry.bytes))
    if kind not in TYPES:
        return Entry(name, f"type {kind}", shape, blocked=(max(1, count), 0))
    packing, numbers, size = TYPES[kind]
    if count % numbers:
        raise BadModel(
            f"{printable(path.name)}: {printable(name, 60)} has {count} numbers in blocks of {numbers}.",
            "The file is damaged: do not trust it.",
        )
    entry = Entry(name, packing, shape, blocked=(numbers, size))
    refuse_claim(path.name, entry, max(0, total - base - offset))
    place = Place(path, base + offset, entry.bytes)
    load = partial(_unpacked, place, packing, shape) if is_unpacked(packing) else None
    return Entry(name, packing, shape, place, load=load, blocked=(numbers, size))


def _said(value: Any) -> str:
    return printable(str(value), 200)


def _unpacked(place: Place, packing: str, shape: tuple[int, ...]) -> Tensor:
    import torch

    return torch.from_numpy(unpacked_blocks(packing, read(place, 0, place.size)).reshape(shape))
