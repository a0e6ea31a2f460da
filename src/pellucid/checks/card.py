"""The trust card: every check that applies, in reading order.

Which checks are on it, and where, each says itself (`place`).  Adding one touches nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.checks import all_checks
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadOption, PellucidError
from pellucid.core.explanation import Explanation
from pellucid.core.measure import Measure
from pellucid.trials.probed import ProbeSet
from pellucid.trials.regions import Marked


def trust_card(
    explanation: Explanation,
    *,
    probes: int | Sequence[ProbeSet] = 64,
    mask: Marked | None = None,
    which: Sequence[str] | None = None,
) -> tuple[Check, ...]:
    """Run the checks that apply to an explanation, or those named in `which`; each with what it took.

    `probes`: how many masked copies to run for faithfulness, or sets from `probe_set` that were run before.
    `mask`: a region that the map should point into.  A check that cannot be made is UNKNOWN and says why; it never
    costs the explanation.  Raises `BadOption` for a name that is not a check.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)
    >>> [check.name for check in trust_card(why)]
    ['faithfulness', 'stability', 'randomization', 'completeness']
    """
    known = all_checks()
    unknown = [name for name in which or () if name not in known]
    if unknown:
        raise BadOption(f"There is no check {unknown[0]!r}.", f"Checks: {', '.join(known)}.")
    given: dict[str, Any] = {"count": probes} if isinstance(probes, int) else {"probes": probes}
    if mask is not None:
        given["mask"] = mask
    wanted = [known[name] for name in which] if which is not None else _of_the_card(known, "mask" in given)
    return tuple(_run(check, explanation, given) for check in wanted)


def _of_the_card(known: Mapping[str, Measure[...]], marked: bool) -> list[Measure[...]]:
    """All that have a place on the card, in order, but those of a mark that nobody made."""
    placed = sorted((check for check in known.values() if check.place), key=lambda check: check.place)
    return [check for check in placed if marked or "mask" not in check.takes]


def _run(check: Measure[...], explanation: Explanation, given: Mapping[str, Any]) -> Check:
    try:
        return check(explanation, **{k: v for k, v in given.items() if k in check.takes})
    except PellucidError as trouble:
        return Check(check.name, math.nan, Verdict.UNKNOWN, f"Not tested. {trouble.what}")
