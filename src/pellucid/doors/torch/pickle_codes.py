"""The arguments of a pickle's operations, read without believing what they claim about their length."""

from __future__ import annotations

import io
import pickletools
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

DIGITS = 400  # of a number that is written out: it takes the square of their count to read
_LINE, _PIECE = 1 << 20, 1 << 20


@runtime_checkable
class Stream(Protocol):
    """What a pickle is read from."""

    def read(self, count: int, /) -> bytes: ...
    def readline(self, most: int, /) -> bytes: ...


def taken(file: Stream, count: int) -> bytes:
    """So many bytes, in pieces, for a claim of more than there is must take no memory.

    Raises `ValueError` where the file ends before that.

    >>> taken(io.BytesIO(b"abc"), 2)
    b'ab'
    """
    data = file.read(count if count < _PIECE else _PIECE)
    if len(data) == count:
        return data
    pieces, left = [data], count - len(data)
    while left and data:
        data = file.read(min(left, _PIECE))
        pieces.append(data)
        left -= len(data)
    if left:
        raise ValueError("it ends within an operation")
    return b"".join(pieces)


def line(file: Stream) -> bytes:
    """The rest of a line, without its end, which must be there."""
    found = file.readline(_LINE)
    if found[-1:] != b"\n":
        raise ValueError("a line has no end")
    return found[:-1]


def name(file: Stream) -> tuple[str, str]:
    """A module and a name in it, a line each, read as Python's unpickler does."""
    return line(file).decode(), line(file).decode()


def digits(file: Stream) -> bytes:
    """A number that is written out."""
    found = line(file)
    if len(found) > DIGITS:
        raise ValueError(f"a number has {len(found)} digits")
    return found


def whole(file: Stream) -> int | bool:
    """Protocol 0 writes booleans as 00 and 01, and marks long numbers with an L."""
    found = digits(file)
    return found == b"01" if found in (b"00", b"01") else int(found.rstrip(b"L"))


def quoted(file: Stream) -> str:
    """A text of protocol 0 as a line, in quotes, with escapes."""
    return str(pickletools.read_stringnl(io.BytesIO(line(file) + b"\n")))


_WIDTHS = {
    **dict.fromkeys(("uint1", "string1", "bytes1", "unicodestring1", "long1"), 1),
    "uint2": 2,
    **dict.fromkeys(("uint4", "int4", "string4", "bytes4", "unicodestring4", "long4"), 4),
    **dict.fromkeys(("uint8", "float8", "bytes8", "bytearray8", "unicodestring8"), 8),
}
# an operation's letter -> its name, and the bytes of its argument, or of the length of that; 0 for none and for lines
CODES: Mapping[bytes, tuple[str, int]] = {
    op.code.encode("latin-1"): (op.name, _WIDTHS.get(op.arg.name, 0) if op.arg else 0) for op in pickletools.opcodes
}
