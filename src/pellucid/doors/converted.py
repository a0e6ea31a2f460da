"""TensorFlow's models by way of ONNX: converted in a process of their own by tf2onnx or tflite2onnx, where installed.

TensorFlow Lite files are data and are parsed.  A SavedModel is a program: a converter runs parts of it, so that it is
opened only when it is trusted.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pellucid.core.errors import BadModel, Missing
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors.files import printable

_SECONDS = 600
_MEMORY = 8 << 30
_SHOWN = 200
_FEW = (1, 3, 4)  # channels of a picture
_THEN = ", then pl.open('model.onnx')."
_LITE = "import sys, tflite2onnx; tflite2onnx.convert(sys.argv[1], sys.argv[2])"


def open_file(
    path: Path | str,
    *,
    preparation: Preparation | None = None,
    trusted: bool = False,
    architecture: object = None,
) -> Network:
    """A TensorFlow Lite file or a SavedModel folder, converted to ONNX and opened as that.

    Raises `Missing` with the exact command when no converter is installed, and `BadModel` when the conversion fails,
    when a SavedModel is not `trusted`, and for a frozen graph (.pb), with the command that converts it.
    """
    path = Path(path)
    with TemporaryDirectory(prefix="pellucid-") as folder:
        made = Path(folder) / f"{path.stem or path.name}.onnx"
        _first_that_converts(_commands(path, made, trusted), path, made)
        opened: Any = importlib.import_module("pellucid.doors.onnx")
        found: Network = opened.open_file(made, preparation=preparation)
    found.name, found.source = path.stem or path.name, ""  # the file that it was opened from is gone
    return found


def _first_that_converts(commands: Sequence[list[str]], path: Path, made: Path) -> None:
    """By each converter in turn; raises what the first of them said, when none can."""
    why: BadModel | None = None
    for command in commands:
        try:
            _convert(command, path, made)
        except BadModel as error:
            why = why or error
        else:
            return
    if why is not None:
        raise why


def _commands(path: Path, made: Path, trusted: bool) -> list[list[str]]:
    """The converters' command lines, the best first; raises `Missing` when there is none for this file."""
    shown = printable(path.name)
    whole = _installed("tf2onnx") and _installed("tensorflow")
    python = [sys.executable, "-P"]
    if path.suffix.lower() == ".tflite" or _is_lite(path):
        large = [*python, "-m", "tf2onnx.convert", "--tflite", str(path.absolute()), "--output", str(made)]
        small = [*python, "-c", _LITE, str(path.absolute()), str(made)]
        found = [*([large] if whole else []), *([small] if _installed("tflite2onnx") else [])]
        if not found:
            raise Missing(
                f"{shown} is a TensorFlow Lite model, and no converter is installed.",
                f"pip install tflite2onnx (models of floats), or with TensorFlow: {_with_tensorflow(shown)}",
            )
        return found
    where = "Where TensorFlow is: pip install tf2onnx, python -m tf2onnx.convert"
    if not path.is_dir():
        raise BadModel(
            f"{shown} is a frozen TensorFlow graph, which does not say what its inputs and outputs are.",
            f"{where} --graphdef {shown} --output model.onnx --inputs NAME:0 --outputs NAME:0{_THEN}",
        )
    if not whole:
        raise Missing(
            f"{shown} is a TensorFlow SavedModel folder, and no converter is installed.",
            f"{where} --saved-model {shown} --output model.onnx{_THEN}",
        )
    if not trusted:
        raise BadModel(
            f"{shown} is a TensorFlow SavedModel folder: a program, parts of which run when it is converted.",
            f"If you trust it, open it as trusted, or: {where} --saved-model {shown} --output model.onnx{_THEN}",
        )
    return [[*python, "-m", "tf2onnx.convert", "--saved-model", str(path.absolute()), "--output", str(made)]]


def _with_tensorflow(shown: str) -> str:
    """tf2onnx imports TensorFlow also for files of TensorFlow Lite."""
    return f"pip install tensorflow tf2onnx, python -m tf2onnx.convert --tflite {shown} --output model.onnx{_THEN}"


def _is_lite(path: Path) -> bool:
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == b"TFL3"


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _convert(command: list[str], path: Path, made: Path) -> None:
    """Run a converter by itself, with its time limited, and its memory where TensorFlow does not reserve it all."""
    shown, lite = printable(path.name), "-c" in command
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "LANG", "HOME")}
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
    }
    code = "import pellucid.doors.converted as c, sys; c.limited(sys.argv[1:])"
    whole = [sys.executable, "-P", "-c", code, *command] if lite else command
    paths = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    try:
        done = subprocess.run(  # noqa: S603 (this interpreter, with arguments of our own)
            whole, env={**kept, **(quiet if not lite else {}), **paths}, cwd=made.parent, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BadModel(f"{shown} takes longer than {_SECONDS} s to convert.", "Convert it yourself.") from None
    if done.returncode or not made.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = printable(lines[-1], _SHOWN) if lines else f"code {done.returncode}"
        raise BadModel(
            f"{shown} cannot be converted by {'tflite2onnx' if lite else 'tf2onnx'}: {reason}",
            f"TensorFlow's own converter knows more, int8 too: {_with_tensorflow(shown)}"
            if lite
            else "Open the model that it was made from, or give it as a function: pl.open(lambda x: ...).",
        )


def limited(command: list[str]) -> None:
    """Become the converter, with its memory limited where the system can."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    except (ImportError, ValueError, OSError):  # the clock holds
        pass
    os.execv(command[0], command)  # noqa: S606 (the interpreter that runs this)
