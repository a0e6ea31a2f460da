"""The tensors in a file of `torch.save`, found without unpickling: of state dicts, of checkpoints, of whole modules."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.errors import BadModel
from pellucid.core.uncollected import uncollected
from pellucid.doors.files import printable
from pellucid.doors.torch.pickle_names import dangerous
from pellucid.doors.torch.pickle_parts import Cut, Global, Made, Persistent, Seen
from pellucid.doors.torch.pickle_text import told
from pellucid.doors.weight_files.entries import ITEM, Entry, Place, contiguous, refuse_claim
from pellucid.doors.weight_files.sealed import archive, member

if TYPE_CHECKING:
    from torch import Tensor

PICKLE_LIMIT = 256 << 20
_MAGIC = 0x1950A86A20F9469CFC6C  # of the format before torch 1.6
_AXES = 64
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Packed:
    """A member of an archive that is stored compressed."""

    path: Path
    name: str
    size: int

    def bytes(self) -> bytes:
        """Its bytes, unpacked."""
        with archive(self.path) as opened:
            return member(opened, self.name, self.size)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What `torch.save` was given, as text; where its storages lie; and what unpickling it would import."""

    path: Path
    root: Any
    storages: Mapping[str, Place | Packed]
    seen: Seen


def checkpoint(path: Path) -> Checkpoint:
    """What is in a file of `torch.save`, of either format.  Nothing is imported, and no number is read.

    Raises `BadModel` for a file that is damaged, cut off, or makes claims that it cannot hold.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    seen = Seen()
    try:
        with uncollected():  # all of it stays
            return _zipped(path, seen) if zipped else _legacy(path, seen)
    finally:
        refuse_dangerous(path, seen)  # also where the pickle breaks off after them


def refuse_dangerous(path: Path, seen: Seen) -> None:
    """Raise `BadModel` when unpickling would import a name that runs programs or reaches files."""
    names = [str(name) for name in seen.names if dangerous(name)]
    if names:
        raise BadModel(
            f"{printable(path.name)} would import {printable(names[0], 60)} if it were unpickled, which can run "
            f"programs or reach files.{f' So would {len(names) - 1} more of its names.' if names[1:] else ''}",
            "Nothing was run. Do not trust this file; ask for the weights as safetensors.",
        )


def _zipped(path: Path, seen: Seen) -> Checkpoint:
    with archive(path) as opened:
        names = [e.filename for e in opened.infolist()]
        inner = [n for n in names if n == "data.pkl" or n.endswith("/data.pkl")]
        if len(inner) != 1:
            raise BadModel(
                f"{printable(path.name)} holds {len(inner)} pickles.", "Save the state dict with torch.save."
            )
        folder = inner[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in names and member(opened, f"{folder}byteorder", 64).strip() == b"big":
            raise BadModel(f"{printable(path.name)} was written on a big-endian machine.", "Save it as safetensors.")
        root = _told(io.BytesIO(member(opened, inner[0], PICKLE_LIMIT)), seen, path)
        data = folder + "data/"
        with path.open("rb") as file:
            inside = [e for e in opened.infolist() if e.filename.startswith(data)]
            storages = {e.filename.removeprefix(data): _source(e, path, file) for e in inside}
    return Checkpoint(path, root, storages, seen)


def _told(file: io.BytesIO, seen: Seen, path: Path) -> Any:
    try:
        return told(file, seen)
    except Cut as error:
        reason = printable(str(error), 80).rstrip(".")
        raise BadModel(
            f"The pickle in {printable(path.name)} is cut off or damaged ({reason}).", "Download it again."
        ) from error


def _source(entry: zipfile.ZipInfo, path: Path, file: io.BufferedReader) -> Place | Packed:
    """Where a member's bytes lie in the archive; a packed one is unpacked when it is asked for."""
    if entry.compress_type != zipfile.ZIP_STORED:
        return Packed(path, entry.filename, entry.file_size)
    file.seek(entry.header_offset + 26)
    lengths = file.read(4)
    start = entry.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    return Place(path, start, entry.file_size)


def _legacy(path: Path, seen: Seen) -> Checkpoint:
    """Five pickles (a number, a version, the system, the object, the storages' names), then the storages' bytes."""
    total = path.stat().st_size
    with path.open("rb") as file:
        try:
            first = told(file, seen)
            if first != _MAGIC:
                return Checkpoint(path, first, {}, seen)
            _, system, root, keys = (told(file, seen) for _ in range(4))
        except Cut as error:
            reason = printable(str(error), 80).rstrip(".")
            raise BadModel(
                f"The pickle in {printable(path.name)} is cut off or damaged ({reason}).", "Download it again."
            ) from error
        at = file.tell()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise BadModel(f"{printable(path.name)} was written on a big-endian machine.", "Save it as safetensors.")
    widths = {_key(s[2]): ITEM.get(_storage_type(s), 1) for s in _storages_in(root)}
    storages: dict[str, Place | Packed] = {}
    for key in keys if isinstance(keys, list) else []:
        with path.open("rb") as file:
            file.seek(at)
            count = int.from_bytes(file.read(8), "little") * widths.get(_key(key), 1)
        if at + 8 + count > total:
            raise BadModel(
                f"{printable(path.name)} ends after {total} of {at + 8 + count} bytes.", "Download it again."
            )
        storages[_key(key)] = Place(path, at + 8, count)
        at += 8 + count
    return Checkpoint(path, root, storages, seen)


