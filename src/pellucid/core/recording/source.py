"""Where in the model's own code an operation stands."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import FrameType

import jaxtyping
import torch

# torch, the recorder, and what checks the types of a call on its way
_PASSED_BY = (
    *(str(Path(file).parent) for file in (str(torch.__file__), str(jaxtyping.__file__), __file__)),
    "<@beartype",
)


@cache
def _shown(file: str) -> str:
    """A file's name from where Python imports it; '' for files that only pass calls on."""
    if file.startswith(_PASSED_BY):
        return ""
    roots = [root for root in sys.path if root and file.startswith(root)]
    return file[len(max(roots, key=len)) :].lstrip("/\\") if roots else Path(file).name


def source_line(module: object = None) -> str:
    """`file:line` of the innermost frame outside torch, the file named from where it is imported (no home folders).

    A module that was imported from a file may state as `exported_from` where its operation stood in the code before.
    """
    stated = getattr(module, "exported_from", "")
    if isinstance(stated, str) and stated:
        return stated
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        shown = _shown(frame.f_code.co_filename)
        if shown:
            return f"{shown}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
