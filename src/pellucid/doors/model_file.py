"""What a model file is, and why it is not opened as it is.  Nothing in it is ever run or unpickled."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from pellucid.core.errors import BadModel, PellucidError
from pellucid.doors.files import file_bytes, printable
from pellucid.doors.sniff import sniff

_HEAD = 4096
_ENTRIES = 100_000  # of an archive that are looked at
_HEADER_LIMIT = 100 << 20

_WEIGHTS = "Build the architecture in Python, load it with model.load_state_dict({load}), then pl.open(model)."
_ADVICE = {
    "a PyTorch checkpoint": _WEIGHTS.format(load="torch.load(path, weights_only=True)"),
    "a safetensors file": _WEIGHTS.format(load="safetensors.torch.load_file(path)"),
    "a Python pickle": "A pickle can run any code when it is opened, so Pellucid never opens one. "
    + _WEIGHTS.format(load="torch.load(path, weights_only=True)"),
    "a TorchScript archive": "If you trust it: pl.open(torch.jit.load(path)).",
    "an exported program (torch.export)": "If you trust it: pl.open(torch.export.load(path).module()).",
    "a Keras archive": "Set KERAS_BACKEND=torch, then pl.open(keras.models.load_model(path)).",
    "an HDF5 file": "If Keras wrote it: set KERAS_BACKEND=torch, then pl.open(keras.models.load_model(path)).",
    "an ONNX model": "Open the PyTorch or Keras model that it was exported from.",
    "a GGUF language model": "Open the PyTorch model that it was made from.",
    "a TensorFlow Lite model": "Open the Keras model that it was made from.",
    "a NumPy archive": _WEIGHTS.format(load="tensors made of its arrays"),
    "a Hugging Face folder": "Load it with transformers.AutoModel.from_pretrained(path), then pl.open(model).",
    "a TensorFlow SavedModel folder": "Open the Keras model that it was saved from.",
}


def refusal(path: Path) -> PellucidError:
    """The error that says what the file or folder is and what to do instead; raises it itself for unreadable files."""
    shown = printable(path.name or str(path))
    if path.is_dir():
        kind = _folder(path)
        return BadModel(f"{shown} is {kind}.", _ADVICE.get(kind, "Name a file inside it, or a network of the zoo."))
    if path.is_file() and path.stat().st_size == 0:
        return BadModel(f"{shown} is empty (0 bytes).", "Copy or download it again.")
    head = _head(path)
    found = sniff(head)
    if found.decoder:
        return BadModel(f"{shown} is {found.name}, not a model.", "Open a model first, then read it: net.read(path).")
    kind, more = found.name, ""
    if "ZIP" in kind:
        kind = _archive(path)
    elif kind == "a safetensors file":
        more = _tensors(path, head)
    elif kind == "of a kind that Pellucid does not know" and path.suffix.lower() == ".onnx":
        kind = "an ONNX model, or a damaged one"
    advice = _ADVICE.get(kind) or "Open a torch module, or a network of the zoo."
    return BadModel(f"{shown} is {kind}{more}; it cannot be opened as it is.", advice)


def _head(path: Path) -> bytes:
    if not path.is_file():
        return file_bytes(path)  # raises: it is a pipe or a device
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        reason = printable(error.strerror or "unknown reason")
        raise BadModel(f"{printable(path.name)} cannot be read: {reason}.", "Check its permissions.") from None


def _archive(path: Path) -> str:
    """Which program wrote a ZIP, by the names in its directory.  No member is read."""
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


def _tensors(path: Path, head: bytes) -> str:
    """How many tensors a safetensors file names: its header is JSON of a stated length."""
    length = int.from_bytes(head[:8], "little")
    if length > min(_HEADER_LIMIT, path.stat().st_size - 8):
        return " with a damaged header"
    try:
        with path.open("rb") as file:
            file.seek(8)
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError):
        return " with a damaged header"
    names = [name for name in header if name != "__metadata__"] if isinstance(header, dict) else []
    return f" with {len(names)} tensors and no architecture"


def _folder(path: Path) -> str:
    if (path / "config.json").is_file():
        return "a Hugging Face folder"
    if (path / "saved_model.pb").is_file():
        return "a TensorFlow SavedModel folder"
    return "a folder"
