"""What a dream's checks come to, in one word: rules, never an average.

1. Do not believe: a check that can refute a dream has failed (`REFUTES`).
2. Believable: it is robust, a witness beside the dreamed unit itself agrees (`WITNESSES`), and no check is open or has
   failed, but for those that describe alone.
3. Partly: anything else; the sentence says what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from pellucid.core.check import Check, Verdict

Word: TypeAlias = Literal["Believable", "Partly", "Do not believe", "Not tested"]

REFUTES: Mapping[str, str] = MappingProxyType(
    {
        "activation": "ordinary pictures excite the target as much",
        "robustness": "the effect is gone when the picture moves a little",
        "transfer": "no other network of the task sees it",
        "path_agreement": "it reaches the target by another way than real pictures do",
        "forced_choice": "it misleads about which real pictures excite the unit",
    }
)
WITNESSES: Mapping[str, str] = MappingProxyType(
    {
        "transfer": "other networks see the same in it",
        "path_agreement": "it uses the same units as real pictures",
        "forced_choice": "it tells which real pictures excite the unit",
    }
)
_FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "spectrum": "its texture is as unlike a photograph's as noise",
        "seeds": "another random start shows something else",
    }
)
_OPEN: Mapping[str, str] = MappingProxyType(
    {
        "activation": "some real pictures excite the target more",
        "robustness": "part of the effect is gone when the picture moves a little",
        "transfer": "other networks see it only in part",
        "path_agreement": "it uses the units of real pictures only in part",
        "forced_choice": "it does not tell which real pictures excite the unit",
        "seeds": "another random start shows only somewhat the same",
    }
)


@dataclass(frozen=True, slots=True)
class Belief:
    """The word and, in one plain sentence, why."""

    word: Word
    why: str


def belief(checks: Sequence[Check]) -> Belief:
    """What the checks of one picture come to.

    >>> belief([Check("robustness", 0.1, Verdict.FAILS, "...")])
    Belief(word='Do not believe', why='The effect is gone when the picture moves a little.')
    """
    by = {c.name: c for c in checks}
    if not any(_measured(c) for c in checks):
        return Belief("Not tested", "Nothing says yet how far to trust it.")
    refuted = [why for name, why in REFUTES.items() if name in by and by[name].verdict is Verdict.FAILS]
    if refuted:
        return Belief("Do not believe", _sentence(refuted))
    doubts = [why for name, why in _FLAGS.items() if name in by and by[name].verdict is Verdict.FAILS]
    doubts += [why for name, why in _OPEN.items() if name in by and _open(by[name])]
    seen = [why for name, why in WITNESSES.items() if name in by and by[name].verdict is Verdict.HOLDS]
    robust = "robustness" in by and by["robustness"].verdict is Verdict.HOLDS
    if not doubts and robust and seen:
        return Belief("Believable", _sentence(["it holds when the picture moves a little", *seen]))
    missing = [] if robust or doubts else ["it was not tested whether it holds when the picture moves a little"]
    missing += (
        [] if seen or doubts else ["nothing but the unit itself was asked: real pictures or other networks would tell"]
    )
    return Belief("Partly", _sentence([*doubts, *missing]))


def _measured(check: Check) -> bool:
    return check.verdict in (Verdict.HOLDS, Verdict.FAILS) or math.isfinite(check.value)


def _open(check: Check) -> bool:
    return check.verdict is Verdict.UNKNOWN and math.isfinite(check.value)


def _sentence(reasons: Sequence[str]) -> str:
    text = reasons[0] if len(reasons) == 1 else "; ".join(reasons[:-1]) + "; and " + reasons[-1]
    return text[0].upper() + text[1:] + "."
