"""Local changes of a picture, as data: where each is, and what the picture becomes there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from pellucid.core.tensors import Tensors

Box: TypeAlias = tuple[slice, slice]


@runtime_checkable
class Wholes(Protocol):
    """The changed inputs, whole, one after another."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Tensors]: ...
    @property
    def at(self) -> Callable[[int], Tensors]: ...


@dataclass(frozen=True, slots=True)
class Edits:
    """Local changes of the picture `name`.  Change i stays inside `box(i, sample)`, which may differ between samples.

    `content(i, sample, box)` is the changed picture inside a box that holds the change's, `[channels, height, width]`;
    `wholes` are the same changes as whole inputs.  Without a picture, `why_not` says why they are not local.
    """

    wholes: Wholes
    name: str = ""
    box: Callable[[int, int], Box] | None = None
    content: Callable[[int, int, Box], Tensor] | None = None
    why_not: str = ""
