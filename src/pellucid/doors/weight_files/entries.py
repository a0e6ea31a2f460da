"""Named tensors in a file, told before any of their numbers is read, which alone takes torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.weight_files.sealed import refuse_larger_than_memory, size

if TYPE_CHECKING:
    from torch import Tensor

ITEM = {  # bytes of one number, by torch's name for its type
    **dict.fromkeys(("bool", "uint8", "int8", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"), 1),
    **dict.fromkeys(("float8_e4m3fnuz", "float8_e5m2fnuz"), 1),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "uint32", "float32"), 4),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 8),
    "complex128": 16,
}


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of bytes in a file."""

    file: Path
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: its name, its type and shape, and where its numbers are.

    `dtype` is torch's name, or a name of GGUF such as `q4_0`.  `stride` and `offset` count numbers within the `place`;
    what is packed in some other way is read by `load`.  `blocked` is (numbers, bytes) of a block where numbers are
    quantised together.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    place: Place | None = None
    stride: tuple[int, ...] | None = None
    offset: int = 0
    load: Callable[[], Tensor] | None = field(default=None, compare=False)
    blocked: tuple[int, int] | None = None

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many bytes they take in the file."""
        if self.blocked:
            return self.count // self.blocked[0] * self.blocked[1]
        return self.count * ITEM[self.dtype]

    def tensor(self) -> Tensor:
        """Its numbers, in memory of their own.  Raises `BadModel` for types that torch has no tensors of."""
        if self.load is not None:
            return self.load()
        import torch

        dtype = getattr(torch, self.dtype, None)
        if self.place is None or self.blocked or not isinstance(dtype, torch.dtype):
            raise BadModel(f"{printable(self.name)} is stored as {self.dtype}.", "Open the model it was made from.")
        stride = self.stride if self.stride is not None else contiguous(self.shape)
        if not self.count:
            return torch.empty(self.shape, dtype=dtype)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, stride, strict=True))
        data = read(self.place, self.offset * ITEM[self.dtype], (last + 1 - self.offset) * ITEM[self.dtype])
        return torch.frombuffer(data, dtype=dtype).as_strided(self.shape, stride).contiguous()


@dataclass(frozen=True, slots=True)
class Listing:
    """All tensors of a file, with what it says about itself."""

    path: Path
    kind: str
    entries: tuple[Entry, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    whole: bool = False  # does the file hold a whole module, not only its weights?

    @property
    def count(self) -> int:
        """How many numbers there are in all."""
        return sum(e.count for e in self.entries)

    @property
    def bytes(self) -> int:
        """How many bytes they take."""
        return sum(e.bytes for e in self.entries)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name; those that lie in one place are one tensor.  Raises `BadModel` when they do not fit."""
        refuse_larger_than_memory(self.path.name, self.bytes)
        known: dict[object, Tensor] = {}
        found: dict[str, Tensor] = {}
        for e in self.entries:
            where = (e.place, e.offset, e.shape, e.stride, e.dtype) if e.place else e.name
            if where not in known:
                known[where] = e.tensor()
            found[e.name] = known[where]
        return found


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of numbers that lie one after the other.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    steps, step = [], 1
    for count in reversed(shape):
        steps.append(step)
        step *= count
    return tuple(reversed(steps))


def read(place: Place, start: int, count: int) -> bytearray:
    """Some bytes of a place; raises `BadModel` when the file ends before them."""
    if start < 0 or count < 0 or start + count > place.size:
        raise BadModel(
            f"{printable(place.file.name)}: a tensor wants bytes {start} to {start + count} of {place.size}.",
            "The file is damaged or made to mislead: do not trust it.",
        )
    data = bytearray(count)
    with place.file.open("rb") as file:
        file.seek(place.start + start)
        got = file.readinto(data)
    if got != count:
        raise BadModel(
            f"{printable(place.file.name)} ends after {place.start + start + got} of at least "
            f"{place.start + start + count} bytes.",
            "Copy or download it again.",
        )
    return data


def refuse_claim(file: str, entry: Entry, held: int) -> None:
    """Raise `BadModel` for a tensor that claims more numbers than its bytes can hold, or none of the types known."""
    needed = 0
    if entry.dtype not in ITEM and entry.blocked is None:
        why, hint = f"has the type {printable(entry.dtype, 40)}, which is not known", "Update Pellucid."
    elif min((0, *entry.shape, *(entry.stride or ()), entry.offset)) < 0:
        why, hint = "has a negative size", "The file is made to mislead: do not trust it."
    elif (needed := entry.bytes) > held:
        why = f"claims {entry.count} numbers ({size(needed)}); the file holds {size(held)} for it"
        hint = "The file is damaged or made to mislead: do not trust it."
    else:
        return
    raise BadModel(f"{printable(file)}: {printable(entry.name, 60)} {why}.", hint)
