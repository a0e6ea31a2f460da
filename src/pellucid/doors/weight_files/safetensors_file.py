"""The tensors of safetensors files, alone or in parts, by a reader of our own: a header of JSON, then plain numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.weight_files.entries import Entry, Listing, Place, refuse_claim
from pellucid.doors.weight_files.sealed import size

HEADER_LIMIT = 64 << 20
TENSORS = 200_000
_TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
    "I64": "int64", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "C64": "complex64",
}  # fmt: skip


def safetensors(path: Path) -> Listing:
    """Every tensor of a safetensors file.  Raises `BadModel` for one that is cut off, damaged or made to mislead.

    The header is read within 64 MiB; names must be unique, and the tensors' bytes must follow one another without gap
    or overlap up to the end of the file, as the format demands.
    """
    total, shown = path.stat().st_size, printable(path.name)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:
            raise BadModel(
                f"{shown} has a damaged header: it claims {size(length)}; the limit is {size(HEADER_LIMIT)}.",
                "The file is damaged or made to mislead: do not trust it.",
            )
        text = file.read(length)
    if total < 8 + length:
        raise BadModel(f"{shown} ends after {total} bytes, within its header of {length}.", "Download it again.")
    header = _parsed(text, shown)
    metadata = header.pop("__metadata__", {})
    if len(header) > TENSORS:
        raise BadModel(f"{shown} names {len(header)} tensors; the limit is {TENSORS}.", "It is no ordinary model.")
    entries = [_entry(name, said, path, 8 + length) for name, said in header.items()]
    _refuse_gaps(entries, 8 + length, total, shown)
    return Listing(path, "a safetensors file", tuple(entries), _texts(metadata))


def _parsed(text: bytes, shown: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
            raise BadModel(f"{shown} names {printable(twice, 60)!r} twice.", "Do not trust this file.")
        return found

    try:
        header = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise BadModel(f"{shown} has a damaged header: it is no JSON.", "Copy or download it again.") from None
    if not isinstance(header, dict):
        raise BadModel(f"{shown} has a damaged header: it lists no tensors.", "Copy or download it again.")
    return header


def _described(said: Any) -> tuple[str, tuple[int, ...], int, int] | None:
    """The type, the shape, and where the bytes begin and end; None for what is not described as the format asks."""
    try:
        dtype, shape, (start, end) = said["dtype"], said["shape"], said["data_offsets"]
        fine = isinstance(dtype, str) and all(type(n) is int for n in (*shape, start, end)) and 0 <= start <= end
    except (TypeError, KeyError, ValueError):
        return None
    return (dtype, tuple(shape), start, end) if fine else None


def _entry(name: str, said: Any, path: Path, base: int) -> Entry:
    described = _described(said)
    if described is None:
        raise BadModel(
            f"{printable(path.name)} has a damaged header: {printable(name, 60)} is not described as the format asks.",
            "Copy or download it again.",
        )
    dtype, shape, start, end = described
    entry = Entry(name, _TYPES.get(dtype, dtype), shape, Place(path, base + start, end - start))
    refuse_claim(path.name, entry, end - start)
    if entry.bytes != end - start:
        raise BadModel(
            f"{printable(path.name)}: {printable(name, 60)} of {entry.bytes} bytes is given {end - start}.",
            "The file is damaged or made to mislead: do not trust it.",
        )
    return entry


def _refuse_gaps(entries: list[Entry], base: int, total: int, shown: str) -> None:
    at = base
    for e in sorted(entries, key=lambda e: (e.place.start, e.place.size) if e.place else (0, 0)):
        assert e.place  # noqa: S101 (every entry of this format has one)
        if e.place.start != at:
            how = "lies over the tensor before it" if e.place.start < at else "comes after a gap"
            raise BadModel(f"{shown}: {printable(e.name, 60)} {how}.", "The file is damaged: do not trust it.")
        at += e.place.size
    if at != total:
        if at > total:
            raise BadModel(f"{shown} ends after {total} of {at} bytes.", "Copy or download it again.")
        raise BadModel(f"{shown} has {total - at} bytes that belong to no tensor.", "Do not trust this file.")


def _texts(metadata: Any) -> Mapping[str, str]:
    return {str(k): str(v) for k, v in metadata.items()} if isinstance(metadata, dict) else {}


def parts_of(index: Path) -> list[Path]:
    """The files that an index (`*.index.json`) names, each once, beside it.

    Raises `BadModel` for names that lead elsewhere and for files that are not there.
    """
    shown = printable(index.name)
    try:
        if index.stat().st_size > HEADER_LIMIT:
            raise ValueError
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        raise BadModel(f"{shown} is no index of a checkpoint in parts.", "Copy or download it again.") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not _beside(index, index.parent / name):
            raise BadModel(
                f"{shown} names {printable(str(name), 60)!r}, which is not beside it.", "Do not trust this index."
            )
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise BadModel(
            f"{shown}: {len(missing)} of its {len(names)} parts {verb} missing (first: {printable(missing[0], 60)}).",
            "Download them into the same folder.",
        )
    return [index.parent / name for name in names]


def _beside(index: Path, part: Path) -> bool:
    """Does it lie in the index's folder, or where the cache of Hugging Face keeps what its folders link to?"""
    folder, real = index.parent.resolve(), part.resolve()
    return real.parent in (folder, index.resolve().parent, folder.parent.parent / "blobs")
