"""Which function computes which operator, by domain, name and the operator set since which it does.

>>> @operator("Twice", domain="example")
... def twice(node, x):
...     return 2 * x
>>> find("example", "Twice", 1).run is twice
True
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, TypeVar

Run: TypeAlias = Callable[..., Any]
F = TypeVar("F", bound=Run)


@dataclass(frozen=True, slots=True)
class Operator:
    """`run(node, *inputs)` computes it; `shapely` when it is also used to compute with shapes, on their few numbers.

    `read` are the inputs whose numbers are looked at (a shape, axes, sizes): these stay where they are.
    """

    run: Run
    since: int
    read: tuple[int, ...]
    shapely: bool


_KNOWN: dict[tuple[str, str], list[Operator]] = {}


def operator(
    *names: str, since: int = 1, domain: str = "", read: tuple[int, ...] = (), shapely: bool = False
) -> Callable[[F], F]:
    """Register a function for operators, from operator set `since` of `domain` on, until a later one takes over."""

    def register(function: F) -> F:
        for name in names:
            _KNOWN.setdefault((domain, name), []).append(Operator(function, since, read, shapely))
            _KNOWN[domain, name].sort(key=lambda known: -known.since)
        return function

    return register


def find(domain: str, name: str, version: int) -> Operator | None:
    """What computes an operator in that version of its domain, or None."""
    _load()
    return next((known for known in _KNOWN.get((domain, name), ()) if known.since <= version), None)


@cache
def _load() -> None:
    from pellucid.doors.onnx.running import operators

    for entry in pkgutil.iter_modules(operators.__path__):
        importlib.import_module(f"{operators.__name__}.{entry.name}")
