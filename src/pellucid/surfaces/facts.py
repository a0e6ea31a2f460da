"""A result as plain facts for scripts: what was found and how far it holds, without a single pixel."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.views.predictions import predictions

if TYPE_CHECKING:
    from pellucid.surfaces.show import Subject


def facts(subject: Subject) -> dict[str, Any]:
    """Dictionaries, lists, text, numbers and None; a number that does not exist is None.

    Of a comparison: the facts of each explanation, the most faithful first, and what was left out.  `predictions` are
    the first sample's five likeliest classes, with shares in 0..1.  The maps themselves are in `.json` and `.pellucid`.

    >>> import torch, pellucid as pl
    >>> facts(pl.methods.saliency(torch.nn.Linear(2, 3), torch.ones(1, 2), 1))["target"]
    'logit of class 1'
    """
    first = subject if isinstance(subject, Explanation) else subject.best
    shared = {
        "network": first.network,
        "fingerprint": first.fingerprint,
        "target": first.target,
        "predictions": _predictions(first),
        "seed": first.seed,
        "versions": dict(first.versions),
    }
    if isinstance(subject, Explanation):
        return {**_of_one(subject), **shared}
    return {
        "best": first.method,
        "explanations": [_of_one(e) for e in subject.explanations],
        "ranks": [[s.first, s.last] for s in subject.standings],
        "skipped": [{"method": name, "why": why} for name, why in subject.skipped],
        **shared,
    }


def _of_one(e: Explanation) -> dict[str, Any]:
    return {
        "method": e.method,
        "at": e.at or None,
        "options": dict(e.options),
        "checks": [_check(c) for c in e.checks],
        "notes": list(e.notes),
        "stopped": e.stopped or None,
        "gap": None if e.gap is None else [_known(v) for v in e.gap],
        "without_rule": list(e.without_rule),
        "cost": asdict(e.cost),
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "verdict": check.verdict.name.lower(),
        "value": _known(check.value),
        "low": _known(check.low),
        "high": _known(check.high),
        "references": {name: _known(v) for name, v in check.references},
        "each": [_known(v) for v in check.each],
        "passes": check.passes,
        "why": check.why,
    }


def _predictions(e: Explanation) -> list[dict[str, Any]]:
    answers = predictions(e)
    if answers is None:
        return []
    return [
        {"class": i, "name": e.labels[i] if i < len(e.labels) else None, "share": _known(share)}
        for i, _, share in answers[0].top
    ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
