"""The numbers of stored tensors, in the file or beside it; sizes are checked before anything is read."""

from __future__ import annotations

from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from struct import calcsize, pack, unpack
from typing import Any

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.graph import BITS, DTYPES

_AGAIN = "Export the model again."
# Where the numbers of each type lie when they are not raw, and how many entries of it one number takes.
_LONG = {"float32": "float_data", "complex64": "float_data", "float64": "double_data", "complex128": "double_data"}
_LONG |= {"int64": "int64_data", "uint32": "uint64_data", "uint64": "uint64_data", "string": "string_data"}
_PACKED = {"float32": "f", "float64": "d", "int32": "i", "int64": "q"}  # in `struct`


def array(proto: Any, folder: Path | None = None) -> Any:
    """A `TensorProto` as an array of its own.  Raises `BadModel` when its size is not what its shape needs."""
    import numpy as np
    from onnx import numpy_helper

    check(proto, folder)
    if proto.data_location == 1:
        data = _outside(proto, folder)
        inside = type(proto)(dims=proto.dims, data_type=proto.data_type, raw_data=data)
        return np.array(numpy_helper.to_array(inside))
    return np.array(numpy_helper.to_array(proto))


def few(proto: Any, dtype: str) -> tuple[float, ...]:
    """The numbers of a short `TensorProto` without NumPy; nothing where they are elsewhere or of an unusual type."""
    kind = _PACKED.get(dtype)
    if kind is None or proto.data_location == 1 or min(proto.dims, default=0) < 0:
        return ()
    count = prod(proto.dims)
    if proto.HasField("raw_data"):
        return unpack(f"<{count}{kind}", proto.raw_data) if len(proto.raw_data) == count * calcsize(f"<{kind}") else ()
    listed = getattr(proto, _LONG.get(dtype, "int32_data"))
    return tuple(listed) if len(listed) == count else ()


def raw(proto: Any, dtype: str, folder: Path | None) -> bytes:
    """The numbers of a `TensorProto` in bytes, lowest first; nothing where they are not there or of an unusual type."""
    if proto.data_location == 1:
        try:
            return b"" if folder is None else _outside(proto, folder)
        except BadModel:  # it is said when the numbers are needed
            return b""
    if proto.HasField("raw_data"):
        return bytes(proto.raw_data)
    kind = _PACKED.get(dtype)
    listed = getattr(proto, _LONG.get(dtype, "int32_data"))
    return pack(f"<{len(listed)}{kind}", *listed) if kind is not None else b""


def dense(proto: Any, folder: Path | None = None) -> Any:
    """A `SparseTensorProto` with its zeros filled in."""
    import numpy as np

    values, indices, shape = array(proto.values, folder), array(proto.indices, folder), tuple(proto.dims)
    if prod(shape) * values.itemsize > 1 << 30 or min(shape, default=0) < 0:
        raise BadModel(f"A sparse weight of shape {shape} would take more than 1 GiB.", _AGAIN)
    flat: Any = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    if len(flat) != len(values) or (len(flat) and (flat.min() < 0 or flat.max() >= prod(shape))):
        raise BadModel(f"A sparse weight of shape {shape} has indices that do not fit.", _AGAIN)
    full = np.zeros(prod(shape), values.dtype)
    full[flat] = values
    return full.reshape(shape)


def check(proto: Any, folder: Path | None = None) -> None:
    """Raise `BadModel` unless exactly as many bytes are stored as the shape needs; reads nothing."""
    name, dims = printable(proto.name) or "a constant", tuple(proto.dims)
    dtype = DTYPES.get(proto.data_type, "undefined")
    if min(dims, default=0) < 0 or dtype == "undefined":
        raise BadModel(f"Weight {name!r} has shape {dims} and type {proto.data_type}: nothing can be that.", _AGAIN)
    count = prod(dims)
    need = (count * BITS.get(dtype, 0) + 7) // 8
    if proto.data_location == 1:
        have = _place(proto, folder, need)[2]
    elif proto.HasField("raw_data"):
        have = len(proto.raw_data)
    else:
        have, need = len(getattr(proto, _LONG.get(dtype, "int32_data"))), _entries(dtype, count)
        if have != need:
            raise BadModel(f"Weight {name!r} of shape {dims} needs {need} numbers; the file holds {have}.", _AGAIN)
        return
    if have != need:
        raise BadModel(f"Weight {name!r} of shape {dims} needs {need} bytes; the file holds {have}.", _AGAIN)


def _entries(dtype: str, count: int) -> int:
    if dtype.startswith("complex"):
        return 2 * count
    per_entry = 8 // BITS[dtype] if BITS.get(dtype, 8) < 8 else 1
    return -(-count // per_entry)


def _outside(proto: Any, folder: Path | None) -> bytes:
    path, offset, length = _place(proto, folder, None)
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        reason = printable(error.strerror or "unknown reason")
        raise BadModel(f"The weights in {printable(path.name)} cannot be read: {reason}.", "Copy it again.") from None
    if len(data) != length:
        raise BadModel(f"{printable(path.name)} changed while it was read.", "Open it again when it is complete.")
    return data


def _place(proto: Any, folder: Path | None, need: int | None) -> tuple[Path, int, int]:
    """File, offset and length of a tensor that is stored beside the model, all of them checked."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    name, location = printable(proto.name), entries.get("location", "")
    if folder is None:
        raise BadModel(f"The weights of {name!r} lie in another file, {printable(location)!r}.", "Open it by its path.")
    path = contained(folder, location)
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or (path.stat().st_size - offset if need is None else need))
    except ValueError:
        raise BadModel(f"Weight {name!r} has an offset or length that is no number.", _AGAIN) from None
    size = path.stat().st_size
    if offset < 0 or length < 0 or offset + length > size:
        shown = printable(path.name)
        raise BadModel(f"Weight {name!r} lies at {offset} + {length} bytes of {shown}, which has {size}.", _AGAIN)
    return path, offset, length


def contained(folder: Path, location: str) -> Path:
    """The file beside the model that `location` names.  Raises `BadModel` when it leaves the model's folder."""
    shown = printable(location)
    parts = PurePosixPath(location).parts
    windows = PureWindowsPath(location)
    away = PurePosixPath(location).is_absolute() or windows.drive or windows.root or "\\" in location
    if not parts or away or ".." in parts or "\0" in location:
        raise BadModel(f"The model wants weights from {shown!r}, outside its own folder.", "Do not trust this file.")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise BadModel(f"The weights {shown!r} are a link to another file.", "Copy the file itself there.")
    if not path.is_file():
        raise BadModel(f"The weights {shown!r} that belong to the model are not beside it.", "Copy that file too.")
    if path.stat().st_nlink > 1:
        raise BadModel(f"The weights {shown!r} are a hard link to another file.", "Copy the file itself there.")
    return path
