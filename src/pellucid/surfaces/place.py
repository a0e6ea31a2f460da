"""Places that files can be written to, asked before anything is computed in vain."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pellucid.core.errors import BadInput, PellucidError
from pellucid.render.plain import visible


def ending_of(path: str | Path, known: Sequence[str]) -> str:
    """The ending of a file's name, in lower case; raises `BadInput` for one that is not known.

    >>> ending_of("map.SVG", (".html", ".svg"))
    '.svg'
    """
    ending = Path(path).suffix.lower()
    if ending not in known:
        name = visible(Path(path).name)
        raise BadInput(
            f"'{name}' ends in {visible(ending) or 'nothing'}; expected one of {', '.join(known)}.", "Rename it."
        )
    return ending


def writable(path: Path) -> Path:
    """The path, if a file can be written there.

    Raises `BadInput` for folders that are not there and names that the system refuses, and `PellucidError` where
    writing is not allowed.  Nothing is left behind.
    """
    shown, folder = visible(str(path)), visible(str(path.parent))
    try:
        if path.is_dir():
            raise BadInput(f"'{shown}' is a folder, expected a file.", "Add a file name.")
        if not path.parent.is_dir():
            raise BadInput(f"The folder '{folder}' does not exist.", "Create it, or choose another one.")
        if path.exists() and not os.access(path, os.W_OK):
            raise PellucidError(f"'{shown}' may not be overwritten.", "Choose another name, or change its rights.")
    except OSError as problem:
        raise BadInput(f"The system refuses the file name '{shown}'.", "Choose a shorter, plainer one.") from problem
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as problem:
        raise PellucidError(
            f"No file can be written in the folder '{folder}'.", "Choose another one, or change its rights."
        ) from problem
    return path
