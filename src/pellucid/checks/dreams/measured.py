"""What every measure of dreams has in common: one check a picture, and three answers.

HOLDS and FAILS are passed and failed; UNKNOWN with a value is in between, UNKNOWN without one was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from pellucid.core.check import Check, Verdict
from pellucid.core.measure import Better, MeasureOf
from pellucid.dream.dream import Dream

P = ParamSpec("P")


class DreamMeasure(MeasureOf[Dream, tuple[Check, ...], P]):
    """A measure of dreams: call it on a dream to get a `Check` for each of its pictures."""


def dream_measure(
    *,
    title: str,
    paper: str = "",
    better: Better = "higher",
    cost: str = "no pass",
    place: int = 0,
    again: bool = False,
) -> Callable[[Callable[Concatenate[Dream, P], tuple[Check, ...]]], DreamMeasure[P]]:
    """Make a measure of a function from a dream to a check for each picture; `again`: it dreams once more."""
    return lambda recipe: DreamMeasure(
        recipe, title=title, family="dream", paper=paper, better=better, cost=cost, place=place, again=again
    )


def verdict(passed: bool, failed: bool) -> Verdict:
    """HOLDS, FAILS, or UNKNOWN for what is in between."""
    return Verdict.HOLDS if passed else Verdict.FAILS if failed else Verdict.UNKNOWN


def not_made(why: str) -> Check:
    """A check that could not be made, and why."""
    return Check("", math.nan, Verdict.UNKNOWN, why)
