"""The operations of a pickle that put a number or a text on the stack."""

from __future__ import annotations

import struct
from typing import Any

from pellucid.doors.torch.pickle_codes import Stream, digits, line, quoted, taken, whole
from pellucid.doors.torch.pickle_parts import Seen

WRITTEN = 2  # what lines, bytes and long numbers count more than other operations: they take longer


class Values:
    """A stack, and what puts values on it; each gets the bytes of its argument, or of that one's length."""

    def __init__(self, file: Stream, seen: Seen) -> None:
        self.file, self.seen = file, seen
        self.stack: list[Any] = []

    def do_binint1(self, raw: bytes) -> None:
        self.stack.append(raw[0])

    def do_binint2(self, raw: bytes) -> None:
        self.stack.append(int.from_bytes(raw, "little"))

    def do_binint(self, raw: bytes) -> None:
        self.stack.append(int.from_bytes(raw, "little", signed=True))

    def do_binfloat(self, raw: bytes) -> None:
        self.stack.append(struct.unpack(">d", raw)[0])

    def do_int(self, _: bytes) -> None:
        self.write(whole(self.file))

    do_long = do_int

    def do_float(self, _: bytes) -> None:
        self.write(float(digits(self.file)))

    def do_string(self, _: bytes) -> None:
        self.write(quoted(self.file))

    def do_unicode(self, _: bytes) -> None:
        self.write(line(self.file).decode("raw-unicode-escape"))

    def write(self, value: Any) -> None:
        self.seen.operations += WRITTEN
        self.stack.append(value)

    def do_binunicode(self, raw: bytes) -> None:
        self.stack.append(taken(self.file, int.from_bytes(raw, "little")).decode("utf-8", "surrogatepass"))

    do_short_binunicode = do_binunicode8 = do_binunicode

    def do_binstring(self, raw: bytes) -> None:
        self.stack.append(taken(self.file, int.from_bytes(raw, "little")).decode("latin-1"))

    do_short_binstring = do_binstring

    def do_long1(self, raw: bytes) -> None:
        data = taken(self.file, int.from_bytes(raw, "little"))
        self.write(int.from_bytes(data, "little", signed=True))

    do_long4 = do_long1
