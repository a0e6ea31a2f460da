"""Results about concepts in one file each: tensors as they are, everything else as plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from torch import Tensor

from pellucid.concepts.between import Between
from pellucid.concepts.found import Concepts
from pellucid.concepts.groups import Groups
from pellucid.concepts.references import References
from pellucid.concepts.relevance import Relevance
from pellucid.concepts.tested import Tcav, Tested
from pellucid.core.archive import Archive, packed
from pellucid.core.origin import Origin
from pellucid.core.saved import check_of, checked
from pellucid.core.shown import Shown

KINDS: Mapping[str, type[Shown]] = {
    "concepts": Concepts,
    "tested concepts": Tcav,
    "relevance of channels": Relevance,
    "reference samples": References,
    "groups of channels": Groups,
    "one site made of another": Between,
}


def to_bytes(found: Shown) -> bytes:
    """The file's content."""
    kind = next(name for name, cls in KINDS.items() if type(found) is cls)
    facts: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for f in fields(found):  # type: ignore[arg-type]  # all of KINDS are dataclasses
        value = getattr(found, f.name)
        if isinstance(value, Tensor):
            tensors[f.name] = value
        elif isinstance(value, Origin):
            facts[f.name] = value.as_facts()
        elif f.name == "checks":
            facts[f.name] = [checked(c) for c in value]
        elif f.name == "tested":
            facts[f.name] = [{**asdict(t), "vector": None} for t in value]
            tensors |= {f"vector {i}": t.vector for i, t in enumerate(value)}
        else:
            facts[f.name] = value
    return packed(kind, facts, tensors)


def found_of(archive: Archive) -> Shown:
    """What an archive of one of these kinds holds."""
    cls, vectors = KINDS[archive.kind], archive.under("vector ")
    held: dict[str, Any] = {}
    for f in fields(cls):  # type: ignore[arg-type]  # all of KINDS are dataclasses
        if f.name in archive.tensors:
            held[f.name] = archive.tensors[f.name]
        elif f.name == "origin":
            held[f.name] = Origin.of(archive.facts[f.name])
        elif f.name == "checks":
            held[f.name] = tuple(check_of(c) for c in archive.facts[f.name])
        elif f.name == "tested":
            rows = archive.facts[f.name]
            held[f.name] = tuple(Tested(**{**_fixed(t), "vector": vectors[str(i)]}) for i, t in enumerate(rows))
        else:
            held[f.name] = _tuples(archive.facts[f.name])
    return cls(**held)


def _fixed(facts: dict[str, Any]) -> dict[str, Any]:
    return {k: _tuples(v) for k, v in facts.items()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
