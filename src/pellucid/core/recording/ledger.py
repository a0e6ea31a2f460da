"""Who is who while a pass is recorded: which tensor object holds which value, and who wrote into its memory last."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from pellucid.core.recording.step import Ref
from pellucid.core.recording.tape import Origin, Value


class _Entry(NamedTuple):
    """A tensor object, held so that its id stays its own; the value in it as of the `writes`-th write to its memory."""

    tensor: Tensor
    value: int
    writes: int
    key: int


class _Written(NamedTuple):
    writes: int
    operation: int
    varies: bool


class Ledger:
    """Values by tensor object.  A write renews the value of every tensor that shares the memory when it is next met."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.constants: dict[int, Tensor] = {}
        self.renames: dict[int, list[tuple[int, int]]] = {}
        self._entries: dict[int, _Entry] = {}
        self._alike: dict[tuple[Any, ...], Tensor] = {}
        self._storages: dict[int, tuple[int, Any]] = {}
        self._written: dict[int, _Written] = {}

    def knows(self, tensor: Tensor) -> bool:
        """Has this very object been met, with the memory that it has now?"""
        entry = self._entries.get(id(tensor))
        return entry is not None and entry.key == storage_key(tensor)

    def add(
        self,
        tensor: Tensor,
        origin: Origin,
        name: str = "",
        *,
        varies: bool = False,
        by: int | None = None,
        count: int | None = None,
    ) -> int:
        """A new value in this object; `count` is how many parameters it holds, where it does."""
        key = storage_key(tensor)
        number = self._storages.setdefault(key, (len(self._storages), _storage(tensor)))[0]
        shape, size = shape_of(tensor), tensor.numel() * tensor.element_size()
        kind = (shape, str(tensor.dtype)[6:], str(tensor.device))
        value = Value(len(self.values), origin, name, *kind, size, number, varies, by, count or 0)
        self.values.append(value)
        writes = self._written[key].writes if key in self._written else 0
        self._entries[id(tensor)] = _Entry(tensor, value.id, writes, key)
        self._alike[_geometry(tensor, key)] = tensor
        return value.id

    def find(self, tensor: Tensor) -> int | None:
        """The value in a tensor now; None when neither the object nor another view of the same numbers was met."""
        key = storage_key(tensor)
        entry = self._entries.get(id(tensor))
        if entry is None or entry.key != key:
            twin = self._alike.get(_geometry(tensor, key)) if key in self._storages else None
            if twin is None or self._entries[id(twin)].key != key:
                return None
            entry = self._entries[id(tensor)] = self._entries[id(twin)]._replace(tensor=tensor)
        written = self._written.get(key)
        if written is None or written.writes == entry.writes:
            return entry.value
        return self._renew(entry, written)

    def _renew(self, entry: _Entry, written: _Written) -> int:
        old = self.values[entry.value]
        new = self.add(entry.tensor, "operation", varies=old.varies or written.varies, by=written.operation)
        self.renames.setdefault(written.operation, []).append((new, old.id))
        return new

    def take(self, tensor: Tensor) -> int:
        """The value in a tensor that is read; one from nowhere is a constant, copied before anybody writes into it."""
        found = self.find(tensor)
        if found is not None:
            return found
        found = self.add(tensor, "constant")
        self.constants[found] = tensor.detach().clone()
        return found

    def write(self, key: int, operation: int, varies: bool) -> bool:
        """An operation wrote into memory; False when nobody has met that memory (a kernel's own scratch)."""
        if key not in self._storages:
            return False
        before = self._written.get(key)
        self._written[key] = _Written(
            before.writes + 1 if before else 1, operation, varies or bool(before and before.varies)
        )
        return True

    def alias(self, tensor: Tensor, value: int) -> None:
        """Another object that stands for a known value (the stand-in of a parameter without numbers)."""
        self._entries[id(tensor)] = _Entry(tensor, value, 0, storage_key(tensor))

    def intact(self) -> dict[int, Tensor]:
        """The recorded values whose memory nobody has written over."""
        last = {key: written.writes for key, written in self._written.items()}
        return {e.value: e.tensor for e in self._entries.values() if last.get(e.key, 0) == e.writes}

    def shown(self, template: tuple[tuple[Any, ...], dict[str, Any]]) -> str:
        """Arguments for a reader: `%3, conv.weight, stride=(2, 2)`."""
        args, kwargs = template
        return ", ".join([*map(self._show, args), *(f"{k}={self._show(v)}" for k, v in kwargs.items())])

    def _show(self, v: Any) -> str:
        if isinstance(v, Ref):
            return self.values[v.id].name or f"%{v.id}"
        if isinstance(v, tuple | list):
            return f"({', '.join(map(self._show, v[:8]))}{', ...' if len(v) > 8 else ''})"
        return repr(v) if isinstance(v, int | float | bool | str | slice) or v is None else str(v)[:40]


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Its shape; along an axis where the parts of a nested tensor are not equally long, the longest.

    >>> import torch
    >>> shape_of(torch.zeros(2, 3))
    (2, 3)
    """
    if not tensor.is_nested:
        return tuple(tensor.shape)
    parts = [tuple(part.shape) for part in tensor.detach().unbind()]
    return (len(parts), *(max(sizes) for sizes in zip(*parts, strict=True)))


def storage_key(tensor: Tensor) -> int:
    """What tensors that share memory have in common."""
    storage = _storage(tensor)
    return id(tensor) if storage is None else int(storage._cdata)


def _storage(tensor: Tensor) -> Any:
    try:
        return tensor.untyped_storage()
    except (RuntimeError, NotImplementedError):  # sparse and other tensors without one block of memory
        return None


def _geometry(tensor: Tensor, key: int) -> tuple[Any, ...]:
    try:
        return key, tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype
    except (RuntimeError, NotImplementedError):
        return (key, id(tensor))
