"""What a pickle is told as: the names it would import, the calls it would make, and what lies outside of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Made:
    """What a call would give: the callee, its arguments, and what was put into the result afterwards."""

    callee: Any
    args: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] | None = None
    values: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class Persistent:
    """A reference to something outside of the pickle; torch's checkpoints name their storages so."""

    id: Any


@dataclass(slots=True)
class Seen:
    """What was found: every name it would import, in order, and how many operations it has."""

    names: dict[Global, None] = field(default_factory=dict)
    operations: int = 0


class Cut(Exception):
    """The pickle ends or makes no sense; what was seen before that counts all the same."""
