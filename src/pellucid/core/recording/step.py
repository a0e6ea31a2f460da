"""How one recorded operation is run again: its function and its arguments, with numbers of values for tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.structure import leaves, rebuilt


@dataclass(frozen=True, slots=True)
class Ref:
    """The place of a tensor inside recorded arguments: the value's number."""

    id: int


@dataclass(frozen=True, slots=True)
class Step:
    """How to run an operation again: the function and its arguments, with a `Ref` in every tensor's place.

    `function` is the path of a module when the module is opaque, None when there is nothing to run.  `renames` lists
    the values (new, old) that are the same tensor object before and after the operation wrote into its memory.
    """

    function: Callable[..., Any] | str | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    renames: tuple[tuple[int, int], ...]


def filled(template: Any, env: Mapping[int, Tensor]) -> Any:
    """Arguments with the tensors themselves in their places."""
    return rebuilt(template, lambda ref: env[ref.id], Ref)


def bind(step: Step, out: Any, env: dict[int, Tensor]) -> None:
    """Give an operation's outputs their numbers."""
    deep = isinstance(step.function, str)
    found, refs = leaves(out, deep=deep), leaves(step.result, Ref, deep=deep)
    if len(found) != len(refs):
        raise BadInput("An operation put out another number of tensors than recorded.", "Record this input anew.")
    env.update({ref.id: v for ref, v in zip(refs, found, strict=True)})
