"""Checks of a file before anything in it is believed: its size, an archive's claims, and whether it stays itself."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable, stamp

RATIO = 20  # what weights can shrink by: trained ones shrink by less than two, zeros by a thousand
MEMBERS = 200_000
NOTHING_BIG = 1 << 20  # below this many unpacked bytes, no ratio is a danger


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Raises `BadModel` at the end of the block when the file was written, replaced or cut meanwhile."""
    before = stamp(path)
    yield
    if stamp(path) != before:
        raise BadModel(
            f"{printable(path.name)} changed while it was being read.", "Wait until it is written, then open it again."
        )


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def available() -> int:
    """How many bytes of memory a process may still have; half the address space where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 1 << 62


def refuse_larger_than_memory(name: str, needed: int) -> None:
    """Raise `BadModel`, with both numbers, when that many bytes of weights do not fit."""
    free = available()
    if needed > free:
        raise BadModel(
            f"{printable(name)} needs {size(needed)} of memory; {size(free)} are available.",
            "Close other programs, or open it on a larger machine.",
        )


def size(count: float) -> str:
    """A number of bytes in the unit that fits it.

    >>> size(3 << 20), size(12)
    ('3.0 MiB', '12 bytes')
    """
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} bytes"


@contextmanager
def archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A ZIP whose list of members has been checked; no member is extracted, ever: they are read one by one.

    Raises `BadModel` for an archive that is cut off or damaged, that unpacks to more than 20 times its size, and for
    members that lie over one another, have one name, or are links or encrypted.
    """
    try:
        with zipfile.ZipFile(path) as opened:
            _refuse_bad_members(opened, path)
            yield opened
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        reason = printable(str(error) or type(error).__name__, 80).rstrip(".")
        raise BadModel(
            f"{printable(path.name)} is a damaged or incomplete ZIP archive of {path.stat().st_size} bytes ({reason}).",
            "Copy or download it again.",
        ) from error


def _refuse_bad_members(opened: zipfile.ZipFile, path: Path) -> None:
    name, entries = printable(path.name), opened.infolist()
    if len(entries) > MEMBERS:
        raise BadModel(f"{name} lists {len(entries)} members; the limit is {MEMBERS}.", "It is no model file.")
    whole, packed = sum(e.file_size for e in entries), path.stat().st_size
    if whole > max(NOTHING_BIG, RATIO * packed):
        raise BadModel(
            f"{name} would unpack from {size(packed)} to {size(whole)}, more than {RATIO} times as much.",
            "Weights never shrink that far: do not trust this file.",
        )
    if len({e.filename for e in entries}) < len(entries):
        raise BadModel(f"{name} holds two members of one name.", "Save the model again.")
    end, previous = 0, ""
    for e in sorted(entries, key=lambda e: e.header_offset):
        why, start = "", e.header_offset
        if start < end:
            why = f"lies over {printable(previous, 60)}"
        end, previous = start + 30 + len(e.orig_filename) + e.compress_size, e.filename
        if end > packed:
            why = f"should end at byte {end}; the file ends after {packed}"
        elif e.file_size > max(NOTHING_BIG, RATIO * e.compress_size):
            why = f"would unpack from {size(e.compress_size)} to {size(e.file_size)}"
        elif e.flag_bits & 1 or stat.S_ISLNK(e.external_attr >> 16):
            why = "is encrypted" if e.flag_bits & 1 else "is a symbolic link"
        if why:
            raise BadModel(f"{name}: the member {printable(e.filename, 60)} {why}.", "Do not trust this file.")


def member(opened: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member's bytes, never more than `limit` and never more than its own header claims."""
    entry = opened.getinfo(name)
    if entry.file_size > limit:
        raise BadModel(
            f"{printable(Path(opened.filename or '').name)}: {printable(name, 60)} has {size(entry.file_size)}; "
            f"the limit is {size(limit)}.",
            "It is no ordinary model file.",
        )
    with opened.open(entry) as file:
        return file.read(limit + 1)
