"""Variations of an input, made one by one as they are asked for, with their number known in advance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pellucid.core.tensors import Tensors


@dataclass(frozen=True, slots=True)
class Variations:
    """`count` variations; `at(i)` makes the i-th."""

    count: int
    at: Callable[[int], Tensors]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Tensors]:
        return (self.at(i) for i in range(self.count))
