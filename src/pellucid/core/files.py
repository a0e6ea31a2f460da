"""Writing files so that nobody ever finds half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from pellucid.core.errors import BadInput


def write_file(path: str | Path, data: bytes) -> Path:
    """Write beside the target, flush to disk, then rename: the old file stays whole until the new one is.

    Raises `BadInput` when the folder is missing or cannot be written, or the disk is full.
    """
    target = Path(path)
    if target.is_dir():
        raise BadInput(f"{target} is a folder; expected the name of a file to write.", "Add a file name.")
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise BadInput(
            f"{target} could not be written: {reason} ({len(data)} bytes).", "Choose another place with -o or save(path)."
        ) from error
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    return target
