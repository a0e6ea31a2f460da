"""A result as plain facts for scripts: what was found and how far it holds, without a single pixel."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from functools import singledispatch
from typing import Any

from torch import Tensor

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.compared.difference import Difference
from pellucid.architecture.weights import Weights
from pellucid.concepts.tested import Tested
from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.origin import Origin
from pellucid.core.shown import Shown
from pellucid.dream.atlas import Atlas
from pellucid.dream.circuits import Expansion
from pellucid.dream.dream import Dream
from pellucid.dream.embedding import Embedding
from pellucid.dream.evolution import Evolution
from pellucid.dream.excited.cutting import Patch
from pellucid.dream.filters import Filters
from pellucid.dream.grid import ActivationGrid
from pellucid.dream.maps.map_trust import MapTrust
from pellucid.dream.patches import Patches
from pellucid.surfaces.explain import Comparison
from pellucid.surfaces.kept import CONCEPTS
from pellucid.surfaces.map_facts import map_facts
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


facts.register(Architecture, map_facts)


@facts.register
def _(subject: Difference) -> dict[str, Any]:
    return {"a": subject.a.graph.name, "b": subject.b.graph.name, **asdict(subject.parts),
            "folded": asdict(subject.folded), "layers": list(map(asdict, subject.layers)),
            "weights": list(map(asdict, subject.weights)), "sites_a": subject.sites_a, "sites_b": subject.sites_b,
            "similarity": [[_known(v) for v in row] for row in subject.similarity.tolist()],
            "samples": subject.samples, "apart": [[*sites, by] for sites, by in subject.apart.items()],
            "otherwise": subject.otherwise, "notes": subject.notes}  # fmt: skip


@facts.register
def _(subject: Weights) -> dict[str, Any]:
    tensors = [
        {**asdict(t), **{k: _known(getattr(t, k)) for k in ("norm", "mean", "spread", "low", "high", "zeros")},
         "largest_singular": t.largest_singular, "stable_rank": t.stable_rank}
        for t in subject.tensors
    ]  # fmt: skip
    return {"network": subject.network, "notes": list(subject.notes), "metadata": dict(subject.metadata),
            "skipped": list(subject.skipped), "tensors": tensors}  # fmt: skip


@facts.register
def _(subject: Embedding) -> dict[str, Any]:
    near = [[{"name": name, "distance": d} for name, d in subject.neighbors(i)] for i in range(len(subject.names))]
    samples = [
        {"name": name, "place": place, "nearest": n}
        for name, place, n in zip(subject.names, subject.places.tolist(), near, strict=True)
    ]
    return {"how": subject.how, "metric": subject.metric, "trust": _trust(subject.trust), "samples": samples,
            **_origin(subject.origin)}  # fmt: skip


@facts.register
def _(subject: Atlas) -> dict[str, Any]:
    classes = [
        [{"class": c, "name": subject.labels[c] if c < len(subject.labels) else None, "raised": _known(by)}
         for c, by in zip(tops, raised, strict=True)]
        for tops, raised in zip(subject.tops.tolist(), subject.raised.tolist(), strict=True)
    ]  # fmt: skip
    cells = [
        {"row": row, "column": column, "vectors": n, "alike": _known(alike), "classes": c,
         "nearest": [subject.names[i] for i in sources]}
        for (row, column), n, alike, c, sources in zip(
            subject.cells.tolist(), subject.counts.tolist(), subject.alike.tolist(), classes,
            subject.sources.tolist(), strict=True,
        )
    ]  # fmt: skip
    return {"how": subject.how, "grid": subject.grid, "trust": _trust(subject.trust), "cells": cells,
            **_origin(subject.origin)}  # fmt: skip


@facts.register
def _(subject: ActivationGrid) -> dict[str, Any]:
    return {
        "sizes": subject.sizes.tolist(),
        "channels": subject.channels.tolist(),
        "values": subject.values.tolist(),
        "nearest": [subject.names[i] for i in subject.sources.tolist()],
        **_origin(subject.origin),
    }


@facts.register
def _(subject: Expansion) -> dict[str, Any]:
    strongest = {c: subject.strongest(c) for c in subject.channels}
    return {
        "source": subject.source,
        "target": subject.target,
        "through": subject.through,
        "channels": [
            {"channel": c, "raised_by": [list(p) for p in up], "lowered_by": [list(p) for p in down]}
            for c, (up, down) in strongest.items()
        ],
        "cut": subject.cut,
        "without_rule": list(subject.without_rule),
        **_origin(subject.origin),
    }


def _trust(trust: MapTrust) -> dict[str, Any]:
    known = {k: _known(v) if isinstance(v, float) else v for k, v in asdict(trust).items()}
    return {**known, "word": trust.word}


def _origin(origin: Origin) -> dict[str, Any]:
    return {"origin": origin.as_facts()}


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


def _of_concepts(subject: Shown) -> dict[str, Any]:
    """Everything but what is too long to be read: maps, pictures, crops."""
    short = {f.name: _plain(getattr(subject, f.name)) for f in fields(subject) if f.repr}  # type: ignore[arg-type]
    origin = short.pop("origin")
    return {**short, **origin}


for _kind in CONCEPTS.values():
    facts.register(_kind, _of_concepts)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, Origin):
        return value.as_facts()
    if isinstance(value, Check):
        return _check(value)
    if isinstance(value, Tested):
        return {**{f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.repr}, "words": value.words}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return _known(value) if isinstance(value, float) else value


@facts.register
def _(subject: Patches) -> dict[str, Any]:
    plain = ("site", "how", "seen", "total", "skipped", "network", "fingerprint", "without_rule")
    return {
        **{name: getattr(subject, name) for name in plain},
        "stopped": subject.stopped or None,
        "dead": subject.dead,
        "channels": [
            {
                "channel": c,
                "mean": float(subject.mean[i]),
                "spread": float(subject.spread[i]),
                "largest": float(subject.maxima[i]),
                "zeros": float(subject.zeros[i]),
                "top": [_patch(p) for p in subject.top[i]],
                "bottom": [_patch(p) for p in subject.bottom[i]],
            }
            for i, c in enumerate(subject.channels)
        ],
        "cost": asdict(subject.cost),
    }


@facts.register
def _(subject: Evolution) -> dict[str, Any]:
    return {"checkpoints": [{"label": n, **facts(c)} for n, c in zip(subject.labels, subject.columns, strict=True)]}


@facts.register
def _(subject: Filters) -> dict[str, Any]:
    plain = ("site", "colors", "dead", "duplicates", "network", "fingerprint")
    return {**{name: getattr(subject, name) for name in plain}, "norms": subject.norms.tolist()}


def _patch(p: Patch) -> dict[str, Any]:
    return {"value": p.value, "sample": p.sample, "name": p.name, "position": p.position, "field": p.field}


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
    names = {**dict(enumerate(e.labels)), -1: e.net.negative if e.net is not None else ""}
    tops = answers[0].top
    return [{"class": i if i >= 0 else None, "name": names.get(i) or None, "share": _known(p)} for i, _, p in tops]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
