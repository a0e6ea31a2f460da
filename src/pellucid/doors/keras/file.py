"""The two files that Keras writes, read for what they hold before Keras opens them: `.keras` archives and HDF5."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pellucid.core.counts import count as counted
from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.keras.classes import check_classes
from pellucid.doors.keras.legacy import modern
from pellucid.doors.keras.legacy_weights import rewrite
from pellucid.doors.worker import MEMORY, inspected

_LIMIT = 16 << 30  # bytes of a file's tensors
_CONFIG_LIMIT = 64 << 20
_RATIO = 200  # a weight file of zeros compresses a thousandfold; one of numbers hardly at all
_NODES = 200_000
_AGAIN = "Copy or download it again."
_WHOLE = "Save the whole model with model.save('model.keras'), or build it in Python and use model.load_weights(path)."


@contextmanager
def checked_copy(path: Path, custom: Mapping[str, Any]) -> Iterator[Path]:
    """A private copy of a Keras file that has been looked through, so that what was checked is what is loaded.

    Raises `BadModel` for what is damaged, holds no architecture, holds code, or points outside of the file.
    """
    shown = printable(path.name)
    with path.open("rb") as file:
        archive = file.read(4).startswith(b"PK")
    if path.stat().st_size > _LIMIT:
        raise BadModel(f"{shown} has {path.stat().st_size / 2**30:.1f} GiB; the limit is {_LIMIT >> 30} GiB.", "")
    inspected("pellucid.doors.keras.file:walked", path, memory=MEMORY + 2 * path.stat().st_size)
    with TemporaryDirectory(prefix="pellucid-") as folder:
        copy = Path(folder) / ("model.keras" if archive else "model.h5")
        shutil.copyfile(path, copy)
        if archive:
            _check_archive(copy, shown, custom)
        else:
            _check_hdf5(copy, shown, custom)
        yield copy


def walked(path: Path) -> int:
    """How many objects of HDF5 the file holds: asked in the worker process, since their reader is written in C."""
    import h5py

    shown = printable(path.name)
    try:
        with zipfile.ZipFile(path) if zipfile.is_zipfile(path) else nullcontext() as archive:
            if archive is None:
                with h5py.File(path, "r") as file:
                    return check_links(file, shown, path.stat().st_size)
            _check_members(archive, shown)
            weights = [n for n in archive.namelist() if n == "model.weights.h5"]
            with h5py.File(io.BytesIO(archive.read(weights[0])), "r") as file:
                return check_links(file, shown, archive.getinfo(weights[0]).file_size)
    except (zipfile.BadZipFile, IndexError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
        return 0  # said in the caller's words, when it looks itself


def _check_archive(path: Path, shown: str, custom: Mapping[str, Any]) -> None:
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, shown)
            config = _config(archive.read("config.json"), shown)
            check_classes(config, shown, custom)
            weights = next((n for n in archive.namelist() if n == "model.weights.h5"), None)
            if weights is None:
                raise BadModel(f"{shown} holds no weights (model.weights.h5).", "Save it with model.save(path).")
            with h5py.File(io.BytesIO(archive.read(weights)), "r") as file:
                check_links(file, shown, archive.getinfo(weights).file_size)
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        reason = printable(str(error).partition("\n")[0])
        raise BadModel(f"{shown} is damaged or incomplete: {reason}.", _AGAIN) from None


def _check_members(archive: zipfile.ZipFile, shown: str) -> None:
    for member in archive.infolist():
        name = member.filename
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
            raise BadModel(f"{shown} has a member that points outside of it: {printable(name)}.", "Do not use it.")
        if member.file_size > max(1 << 20, _RATIO * member.compress_size) or member.file_size > _LIMIT:
            sizes = f"{member.compress_size} bytes that unpack to {member.file_size}"
            raise BadModel(f"{shown}: {printable(name)} is {sizes}, which no model does.", "Do not use it.")
    if archive.getinfo("config.json").file_size > _CONFIG_LIMIT:
        raise BadModel(f"{shown} has a configuration of more than {_CONFIG_LIMIT >> 20} MiB.", "Do not use it.")


def _check_hdf5(path: Path, shown: str, custom: Mapping[str, Any]) -> None:
    import h5py

    try:
        with h5py.File(path, "r+") as file:
            check_links(file, shown, path.stat().st_size)
            text = file.attrs.get("model_config")
            if text is None:
                raise BadModel(*_no_architecture(file, shown))
            config = _config(text if isinstance(text, bytes) else str(text).encode(), shown)
            version = written_by(file)
            config = modern(config, version) if version < 3 else config
            check_classes(config, shown, custom, legacy=True)
            if version < 3:
                rewrite(file, config, version, shown)
                file.attrs["model_config"] = json.dumps(config)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        reason = printable(str(error).partition("\n")[0])
        raise BadModel(f"{shown} is damaged or incomplete: {reason}.", _AGAIN) from None


def check_links(file: Any, shown: str, size: int) -> int:
    """How many objects there are.  Raises `BadModel` for what reads another file, or is far larger than the file is.

    Links to other places of the same file are refused too: Keras writes none, and they may run in circles.
    """
    import h5py
    import h5py.h5o

    waiting, seen, held = [file], set[int](), 0
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            where = printable(f"{group.name.rstrip('/')}/{name}")
            if not isinstance(link, h5py.HardLink):
                kind = "another file" if isinstance(link, h5py.ExternalLink) else "another place"
                raise BadModel(f"{shown}: {where} is a link to {kind}, which no Keras file holds.", "Do not use it.")
            value = group[name]
            place = int(h5py.h5o.get_info(value.id).addr)
            if place in seen or len(seen) > _NODES:
                raise BadModel(f"{shown}: {where} is there twice, or one of too many entries.", "Do not use it.")
            seen.add(place)
            if isinstance(value, h5py.Group):
                waiting.append(value)
            elif isinstance(value, h5py.Dataset):
                if value.external or value.is_virtual:
                    raise BadModel(f"{shown}: the numbers of {where} lie in another file.", "Do not use it.")
                held += value.nbytes
                if held > max(1 << 20, _RATIO * size):
                    raise BadModel(f"{shown}: {where} claims far more numbers than the file holds.", "Do not use it.")
    return len(seen)


def _config(text: bytes, shown: str) -> dict[str, Any]:
    try:
        config: object = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or "class_name" not in config:
        raise BadModel(f"{shown} has a configuration that is not Keras's.", _AGAIN)
    return config


def _no_architecture(file: Any, shown: str) -> tuple[str, str]:
    """What an HDF5 file is that holds no model."""
    import h5py

    keras_2 = "layer_names" in file.attrs or "keras_version" in file.attrs
    keras_3 = any(name in file for name in ("layers", "_layer_checkpoint_dependencies", "vars"))
    if not (keras_2 or keras_3):
        return f"{shown} is an HDF5 file that Keras did not write.", "Open a model that Keras saved."
    count = 0

    def tally(_name: str, value: object) -> None:
        nonlocal count
        count += isinstance(value, h5py.Dataset)

    file.visititems(tally)
    return f"{shown} holds the weights of a Keras model ({counted(count, 'array')}) and no architecture.", _WHOLE


def written_by(file: Any) -> int:
    """The version of Keras, 1, 2 or 3, that wrote an HDF5 file; Keras 1 did not always say it."""
    weights = file.get("model_weights")
    said = file.attrs.get("keras_version", b"1" if weights is None else weights.attrs.get("keras_version", b"1"))
    number = (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)).partition(".")[0]
    return int(number) if number.isdecimal() else 2
