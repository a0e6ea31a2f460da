"""A result as plain facts for scripts: what was found and how far it holds, without a single pixel."""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import singledispatch
from typing import Any

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.shown import Shown
from pellucid.dream.dream import Dream
from pellucid.surfaces.explain import Comparison
from pellucid.views.predictions import predictions


@singledispatch
def facts(subject: Shown) -> dict[str, Any]:
    """Dictionaries, lists, text, numbers and None; a number that does not exist is None.

    Of a comparison: the facts of each explanation, the most faithful first, and what was left out.  `predictions` are
    the first sample's five likeliest classes, with shares in 0..1.  The maps themselves are in `.json` and `.pellucid`.

    >>> import torch, pellucid as pl
    >>> facts(pl.methods.saliency(torch.nn.Linear(2, 3), torch.ones(1, 2), 1))["target"]
    'logit of class 1'
    """
    raise TypeError(f"Nothing is told of a {type(subject).__name__}.")


@facts.register
def _(subject: Explanation) -> dict[str, Any]:
    return {**_of_one(subject), **_shared(subject)}


@facts.register
def _(subject: Comparison) -> dict[str, Any]:
    return {
        "best": subject.best.method,
        "explanations": [_of_one(e) for e in subject.explanations],
        "ranks": [[s.first, s.last] for s in subject.standings],
        "skipped": [{"method": name, "why": why} for name, why in subject.skipped],
        **_shared(subject.best),
    }


@facts.register
def _(subject: Dream) -> dict[str, Any]:
    return {
        "what": subject.what,
        "dreams": [
            {"target": word, "score": _known(score), "checks": [_check(c) for c in checks]}
            for word, score, checks in zip(
                subject.words, subject.scores, subject.checks or [()] * len(subject.words), strict=True
            )
        ],
        "recipe": asdict(subject.recipe),
        "steps": subject.state.step,
        "stopped": subject.stopped or None,
        "notes": list(subject.notes),
        "cost": asdict(subject.cost),
        "network": subject.network,
        "fingerprint": subject.fingerprint,
        "seed": subject.seed,
        "versions": dict(subject.versions),
    }


def _shared(e: Explanation) -> dict[str, Any]:
    return {
        "network": e.network,
        "fingerprint": e.fingerprint,
        "target": e.target,
        "predictions": _predictions(e),
        "seed": e.seed,
        "versions": dict(e.versions),
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
