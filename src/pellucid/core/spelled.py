"""A target as plain JSON values and tensors, and back: what a file can hold of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.core.site import Site
from pellucid.core.target import Target, Term


def spelled(target: Target) -> list[list[Any]]:
    """The terms as JSON values; a tensor among their arguments leaves a place for itself.

    >>> from pellucid.core.target import channel
    >>> spelled(2 * channel("stem", 3))
    [[2.0, 'channel', [{'site': 'stem'}, 3]]]
    """
    return [[t.weight, t.kind, [_plain(a) for a in t.args]] for t in target.terms]


def tensors_in(target: Target) -> list[Tensor]:
    """The tensors among the terms' arguments, in order."""
    return [a for t in target.terms for a in t.args if isinstance(a, Tensor)]


def unspelled(terms: list[list[Any]], tensors: Iterator[Tensor]) -> Target:
    """The target that `spelled` wrote, its tensors taken in order; raises `ValueError` when one is missing."""
    return Target(tuple(Term(w, kind, tuple(_restored(a, tensors) for a in args)) for w, kind, args in terms))


def _plain(argument: Any) -> Any:
    if isinstance(argument, Site):
        return {"site": str(argument)}
    if isinstance(argument, Tensor):
        return {"mask": True}
    if callable(argument):
        return {"function": getattr(argument, "__name__", "function")}
    return list(argument) if isinstance(argument, tuple) else argument


def _restored(argument: Any, tensors: Iterator[Tensor]) -> Any:
    if isinstance(argument, dict) and "site" in argument:
        return Site.parse(argument["site"])
    if isinstance(argument, dict) and "mask" in argument:
        found = next(tensors, None)
        if found is None:
            raise ValueError("a mask is missing")
        return found
    if isinstance(argument, dict):
        return _lost(argument["function"])
    return tuple(argument) if isinstance(argument, list) else argument


def _lost(name: str) -> Callable[[Any], Tensor]:
    def function(_output: Any) -> Tensor:
        raise BadModel(
            f"The target was the Python function {name!r}, which a file cannot hold.", "Explain again with it."
        )

    function.__name__ = name
    return function
