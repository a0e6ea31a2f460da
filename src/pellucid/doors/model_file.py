"""What a model file is, and why it is not opened as it is.  Nothing in it is ever run or unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path

from pellucid.core.errors import BadModel, PellucidError
from pellucid.doors.files import printable
from pellucid.doors.formats import refusal_of
from pellucid.doors.kinds import UNKNOWN, head_of, lie
from pellucid.doors.sniff import Kind
from pellucid.doors.weight_files.sealed import size

# kinds that say little, so that the name may say more
_GENERAL = (
    UNKNOWN,
    "a text file",
    "a ZIP archive",
    "a damaged or incomplete ZIP archive",
    "a gzip archive",
    "a folder",
)
_SHOWN = 3  # files of an archive
_INSIDE = "Name a file inside it, or a network of the zoo."
_ADVICE = {
    "a damaged or incomplete ZIP archive": "Copy or download it again.",
    "a Git LFS pointer, not the file itself": "Run git lfs pull first.",
    "an ONNX model": "Open the PyTorch or Keras model that it was exported from.",
    "an ONNX model, or a damaged one": "Open the PyTorch or Keras model that it was exported from.",
    "a web page (HTML)": "A page was downloaded instead of the file. Download it again, by the link to the file.",
    "a text file": "A download that failed may have left a message in it: read it, and download the file again. What "
    "is built in Python code is opened there: pl.open(model).",
    "a NumPy array": "It is one array and no network, an input perhaps: load it with numpy.load. Weights by name are "
    "a .npz file.",
    "a gzip archive": "Unpack it first.",
    "a GGUF language model": "See its weights: pl.weights(path). To run it, open the model that it was made from.",
}


def refusal(path: Path, kind: Kind) -> PellucidError:
    """The error that says what the file or folder is and what to do instead."""
    shown = printable(path.name or str(path))
    other = refusal_of(path.name or shown, head_of(path), "" if kind.name in _GENERAL else kind.name)
    if other is not None:
        return other
    if path.is_dir():
        return BadModel(f"{shown} is {kind.name}.", _ADVICE.get(kind.name, _INSIDE))
    if kind.decoder:
        return BadModel(
            f"{shown} is {kind.name}{lie(path, kind.name)}, not a model.",
            "Open a model first, then read it: net.read(path).",
        )
    more = f" of {size(path.stat().st_size)}" if "damaged" in kind.name else ""
    if kind.name == "a ZIP archive":
        return BadModel(f"{shown} is {kind.name} that holds {_held(path)}.", "Unpack it, and open the model in it.")
    advice = _ADVICE.get(kind.name) or "Open a torch module, or a network of the zoo."
    return BadModel(f"{shown} is {kind.name}{more}{lie(path, kind.name)}; it cannot be opened as it is.", advice)


def _held(path: Path) -> str:
    """The names of the first files in a ZIP, of which none is read."""
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    shown = ", ".join(printable(name, 60) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{shown or 'no file'}{more}"
