"""Where in the model's own code an operation stands."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import torch

_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


@cache
def _shown(file: str) -> str:
    """A file's name from where Python imports it; '' for torch's files and the recorder's."""
    if file.startswith(_OURS):
        return ""
    roots = [root for root in sys.path if root and file.startswith(root)]
    return file[len(max(roots, key=len)) :].lstrip("/\\") if roots else Path(file).name


def source_line() -> str:
    """`file:line` of the innermost frame outside torch, the file as seen from where it is imported (no home folders)."""
    frame = sys._getframe(1)
    while frame is not None:
        shown = _shown(frame.f_code.co_filename)
        if shown:
            return f"{shown}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
