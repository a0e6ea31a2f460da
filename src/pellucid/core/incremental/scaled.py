"""Recorded steps for any number of samples: what grows with it is found by comparing two recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pellucid.core.recording.batched import Batched
from pellucid.core.recording.step import Ref


class Unfit(Exception):
    """Why a recorded network cannot be computed from its tape."""


@dataclass(frozen=True, slots=True)
class Grows:
    """A whole number among an operation's arguments that was `one` for one sample and `two` for two."""

    one: int
    two: int

    def at(self, samples: int) -> int:
        """What it is for that many samples."""
        return self.one + (self.two - self.one) * (samples - 1)


def scaled(one: Any, two: Any, where: str) -> Any:
    """Arguments as recorded for one and for two samples, as a template; raises `Unfit` where they differ otherwise.

    >>> scaled((Ref(0), 1, (1, 8)), (Ref(0), 1, (2, 8)), "view")
    (Ref(id=0), 1, (Grows(one=1, two=2), 8))
    """
    if isinstance(one, tuple | list) and isinstance(two, tuple | list) and len(one) == len(two):
        parts = [scaled(a, b, where) for a, b in zip(one, two, strict=True)]
        return parts if isinstance(one, list) else tuple(parts)
    if isinstance(one, dict) and isinstance(two, dict) and list(one) == list(two):
        return {k: scaled(one[k], two[k], where) for k in one}
    if isinstance(one, slice) and isinstance(two, slice):
        return slice(*(scaled(getattr(one, k), getattr(two, k), where) for k in ("start", "stop", "step")))
    if one is two or (type(one) is type(two) and not isinstance(one, Tensor) and one == two):
        return one
    if type(one) is int and type(two) is int:
        return Grows(one, two)
    raise Unfit(f"an argument of {where} depends on the number of samples")


def filled(template: Any, tensor: Callable[[int], Tensor], samples: int) -> Any:
    """Arguments for so many samples; `tensor` gives the tensors by the number of their value."""
    if isinstance(template, Ref):
        return tensor(template.id)
    if isinstance(template, Grows):
        return template.at(samples)
    if type(template) in (tuple, list):
        return type(template)(filled(v, tensor, samples) for v in template)
    if type(template) is dict:
        return {k: filled(v, tensor, samples) for k, v in template.items()}
    if type(template) is slice:
        return slice(*(filled(v, tensor, samples) for v in (template.start, template.stop, template.step)))
    return template


def spread(batched: Batched, id: int, value: Tensor, samples: int) -> Tensor:
    """A value of one sample, for many (memory is shared); raises `Unfit` where its shape tells no samples apart."""
    if batched.one.values[id].shape == batched.two.values[id].shape:
        return value
    if batched.axis(id) is None:
        raise Unfit("a value that does not depend on the picture mixes samples with something else")
    return value.expand(batched.shape(id, samples))
