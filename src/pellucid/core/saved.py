"""An explanation in one file: tensors as safetensors, everything else as JSON in its header.  Never a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput, BadModel, PellucidError
from pellucid.core.explanation import Cost, Explanation
from pellucid.core.site import Site
from pellucid.core.target import Target, Term
from pellucid.core.tensors import Tensors

FORMAT = 1  # raise it whenever an older version could not read the file
SUFFIX = ".pellucid"


def to_bytes(e: Explanation) -> bytes:
    """The file's content."""
    masks = {f"mask {i}": a for i, a in enumerate(_masks(e.of))}
    tensors = {f"map {k}": v for k, v in e.maps.items()} | {f"x {k}": v for k, v in e.x.items()} | masks
    tensors |= {f"inner {k}": v for k, v in e.inner.items()}
    tensors |= {f"option {k}": v for k, v in e.options.items() if isinstance(v, Tensor)}
    facts = {
        "format": FORMAT,
        "method": e.method,
        "options": {k: None if isinstance(v, Tensor) else v for k, v in e.options.items()},
        "terms": [[t.weight, t.kind, [_plain(a) for a in t.args]] for t in e.of.terms],
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
        "checks": [{**asdict(c), "verdict": c.verdict.name} for c in e.checks],
        "fingerprint": e.fingerprint,
    }
    stored = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}  # no two may share memory
    return to_safetensors(stored, metadata={"pellucid": json.dumps(facts, default=str)})


def _masks(target: Target) -> list[Tensor]:
    return [a for t in target.terms for a in t.args if isinstance(a, Tensor)]


def _plain(argument: Any) -> Any:
    if isinstance(argument, Site):
        return {"site": str(argument)}
    if isinstance(argument, Tensor):
        return {"mask": True}
    if callable(argument):
        return {"function": getattr(argument, "__name__", "function")}
    return list(argument) if isinstance(argument, tuple) else argument


def load(path: str | Path, methods: Mapping[str, Callable[..., Explanation]]) -> Explanation:
    """An explanation that `save` wrote.  Raises `BadInput` when the file is not one, or is newer than this version."""
    try:
        with safe_open(str(path), framework="pt") as file:
            raw = (file.metadata() or {}).get("pellucid")
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a mapping)
        facts = json.loads(raw or "null")
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{Path(path).name} could not be read: {error}.", f"Expected a {SUFFIX} file.") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else "none"
        raise BadInput(
            f"{Path(path).name} is not an explanation of format {FORMAT} (found: {found}).", "Update Pellucid."
        )
    try:
        return _from_facts(facts, tensors, methods)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, PellucidError):
            raise
        raise BadInput(f"{Path(path).name} is damaged: {type(error).__name__} {error}.", "Save it again.") from error


def _check(facts: dict[str, Any]) -> Check:
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


def _from_facts(
    facts: dict[str, Any], tensors: Tensors, methods: Mapping[str, Callable[..., Explanation]]
) -> Explanation:
    masks = iter([tensors[f"mask {i}"] for i in range(sum(k.startswith("mask ") for k in tensors))])
    checks = tuple(map(_check, facts["checks"]))
    return Explanation(
        maps=_named("map ", tensors),
        x=_named("x ", tensors),
        inner=_named("inner ", tensors),
        method=facts["method"],
        options={**facts["options"], **_named("option ", tensors)},
        of=Target(tuple(Term(w, kind, tuple(_restored(a, masks) for a in args)) for w, kind, args in facts["terms"])),
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
        checks=checks,
        again=methods.get(facts["method"]),
        saved_fingerprint=facts["fingerprint"],
    )


def _named(prefix: str, tensors: Tensors) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _restored(argument: Any, masks: Iterator[Tensor]) -> Any:
    if isinstance(argument, dict) and "site" in argument:
        return Site.parse(argument["site"])
    if isinstance(argument, dict) and "mask" in argument:
        found = next(masks, None)
        if found is None:
            raise ValueError("a mask is missing")
        return found
    if isinstance(argument, dict):
        return _lost(argument["function"])
    return tuple(argument) if isinstance(argument, list) else argument


def _lost(name: str) -> Callable[[Any], Tensor]:
    def function(_output: Any) -> Tensor:
        raise BadModel(
            f"The target was the Python function {name!r}, which a file cannot hold.", "Explain again with it."
        )

    function.__name__ = name
    return function
