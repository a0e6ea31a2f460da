"""The operations of a pickle, one after the other: their names and arguments, with nothing done about them."""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Protocol, TypeAlias, runtime_checkable

DIGITS = 400  # of a number that is written out: it takes the square of their count to read
_LINE = 1 << 20


@runtime_checkable
class Stream(Protocol):
    """What a pickle is read from."""

    def read(self, count: int, /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...


class Bounded:
    """A file that reads no more than it has: the pickle's own claims of length are not believed."""

    def __init__(self, file: IO[bytes], total: int) -> None:
        self._file, self._left = file, total - file.tell()

    def read(self, count: int) -> bytes:
        """At most `count` bytes."""
        data = self._file.read(count if count <= self._left else self._left)
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        """Up to the end of the line, which is short where it means something."""
        line = self._file.readline(_LINE)
        self._left -= len(line)
        return line

    def tell(self) -> int:
        """Where it stands."""
        return self._file.tell()


Reader: TypeAlias = Callable[[Any], Any]


def codes(file: Stream) -> Iterator[tuple[str, Any]]:
    """Each operation's name and argument, up to and with STOP, behind which the file is left.

    Raises `ValueError` where the file ends before that, or holds what is no operation.

    >>> import io, pickle
    >>> [name for name, _ in codes(io.BytesIO(pickle.dumps([7], 2)))]
    ['PROTO', 'EMPTY_LIST', 'BINPUT', 'BININT1', 'APPEND', 'STOP']
    """
    read, known = file.read, _CODES
    while code := read(1):
        try:
            name, reader = known[code]
        except KeyError:
            raise ValueError(f"{code!r} is no operation") from None
        yield name, reader(file) if reader is not None else None
        if name == "STOP":
            return
    raise ValueError("it has no end")


def _line(file: Stream) -> bytes:
    """The rest of a line, without its end, which must be there."""
    line = file.readline()
    if line[-1:] != b"\n":
        raise ValueError("a line has no end")
    return line[:-1]


def _name(file: Stream) -> tuple[str, str]:
    """A module and a name in it, a line each, read as Python's unpickler does."""
    return _line(file).decode(), _line(file).decode()


def _digits(file: Stream) -> bytes:
    line = _line(file)
    if len(line) > DIGITS:
        raise ValueError(f"a number has {len(line)} digits")
    return line


def _whole(file: Stream) -> int | bool:
    """Protocol 0 writes booleans as 00 and 01, and marks long numbers with an L."""
    line = _digits(file)
    return line == b"01" if line in (b"00", b"01") else int(line.rstrip(b"L"))


def _letters(file: Stream) -> str:
    return _line(file).decode("raw-unicode-escape")


_LINES: Mapping[str, Reader] = {
    "GLOBAL": _name,
    "INST": _name,
    "INT": _whole,
    "LONG": _whole,
    "FLOAT": lambda file: float(_digits(file)),
    "GET": lambda file: int(_digits(file)),
    "PUT": lambda file: int(_digits(file)),
    "UNICODE": _letters,
}
_CODES: Mapping[bytes, tuple[str, Reader | None]] = {
    op.code.encode("latin-1"): (op.name, _LINES.get(op.name, op.arg.reader if op.arg else None))
    for op in pickletools.opcodes
}
# how many operations some count as, because they take longer than others; a pickle imports each name once
COSTS: Mapping[str, int] = {
    **dict.fromkeys((*_LINES, "STRING"), 3),
    **dict.fromkeys(("GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"), 20),
}
