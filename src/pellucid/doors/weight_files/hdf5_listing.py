"""What an HDF5 file lists: runs in the worker process, so it imports nothing that is slow to import."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pellucid.core.errors import BadModel, Missing
from pellucid.doors.files import printable
from pellucid.doors.weight_files.sealed import NOTHING_BIG, RATIO

_OBJECTS = 200_000
_DEPTH = 64
_PIP = "pip install h5py"


def listed(path: Path) -> list[dict[str, Any]]:
    """Every dataset, with its type, shape, stored size, and place if it is plain."""
    try:
        import h5py
    except ImportError:
        raise Missing(f"{printable(path.name)} is an HDF5 file, and h5py is not installed.", _PIP) from None
    found: list[dict[str, Any]] = []
    try:
        with h5py.File(path, "r") as file:
            _walk(file, "", path, found, set(), 0)
    except OSError as error:
        reason = printable(str(error).partition("(")[2].rstrip(")") or str(error), 100)
        raise BadModel(f"{printable(path.name)} is damaged or cut off: {reason}.", "Download it again.") from None
    return found


def _walk(group: Any, prefix: str, path: Path, found: list[dict[str, Any]], met: set[int], depth: int) -> None:
    import h5py

    shown = printable(path.name)
    if depth > _DEPTH:
        raise BadModel(f"{shown} nests groups more than {_DEPTH} deep.", "Do not trust this file.")
    for name in group:
        where = f"{prefix}{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "another file" if isinstance(link, h5py.ExternalLink) else "another place"
            raise BadModel(f"{shown}: {printable(where, 60)} is a link to {kind}.", "Do not trust this file.")
        one = group[name]
        address = hash(one)  # one object has one, under whatever names it is linked
        if isinstance(one, h5py.Group):
            if address not in met:
                met.add(address)
                _walk(one, f"{where}/", path, found, met, depth + 1)
        elif isinstance(one, h5py.Dataset):
            found.append(_described(one, where, shown))
        if len(found) + len(met) > _OBJECTS:
            raise BadModel(f"{shown} holds more than {_OBJECTS} objects.", "It is no ordinary model.")


def _described(one: Any, where: str, shown: str) -> dict[str, Any]:
    shown_name = printable(where, 60)
    if one.external or one.is_virtual:
        raise BadModel(f"{shown}: the numbers of {shown_name} lie in another file.", "Save them into this file.")
    shape, dtype, stored = (
        [int(n) for n in one.shape or ()],
        str(one.dtype.newbyteorder("=")),
        one.id.get_storage_size(),
    )
    whole = math.prod(shape) * one.dtype.itemsize
    if whole > max(NOTHING_BIG, RATIO * stored):
        raise BadModel(
            f"{shown}: {shown_name} would unpack from {stored} to {whole} bytes.", "Weights never shrink that far: "
            "do not trust this file.",
        )  # fmt: skip
    plain = one.chunks is None and one.dtype.byteorder != ">"
    offset = one.id.get_offset() if plain else None
    name = printable(where, len(where))  # whole: names that begin alike are not one name
    return {"name": name, "path": where, "dtype": dtype, "shape": shape, "stored": stored, "offset": offset}
