"""The trust card of a dream: every check that applies to each picture, at a price that is chosen beforehand.

Natural pictures are run once, for all checks and all pictures of the batch; which checks are on the card, and where,
each says itself (`place`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from pellucid.checks.card import Trust
from pellucid.checks.dreams import all_dream_checks
from pellucid.checks.dreams.measured import DreamMeasure, not_made
from pellucid.core.check import Check
from pellucid.core.errors import BadOption, PellucidError, Stopped
from pellucid.core.network import Network
from pellucid.core.run import Meter, current, running
from pellucid.dream.dream import Dream
from pellucid.trials.naturals import Natural, naturals


@dataclass(frozen=True, slots=True)
class Budget:
    """How many moves test robustness, whether others than the given networks are opened, and whether to dream again."""

    views: int
    opens: bool = True
    dreams_again: bool = False


BUDGETS: Mapping[Trust, Budget] = MappingProxyType(
    {"quick": Budget(4, opens=False), "standard": Budget(8), "thorough": Budget(32, dreams_again=True)}
)


def dream_card(
    dream: Dream,
    natural: Natural | None = None,
    others: Sequence[Network] | None = None,
    *,
    trust: Trust = "standard",
    which: Sequence[str] | None = None,
) -> Dream:
    """The same dream with the checks of each picture, or with those named in `which`; each with what it took.

    `natural` are natural inputs as the network takes them (`pl.pictures(net, folder)`, a tensor, a data set), at least
    24: with them the card says how the dream compares with real pictures.  `others` are networks of the same task that
    read dreams of classes; by default those of the zoo that are installed and know the class by name.  `trust`: "quick"
    moves each picture 4 times and opens no other network, "standard" 8 times, "thorough" 32 times, and dreams once
    more from another seed.  A check that cannot be made is UNKNOWN and says why.  Raises `BadOption` for a name that is
    no check, and for a budget that there is not; `Stopped` when somebody presses stop.
    """
    known, budget = all_dream_checks(), _budget(trust)
    unknown = [name for name in which or () if name not in known]
    if unknown:
        raise BadOption(f"There is no check of dreams {unknown[0]!r}.", f"Checks: {', '.join(known)}.")
    placed = sorted((c for c in known.values() if c.place), key=lambda c: c.place)
    wanted = [known[name] for name in which] if which is not None else placed
    wanted = [c for c in wanted if which is not None or budget.dreams_again or not c.again]
    given: dict[str, Any] = {"views": budget.views, "others": others}
    if others is None and not budget.opens:
        given["others"] = ()
    trouble, spent, since = "", Meter(), time.perf_counter()
    if natural is not None and any("natural" in c.takes for c in wanted):
        try:
            with running(replace(current(), meter=spent)):
                given["natural"] = naturals(dream, natural)
        except Stopped:
            raise
        except PellucidError as why:
            trouble = f"{why.what} {why.hint}".strip()
        current().meter.add(spent)
    took = time.perf_counter() - since
    found = [_run(check, dream, given, trouble) for check in wanted]
    first = next((i for i, check in enumerate(wanted) if "natural" in check.takes), None)
    if natural is not None and first is not None:
        found[first] = _with_pass(found[first], spent.forwards, took)
    return dream.with_checks(tuple(zip(*found, strict=True)) if found else tuple(() for _ in dream.targets))


def _budget(trust: str) -> Budget:
    found = next((budget for name, budget in BUDGETS.items() if name == trust), None)
    if found is None:
        raise BadOption(f"trust={trust!r}: expected one of {', '.join(BUDGETS)}.")
    return found


def _run(check: DreamMeasure[...], dream: Dream, given: Mapping[str, Any], trouble: str) -> tuple[Check, ...]:
    mine = {k: v for k, v in given.items() if k in check.takes}
    if trouble and "natural" in check.takes and check.name != "robustness":  # which has another zero without them
        found = tuple(not_made(f"The natural pictures could not be used. {trouble}") for _ in dream.targets)
    else:
        try:
            found = check(dream, **mine)
        except Stopped:
            raise
        except PellucidError as why:
            found = tuple(not_made(f"Not tested. {why.what}") for _ in dream.targets)
    return tuple(replace(c, name=check.name) for c in found)


def _with_pass(checks: tuple[Check, ...], passes: int, seconds: float) -> tuple[Check, ...]:
    """The pass over natural pictures is counted where its result is first used, each picture its share."""
    share, rest = divmod(passes, len(checks))
    return tuple(
        replace(c, passes=c.passes + share + (i < rest), seconds=c.seconds + seconds / len(checks))
        for i, c in enumerate(checks)
    )
