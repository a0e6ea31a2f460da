"""The trust card: every check that applies, in reading order, at a price that is chosen beforehand.

Which checks are on it, and where, each says itself (`place`).  Adding one touches nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from pellucid.checks import all_checks
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadOption, PellucidError
from pellucid.core.explanation import Explanation
from pellucid.core.measure import Measure
from pellucid.trials.again import on_random_weights
from pellucid.trials.probed import ProbeSet
from pellucid.trials.regions import Marked
from pellucid.trials.yardsticks import Guesses

Trust: TypeAlias = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much testing a card is worth, in passes a sample.

    Faithfulness runs `count` masked copies, and more up to `most` while its interval reaches further than `within`.
    Without `explains_again`, checks that run the method again are left out.
    """

    count: int
    most: int
    within: float
    explains_again: bool = True


BUDGETS: Mapping[Trust, Budget] = MappingProxyType(
    {
        "quick": Budget(64, 64, 0.15, explains_again=False),
        "standard": Budget(128, 256, 0.07),
        "thorough": Budget(256, 1024, 0.04),
    }
)


def trust_card(
    explanation: Explanation,
    *,
    trust: Trust = "standard",
    probes: int | Sequence[ProbeSet] | None = None,
    mask: Marked | None = None,
    guesses: Guesses | None = None,
    which: Sequence[str] | None = None,
) -> tuple[Check, ...]:
    """Run the checks that apply to an explanation, or those named in `which`; each with what it took.

    `trust` is the budget: "quick" runs 64 masked copies a sample and nothing else, "standard" up to 256 and seven more
    explanations, "thorough" up to 1024.  `probes` overrides it: how many masked copies to run for faithfulness, or sets
    from `probe_set` that were run before.  `mask`: a region that the map should point into.  `guesses`: maps of your
    own, by name, that it has to beat (`faithfulness`).  Where the map of random weights is made anyway, it is a guess
    too, and is made once.  A check that cannot be made is UNKNOWN and says why; it never costs the explanation.  Raises
    `BadOption` for a name that is not a check, and for a budget that there is not.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)
    >>> [check.name for check in trust_card(why)]
    ['faithfulness', 'stability', 'randomization', 'completeness']
    """
    known = all_checks()
    unknown = [name for name in which or () if name not in known]
    if unknown:
        raise BadOption(f"There is no check {unknown[0]!r}.", f"Checks: {', '.join(known)}.")
    budget = budget_of(trust)
    given: dict[str, Any] = {"count": budget.count, "most": budget.most, "within": budget.within}
    if probes is not None:
        given = {"count": probes} if isinstance(probes, int) else {"probes": probes}
    given |= {name: v for name, v in (("mask", mask), ("guesses", guesses)) if v is not None}
    wanted = [known[name] for name in which] if which is not None else _of_the_card(known, "mask" in given, budget)
    if any(check.name == "randomization" for check in wanted):  # made once, when the first one asks for it
        given["again"] = cache(partial(on_random_weights, explanation))
    return tuple(_run(check, explanation, given) for check in wanted)


def budget_of(trust: str) -> Budget:
    """The budget of that name; raises `BadOption` when there is none."""
    found = next((budget for name, budget in BUDGETS.items() if name == trust), None)
    if found is None:
        raise BadOption(f"trust={trust!r}: expected one of {', '.join(BUDGETS)}.")
    return found


def _of_the_card(known: Mapping[str, Measure[...]], marked: bool, budget: Budget) -> list[Measure[...]]:
    """All that have a place on the card, in order, but those of a mark that nobody made and the dear ones."""
    placed = sorted((check for check in known.values() if check.place), key=lambda check: check.place)
    placed = [check for check in placed if budget.explains_again or not check.again]
    return [check for check in placed if marked or "mask" not in check.takes]


def _run(check: Measure[...], explanation: Explanation, given: Mapping[str, Any]) -> Check:
    # a measure of the library may have options of the card's names with another meaning
    mine = {k: v for k, v in given.items() if k in check.takes and (check.place or k == "mask")}
    try:
        return check(explanation, **mine)
    except PellucidError as trouble:
        return Check(check.name, math.nan, Verdict.UNKNOWN, f"Not tested. {trouble.what}")
