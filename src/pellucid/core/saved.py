"""An explanation in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from pellucid.core.archive import Archive, packed, undamaged, unpacked
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Cost, Explanation
from pellucid.core.spelled import spelled, tensors_in, unspelled

KIND = "explanation"


def to_bytes(e: Explanation) -> bytes:
    """The file's content."""
    masks = {f"mask {i}": a for i, a in enumerate(tensors_in(e.of))}
    tensors = {f"map {k}": v for k, v in e.maps.items()} | {f"x {k}": v for k, v in e.x.items()} | masks
    tensors |= {f"inner {k}": v for k, v in e.inner.items()}
    tensors |= {f"option {k}": v for k, v in e.options.items() if isinstance(v, Tensor)}
    facts = {
        "method": e.method,
        "options": {k: None if isinstance(v, Tensor) else v for k, v in e.options.items()},
        "terms": spelled(e.of),
        "target": e.target,
        "seed": e.seed,
        "network": e.network,
        "source": e.source,
        "labels": list(e.labels),
        "versions": dict(e.versions),
        "cost": asdict(e.cost),
        "signed": e.signed,
        "slopes": e.slopes,
        "resolution": e.resolution,
        "gap": e.gap,
        "without_rule": e.without_rule,
        "stopped": e.stopped,
        "facts": dict(e.facts),
        "notes": e.notes,
        "checks": [checked(c) for c in e.checks],
        "fingerprint": e.fingerprint,
    }
    return packed(KIND, facts, tensors)


def load(path: str | Path, methods: Mapping[str, Callable[..., Explanation]]) -> Explanation:
    """An explanation that `save` wrote.  Raises `BadInput` when the file is not one, or is newer than this version."""
    archive = unpacked(path)
    if archive.kind != KIND:
        raise BadInput(f"{Path(path).name} holds a {archive.kind}, not an explanation.", "Open it with pellucid.load.")
    return explanation_of(archive, path, methods)


def explanation_of(
    archive: Archive, path: str | Path, methods: Mapping[str, Callable[..., Explanation]]
) -> Explanation:
    """The explanation that an archive holds."""
    with undamaged(path):
        return _from_facts(archive, methods)


def checked(check: Check) -> dict[str, Any]:
    """A check as plain values."""
    return {**asdict(check), "verdict": check.verdict.name}


def check_of(facts: dict[str, Any]) -> Check:
    """A check as it was; files of earlier versions lack some of its parts."""
    references, curves = (facts.get(k, ()) for k in ("references", "curves"))
    return Check(
        **{
            **facts,
            "verdict": Verdict[facts["verdict"]],
            "references": tuple((name, _number(v)) for name, v in references),
            "each": tuple(map(_number, facts.get("each", ()))),
            "curves": tuple((name, tuple(map(_number, values))) for name, values in curves),
        }
    )


def _number(v: float | None) -> float:
    return float("nan") if v is None else v


def _from_facts(archive: Archive, methods: Mapping[str, Callable[..., Explanation]]) -> Explanation:
    facts, masks = archive.facts, archive.under("mask ")
    return Explanation(
        maps=archive.under("map "),
        x=archive.under("x "),
        inner=archive.under("inner "),
        method=facts["method"],
        options={**facts["options"], **archive.under("option ")},
        of=unspelled(facts["terms"], iter([masks[str(i)] for i in range(len(masks))])),
        target=facts["target"],
        seed=facts["seed"],
        network=facts["network"],
        source=facts["source"],
        labels=tuple(facts["labels"]),
        versions=facts["versions"],
        cost=Cost(**facts["cost"]),
        signed=facts["signed"],
        slopes=facts.get("slopes", False),  # files of earlier versions, whose checks took the sign, do not say
        resolution=tuple(facts["resolution"]) if facts["resolution"] else None,
        gap=tuple(facts["gap"]) if facts["gap"] is not None else None,
        without_rule=tuple(facts["without_rule"]),
        stopped=facts["stopped"],
        facts=facts["facts"],
        notes=tuple(facts["notes"]),
        checks=tuple(map(check_of, facts["checks"])),
        again=methods.get(facts["method"]),
        saved_fingerprint=facts["fingerprint"],
    )