def _storages_in(root: Any) -> Iterator[tuple[Any, ...]]:
    """Every reference to a storage in a structure."""
    for part in _parts(root):
        if isinstance(part, Persistent) and isinstance(part.id, tuple) and len(part.id) >= 5:
            yield part.id


def _parts(root: Any) -> Iterator[Any]:
    """Every part of a structure, each once, however often it is held."""
    met: set[int] = set()
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) in met or isinstance(part, str | int | float | bytes | None):
            continue
        met.add(id(part))
        yield part
        if isinstance(part, Made):
            waiting += [part.callee, part.args, part.state, part.items, part.values]
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part


def _storage_type(reference: tuple[Any, ...]) -> str:
    kind = reference[1]
    return _STORAGES.get(kind.name, kind.name) if isinstance(kind, Global) else "unknown"


def is_tensor(made: Any) -> bool:
    """Would this call rebuild a tensor, of whatever kind?"""
    made = _rebuilt(made)
    return made is not None and (_is_plain(made) or _is_other(made))


def entry_of(made: Any, name: str, file: Checkpoint) -> Entry | None:
    """The tensor that a call would rebuild, or None when it is something else."""
    made = _rebuilt(made)
    if made is None:
        return None
    if _is_other(made):
        raise BadModel(
            f"{_shown(file, name)} is {_OTHERS[made.callee.name]}.",
            "Save ordinary tensors: {k: v.to_dense() or v.dequantize()}.",
        )
    return _dense(made, name, file) if _is_plain(made) else None


def _rebuilt(made: Any) -> Made | None:
    """The call within those that make a parameter of a tensor, or one of a class of its own."""
    for _ in range(4):
        if not isinstance(made, Made) or not isinstance(made.callee, Global):
            return None
        kind = made.callee.name
        if kind in ("_rebuild_parameter", "_rebuild_parameter_with_state") and made.args:
            made = made.args[0]
        elif kind == "_rebuild_from_type_v2" and len(made.args) > 2 and isinstance(made.args[2], tuple):
            made = Made(made.args[0], made.args[2])
        else:
            return made
    return None


def _is_plain(made: Made) -> bool:
    return made.callee.module == "torch._utils" and made.callee.name in ("_rebuild_tensor_v2", "_rebuild_tensor_v3")


def _is_other(made: Made) -> bool:
    return made.callee.name in _OTHERS and str(made.callee.module).startswith("torch.")


_OTHERS = {
    "_rebuild_qtensor": "quantized", "_rebuild_sparse_tensor": "sparse", "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "on the meta device: it holds no numbers",
    "_rebuild_wrapper_subclass": "a tensor of a class of its own",
}  # fmt: skip


def _dense(made: Made, name: str, file: Checkpoint) -> Entry:
    described = _described(made)
    if described is None:
        raise BadModel(
            f"{_shown(file, name)} is described in no way that torch.save writes.", "Do not trust this file."
        )
    reference, offset, shape, stride = described
    dtype = _storage_type(reference)
    if made.callee.name.endswith("v3") and len(made.args) > 6 and isinstance(made.args[6], Global):
        dtype = made.args[6].name
    source = file.storages.get(_key(reference[2]))
    if source is None:
        raise BadModel(f"{_shown(file, name)} is missing: the file ends before it.", "Copy or download it again.")
    entry = Entry(name, dtype, shape, source if isinstance(source, Place) else None, stride, offset)
    refuse_claim(file.path.name, entry, source.size)
    if not isinstance(source, Place):
        return Entry(name, dtype, shape, load=partial(_strided, source, entry))
    return entry if stride != contiguous(shape) else Entry(name, dtype, shape, source, None, offset)


def _described(made: Made) -> tuple[tuple[Any, ...], int, tuple[int, ...], tuple[int, ...]] | None:
    """The reference to the storage, the offset, the shape and the strides; None for anything else."""
    if len(made.args) < 4:
        return None
    storage, offset, shape, stride = made.args[:4]
    if not isinstance(storage, Persistent) or not isinstance(storage.id, tuple) or len(storage.id) < 5:
        return None
    if not isinstance(shape, tuple) or not isinstance(stride, tuple) or not len(shape) == len(stride) <= _AXES:
        return None
    return (storage.id, offset, shape, stride) if all(type(n) is int for n in (offset, *shape, *stride)) else None


def _key(value: Any) -> str:
    """The name of a storage; nothing but a plain one is written out, for a nest of others has no end."""
    return str(value) if isinstance(value, str | int) else ""


def _shown(file: Checkpoint, name: str) -> str:
    return f"{printable(file.path.name)}: {printable(name, 60)}"


def _strided(source: Packed, entry: Entry) -> Tensor:
    import torch

    flat = torch.frombuffer(bytearray(source.bytes()), dtype=getattr(torch, entry.dtype))
    last = entry.offset + sum((n - 1) * s for n, s in zip(entry.shape, entry.stride or (), strict=True))
    if entry.count and last >= len(flat):
        raise BadModel(f"{printable(entry.name)} reaches beyond its storage.", "Do not trust this file.")
    return flat.as_strided(entry.shape, entry.stride or (), entry.offset)
