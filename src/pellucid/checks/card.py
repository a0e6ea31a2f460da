"""The trust card: every check that applies, in reading order.

A check is a file in this folder with a function of the file's name that gives a `Check`; `PLACE` orders the card.
Adding one touches nothing else.
"""

from __future__ import annotations

import inspect
import math
import pkgutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, get_type_hints

from torch import Tensor

from pellucid import checks
from pellucid.checks.localization import Box
from pellucid.checks.probed import ProbeSet
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadOption, PellucidError
from pellucid.core.explanation import Explanation


@cache
def known_checks() -> Mapping[str, Callable[..., Check]]:
    """The checks in this folder by name, in reading order."""
    found = []
    for _, name, _ in pkgutil.iter_modules(checks.__path__):
        module = import_module(f"{checks.__name__}.{name}")
        check = getattr(module, name, None)
        if inspect.isfunction(check) and get_type_hints(check).get("return") is Check:
            found.append((getattr(module, "PLACE", math.inf), name, check))
    return MappingProxyType({name: check for _, name, check in sorted(found, key=lambda f: f[:2])})


def trust_card(
    explanation: Explanation,
    *,
    probes: int | Sequence[ProbeSet] = 64,
    mask: Tensor | Sequence[Box] | None = None,
    which: Sequence[str] | None = None,
) -> tuple[Check, ...]:
    """Run the checks that apply to an explanation, or those named in `which`; each with the seconds it took.

    `probes`: how many masked copies to run for faithfulness, or sets from `probe_set` that were run before.
    `mask`: a region that the map should point into.  A check that cannot be made is UNKNOWN and says why; it never
    costs the explanation.  Raises `BadOption` for a name that is not a check.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)
    >>> [check.name for check in trust_card(why)]
    ['faithfulness', 'stability', 'randomization', 'completeness']
    """
    unknown = [name for name in which or () if name not in known_checks()]
    if unknown:
        raise BadOption(f"There is no check {unknown[0]!r}.", f"Checks: {', '.join(known_checks())}.")
    given: dict[str, Any] = {"count": probes} if isinstance(probes, int) else {"probes": probes}
    if mask is not None:
        given["mask"] = mask
    names = [name for name in known_checks() if name in which] if which is not None else _applying(given)
    return tuple(_run(name, explanation, given) for name in names)


def _applying(given: Mapping[str, Any]) -> list[str]:
    """All checks but those of a mark that nobody made."""
    takes = {name: inspect.signature(check).parameters for name, check in known_checks().items()}
    return [name for name in takes if "mask" in given or "mask" not in takes[name]]


def _run(name: str, explanation: Explanation, given: Mapping[str, Any]) -> Check:
    check, since = known_checks()[name], time.perf_counter()
    takes = inspect.signature(check).parameters
    try:
        found = check(explanation, **{k: v for k, v in given.items() if k in takes})
    except PellucidError as trouble:
        found = Check(name, math.nan, Verdict.UNKNOWN, f"Not tested. {trouble.what}")
    return replace(found, seconds=time.perf_counter() - since)
