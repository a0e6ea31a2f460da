"""One measured fact about an explanation or a dream.  The checks shown together are its trust card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Verdict(Enum):
    """What a check found.

    UNKNOWN is an honest answer: the test did not apply, or was not fair.  MEASURED is a number that has no right value,
    or none that would hold for every network: it compares maps, and judges none.
    """

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "can't tell"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Check:
    """A name, a number with its interval, a verdict, and one plain sentence that a newcomer understands.

    `references` are named numbers on the same scale that give the value its meaning (a random map, an edge map,
    the ceiling that any heat map could reach).  `each` is the number of every sample, in order; `curves` are named
    lists of numbers that the value sums up (what was removed, what was left of the score); a report draws lists of one
    length over the first of them.  NaN says that a number does
    not exist.  `facts` say how the test was made, so that it can be shown.  `passes`: forward and backward passes,
    counted in samples; `seconds` of wall time.
    """

    name: str
    value: float
    verdict: Verdict
    why: str
    low: float = float("nan")
    high: float = float("nan")
    references: tuple[tuple[str, float], ...] = ()
    each: tuple[float, ...] = ()
    curves: tuple[tuple[str, tuple[float, ...]], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    passes: int = 0
    seconds: float = 0.0
