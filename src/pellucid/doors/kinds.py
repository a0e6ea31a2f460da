"""Which door a file goes through: what it is, by its contents, and the module that opens such files.

A door is one line in `DOORS`: the kind (as `kind_of` says it) and a module with a function

    open_file(path, *, preparation, trusted, architecture) -> Network

It is imported when the first file of its kind is met.  What has no door is refused with a sentence that says what the
file is and what to do with it.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from pellucid.core.errors import BadModel
from pellucid.doors.files import file_bytes, printable, stamp
from pellucid.doors.formats import DISTRIBUTED, SKLEARN
from pellucid.doors.sniff import Kind, sniff

if TYPE_CHECKING:
    from torch import nn

    from pellucid.core.network import Network
    from pellucid.core.preparation import Preparation

WEIGHTS = "pellucid.doors.torch.checkpoint"
IN_PARTS = "the index of a checkpoint in parts"
DOORS: Mapping[str, str] = {
    "a PyTorch checkpoint": WEIGHTS,
    "a Python pickle": WEIGHTS,
    "a safetensors file": WEIGHTS,
    "a NumPy archive": WEIGHTS,
    IN_PARTS: WEIGHTS,
    "an ONNX model": "pellucid.doors.onnx",
    "an ONNX model, or a damaged one": "pellucid.doors.onnx",
    "a TorchScript archive": "pellucid.doors.torch.scripted",
    "an exported program (torch.export)": "pellucid.doors.torch.exported",
    "a Keras archive": "pellucid.doors.keras.model",
    "an HDF5 file": "pellucid.doors.keras.model",
    "a Hugging Face folder": "pellucid.doors.transformers.hugging_face",
    "a TensorFlow Lite model": "pellucid.doors.converted",
    "a TensorFlow SavedModel folder": "pellucid.doors.converted",
    "a frozen TensorFlow graph": "pellucid.doors.converted",
}

UNKNOWN = "of a kind that Pellucid does not know"
_HEAD = 4096
_OLD = 1 << 20
_CONFIG = 4 << 20
_PERHAPS = ("a text file", "of a kind that Pellucid does not know")
_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib")
_ENTRIES = 100_000  # of an archive that are looked at


@runtime_checkable
class Door(Protocol):
    """What a module in `DOORS` has."""

    def open_file(
        self, path: Path, *, preparation: Preparation | None, trusted: bool, architecture: nn.Module | str | None
    ) -> Network:
        """The network in the file or folder; raises `BadModel` or `Missing` when it cannot be had safely."""
        ...


def meant(path: Path) -> Path:
    """The file that a folder stands for: the index of the parts in it, where nothing else says what it is."""
    if not path.is_dir() or _folder(path) != "a folder":
        return path
    indices = sorted(path.glob("*.index.json"), key=lambda found: (".safetensors." not in found.name, found.name))
    return next((found for found in indices if kind_of(found).name == IN_PARTS), path)


def index_of(part: Path) -> Path | None:
    """The index beside a file that names it as one of several parts; None where there is none."""
    for found in sorted(part.parent.glob("*.index.json")):
        with suppress(OSError, BadModel):
            small = found.stat().st_size <= _CONFIG and kind_of(found).name == IN_PARTS
            if small and f'"{part.name}"'.encode() in found.read_bytes():
                return found
    return None


def door_of(kind: str) -> Door | None:
    """The module that opens files of this kind, or None."""
    return cast(Door, importlib.import_module(DOORS[kind])) if kind in DOORS else None


def kind_of(path: Path) -> Kind:
    """What a file or folder is.  Of an archive only the list of its members is read.

    Raises `BadModel` for an empty file and for one that cannot be read, `BadInput` for a pipe or a device.
    """
    if path.is_dir():
        return Kind(_folder(path))
    head = head_of(path)
    found = sniff(head)
    if path.suffix.lower() == ".distcp" or path.name == ".metadata":  # which begin as archives and pickles do
        return Kind(DISTRIBUTED)
    if found.name == "a ZIP archive":
        return Kind(_archive(path))
    if path.suffix.lower() == ".mlmodel" or path.name == "saved_model.pb":  # which begin as ONNX files do
        return Kind(UNKNOWN)
    if found.name == "a Python pickle" and (b"joblib.numpy_pickle" in head or b"sklearn." in head):
        return Kind(SKLEARN)
    if found.name == "a text file" and head.lstrip()[:1] == b"{" and b'"weight_map"' in head:
        return Kind(IN_PARTS)
    if found.name == "a text file" and path.name == "config.json" and _names_a_model(path):
        return Kind("a Hugging Face folder")
    if found.name in _PERHAPS and path.suffix.lower() in _PICKLED and _is_old_pickle(path):
        return Kind("a Python pickle")
    if found.name == UNKNOWN:
        return Kind(_BY_NAME.get(path.suffix.lower(), found.name))
    return found


_BY_NAME = {".onnx": "an ONNX model, or a damaged one", ".pb": "a frozen TensorFlow graph"}


def head_of(path: Path) -> bytes:
    """The first 4 KiB of a file; nothing of a folder.  Raises as `kind_of` does."""
    if path.is_dir():
        return b""
    shown = printable(path.name or str(path))
    if not path.is_file():
        file_bytes(path)  # raises: it is a pipe or a device
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        reason = printable(error.strerror or "unknown reason")
        raise BadModel(f"{shown} cannot be read: {reason}.", "Check its permissions.") from None
    if not head:
        raise BadModel(f"{shown} is empty (0 bytes).", "Copy or download it again.")
    return head


def _names_a_model(path: Path) -> bool:
    """Is it a configuration of transformers?  A thousand labels may stand before what says so."""
    with path.open("rb") as file:
        return b'"model_type"' in file.read(_CONFIG)


def _is_old_pickle(path: Path) -> bool:
    """Is it a pickle of protocol 0 or 1, which have no signature?  One that imports a name before it breaks counts."""
    from pellucid.doors.torch.pickle_parts import Cut, Seen
    from pellucid.doors.torch.pickle_text import told

    seen = Seen()
    with path.open("rb") as file:
        try:
            told(io.BytesIO(file.read(_OLD)), seen)
        except Cut:
            return bool(seen.names)
    return True


def lie(path: Path, kind: str) -> str:
    """Words for a name that says something else than the contents: " (though its name ends in .onnx)", or nothing.

    >>> lie(Path("model.onnx"), "a PyTorch checkpoint"), lie(Path("model.pt"), "a PyTorch checkpoint")
    (' (though its name ends in .onnx)', '')
    """
    suffix = path.suffix.lower()
    honest = next((kinds for suffixes, kinds in _NAMES.items() if suffix in suffixes), (kind,))
    known = any(kind in kinds for kinds in _NAMES.values())
    return f" (though its name ends in {suffix})" if known and kind not in honest else ""


def disagreement(path: Path, kind: str) -> tuple[str, ...]:
    """The note on a file whose name says something else than its contents; nothing where the two agree.

    >>> disagreement(Path("model.pt"), "an ONNX model")
    ('The file is an ONNX model (though its name ends in .pt).',)
    """
    said = lie(path, kind)
    return (f"The file is {kind}{said}.",) if said else ()


_TORCH = ("a PyTorch checkpoint", "a Python pickle", "a TorchScript archive", "an exported program (torch.export)")
_NAMES = {
    (".onnx",): ("an ONNX model", "an ONNX model, or a damaged one"),
    (".safetensors",): ("a safetensors file",),
    (".h5", ".hdf5"): ("an HDF5 file",),
    (".keras",): ("a Keras archive",),
    (".gguf",): ("a GGUF language model",),
    (".tflite",): ("a TensorFlow Lite model",),
    (".npz",): ("a NumPy archive",),
    (".pt", ".pth", ".ckpt", ".pt2", ".pkl"): _TORCH,
    (".png", ".jpg", ".jpeg", ".gif"): ("a PNG picture", "a JPEG picture", "a GIF picture"),
}


def _archive(path: Path) -> str:
    """Which program wrote a ZIP, by the names in its directory.  No member is read."""
    return _written_by(path, stamp(path))


@lru_cache(maxsize=16)
def _written_by(path: Path, _: tuple[int, ...]) -> str:
    """The same of a file as it is now: it is asked often, and a directory may have a hundred thousand entries."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            members = [entry.filename for entry in archive.infolist()[:_ENTRIES]]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return "a damaged or incomplete ZIP archive"
    inner = {name.partition("/")[2] or name for name in members}
    if {"config.json", "metadata.json"} <= set(members):
        return "a Keras archive"
    if any(name.startswith("models/") and name.endswith(".json") for name in inner) or "archive_format" in inner:
        return "an exported program (torch.export)"
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return "a TorchScript archive"
    if "data.pkl" in inner:
        return "a PyTorch checkpoint"
    if members and all(name.endswith(".npy") for name in members):
        return "a NumPy archive"
    return "a ZIP archive"


# of a folder that holds parts of a Hugging Face model, which says what to open instead
_NOT_ALONE = ("adapter_config.json", "model_index.json", "modules.json")


def _folder(path: Path) -> str:
    if any((path / name).is_file() for name in ("config.json", *_NOT_ALONE)):
        return "a Hugging Face folder"
    if (path / "saved_model.pb").is_file():
        return "a TensorFlow SavedModel folder"
    if (path / ".metadata").is_file() or any(path.glob("*.distcp")):
        return DISTRIBUTED
    return "a folder"
