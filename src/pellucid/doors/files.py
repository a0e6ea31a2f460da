"""Read a file's bytes with its size checked first, and say its name without what a terminal would obey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pellucid.core.errors import BadInput, Missing, PellucidError

BYTE_LIMIT = 512 << 20


def printable(text: str, limit: int = 120) -> str:
    """A name from outside as one line without control or direction characters."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def file_bytes(path: Path, limit: int = BYTE_LIMIT) -> bytes:
    """The bytes of a regular file, size checked first.  Raises `Missing` or `BadInput`, naming the file."""
    refuse_absent(path)
    with _readable(path):
        size = path.stat().st_size
        if size > limit:
            raise BadInput(
                f"{printable(str(path))} has {size / 2**20:.0f} MiB; the limit is {limit >> 20} MiB.",
                "Make it smaller first.",
            )
        with path.open("rb") as file:
            return file.read(limit + 1)


def refuse_absent(path: Path) -> None:
    """Raise `Missing` for a file that is not there, `BadInput` for what is no regular file; nothing is read."""
    shown = printable(str(path))
    with _readable(path):
        if path.is_dir():
            raise BadInput(f"{shown} is a folder, not a file.", "Name a file inside it.")
        if not path.exists():
            from difflib import get_close_matches

            near = get_close_matches(
                path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [], 1
            )
            raise Missing(
                f"There is no file {shown}.", f"Did you mean {printable(near[0])}?" if near else "Check the name."
            )
        if not path.is_file():
            raise BadInput(f"{shown} is a device or a pipe, not a file.", "Save its contents to a file first.")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the system says against reading a file, as a sentence."""
    try:
        yield
    except PellucidError:
        raise
    except (OSError, ValueError) as error:
        reason = printable(getattr(error, "strerror", None) or "not a file name")
        raise BadInput(
            f"{printable(str(path))} cannot be read: {reason}.", "Check the name and its permissions."
        ) from None


def stamp(path: Path) -> tuple[int, ...]:
    """What tells whether a file was written, replaced or cut since; empty for one that is not there.

    Its place on the disk, its length and both its times: the system sets the time of the last change itself, and nobody
    can set it back.
    """
    try:
        s = path.stat()
    except OSError:
        return ()
    return s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns
