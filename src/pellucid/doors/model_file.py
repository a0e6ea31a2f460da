"""What a model file is, and why it is not opened as it is.  Nothing in it is ever run or unpickled."""

from __future__ import annotations

import json
from pathlib import Path

from pellucid.core.errors import BadModel, PellucidError
from pellucid.doors.files import printable
from pellucid.doors.sniff import Kind

_HEADER_LIMIT = 100 << 20

_INSIDE = "Name a file inside it, or a network of the zoo."
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
    "an ONNX model, or a damaged one": "Open the PyTorch or Keras model that it was exported from.",
    "a GGUF language model": "Open the PyTorch model that it was made from.",
    "a TensorFlow Lite model": "Open the Keras model that it was made from.",
    "a NumPy archive": _WEIGHTS.format(load="tensors made of its arrays"),
    "a Hugging Face folder": "Load it with transformers.AutoModel.from_pretrained(path), then pl.open(model).",
    "a TensorFlow SavedModel folder": "Open the Keras model that it was saved from.",
}


def refusal(path: Path, kind: Kind) -> PellucidError:
    """The error that says what the file or folder is and what to do instead."""
    shown = printable(path.name or str(path))
    if path.is_dir():
        return BadModel(f"{shown} is {kind.name}.", _ADVICE.get(kind.name, _INSIDE))
    if kind.decoder:
        return BadModel(f"{shown} is {kind.name}, not a model.", "Open a model first, then read it: net.read(path).")
    more = _tensors(path) if kind.name == "a safetensors file" else ""
    advice = _ADVICE.get(kind.name) or "Open a torch module, or a network of the zoo."
    return BadModel(f"{shown} is {kind.name}{more}; it cannot be opened as it is.", advice)


def _tensors(path: Path) -> str:
    """How many tensors a safetensors file names: its header is JSON of a stated length."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(_HEADER_LIMIT, path.stat().st_size - 8):
                return " with a damaged header"
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError):
        return " with a damaged header"
    names = [name for name in header if name != "__metadata__"] if isinstance(header, dict) else []
    return f" with {len(names)} tensors and no architecture"
