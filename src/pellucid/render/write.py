"""Whole files or none: what is written appears under its name complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

from pellucid.core.errors import BadInput, PellucidError
from pellucid.render.plain import visible

PREFIX, SUFFIX = ".pellucid-", ".part"


def write(path: str | Path, data: bytes) -> Path:
    """Write `data` to `path`, replacing what was there in one step; gives the path.

    A temporary file in the same folder is filled, forced to the disk, and renamed.  If anything goes wrong, the old
    file is as it was and the temporary one is gone.  Raises `BadInput` for a missing folder, a path that is a folder
    or a name that the system refuses, and `PellucidError` for a full disk or missing permission.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> write(Path(folder) / "note.txt", b"hello").read_bytes()
    b'hello'
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise BadInput(f"{_named(path)} is a folder, expected a file.", "Add a file name.")
        if not path.parent.is_dir():
            raise BadInput(f"The folder {_named(path.parent)} does not exist.", "Create it, or choose another one.")
        _replace(path, data)
    except (OSError, ValueError) as problem:
        if isinstance(problem, PellucidError):
            raise
        raise _sentence(path, len(data), problem) from problem
    return path


def _replace(path: Path, data: bytes) -> None:
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "read-only")
    part = path.with_name(f"{PREFIX}{os.getpid()}-{time.monotonic_ns()}{SUFFIX}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """Force the renaming itself to the disk; not every system lets a folder be opened for that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _named(path: Path) -> str:
    return f"'{visible(str(path))}'"


def _sentence(path: Path, size: int, problem: OSError | ValueError) -> PellucidError:
    code = problem.errno if isinstance(problem, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT):
        return PellucidError(
            f"The disk is full: {_named(path)} needs {size / 1e6:.1f} MB.", "Free some space, or write elsewhere."
        )
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PellucidError(f"{_named(path)} may not be written here.", "Choose another folder, or change its rights.")
    if code == errno.ENAMETOOLONG or isinstance(problem, ValueError):
        return BadInput(f"The system refuses the file name {_named(path)}.", "Choose a shorter, plainer name.")
    return PellucidError(f"{_named(path)} could not be written: {problem.strerror or 'unknown reason'}.", "Try again.")
