"""The arrays of an `.npz` archive; arrays of Python objects are pickles, and are named but never read."""

from __future__ import annotations

import ast
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import ZipExtFile

import numpy as np

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.weight_files.entries import ITEM, Entry, Listing, refuse_claim
from pellucid.doors.weight_files.sealed import archive, member

if TYPE_CHECKING:
    from torch import Tensor

_HEADER = 1 << 16


def arrays(path: Path) -> Listing:
    """Every array of an `.npz` archive.  Raises `BadModel` for damaged ones and for arrays of Python objects."""
    entries = []
    with archive(path) as opened:
        for one in opened.infolist():
            with opened.open(one) as file:
                name = one.filename.removesuffix(".npy")
                kind, shape, fortran, head = _header(file, path, name)
            load = partial(_array, path, one.filename, head, kind, shape, fortran)
            entry = Entry(name, str(kind.newbyteorder("=")), shape, load=load)
            refuse_claim(path.name, entry, one.file_size - head)
            entries.append(entry)
    return Listing(path, "a NumPy archive", tuple(entries))


def _header(file: IO[bytes] | ZipExtFile, path: Path, name: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """The type, the shape, whether columns come first, and the header's length."""
    shown = f"{printable(path.name)}: {printable(name, 60)}"
    start = file.read(12)
    wide = start[6:7] > b"\x01"
    length = int.from_bytes(start[8:12] if wide else start[8:10], "little")
    if start[:6] != b"\x93NUMPY" or length > _HEADER:
        raise BadModel(f"{shown} is no NumPy array.", "Save it again with numpy.savez.")
    text = (start[12:] if wide else start[10:]) + file.read(length - (0 if wide else 2))
    try:
        said = ast.literal_eval(text.decode("latin-1").strip())
        kind, shape, fortran = np.dtype(said["descr"]), said["shape"], bool(said["fortran_order"])
        fine = isinstance(shape, tuple) and all(type(n) is int for n in shape)
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise BadModel(f"{shown} has a damaged header.", "Save it again with numpy.savez.") from None
    if kind.hasobject or not fine or str(kind.newbyteorder("=")) not in ITEM:
        what = "holds Python objects, which are pickled" if kind.hasobject else f"has the type {kind}"
        raise BadModel(f"{shown} {what}.", "Save arrays of numbers: numpy.savez(path, **arrays).")
    return kind, shape, fortran, 12 + length if wide else 10 + length


def _array(path: Path, name: str, head: int, kind: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> Tensor:
    import torch

    with archive(path) as opened:
        data = member(opened, name, opened.getinfo(name).file_size)
    array = np.frombuffer(data, kind, offset=head).astype(kind.newbyteorder("="))
    return torch.from_numpy(array.reshape(shape, order="F" if fortran else "C").copy())
