"""One measured fact about an explanation.  The checks shown together are its trust card."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What a check found.  UNKNOWN is an honest answer: the test did not apply, or was not fair."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "can't tell"


@dataclass(frozen=True, slots=True)
class Check:
    """A name, a number with its interval, a verdict, and one plain sentence that a newcomer understands.

    `references` are named numbers on the same scale that give the value its meaning (a random map, an edge map,
    the ceiling that any heat map could reach).  NaN says that a number does not exist.
    """

    name: str
    value: float
    verdict: Verdict
    why: str
    low: float = float("nan")
    high: float = float("nan")
    references: tuple[tuple[str, float], ...] = ()
    seconds: float = 0.0
