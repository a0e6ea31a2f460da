"""Maps, atlases, grids and circuits in one file each: tensors as they are, all else as plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from pellucid.core.archive import Archive, packed, undamaged
from pellucid.core.errors import BadInput
from pellucid.core.origin import Origin
from pellucid.dream.atlas import Atlas
from pellucid.dream.circuits import Expansion
from pellucid.dream.embedding import Embedding
from pellucid.dream.grid import ActivationGrid
from pellucid.dream.maps.map_trust import MapTrust

OverSamples: TypeAlias = Embedding | Atlas | ActivationGrid | Expansion
KINDS: Mapping[str, type[OverSamples]] = {
    "embedding": Embedding, "atlas": Atlas, "activation grid": ActivationGrid, "expanded weights": Expansion,
}  # fmt: skip


def to_bytes(found: OverSamples) -> bytes:
    """The file's content."""
    kind = next(name for name, made in KINDS.items() if isinstance(found, made))
    values = {f.name: getattr(found, f.name) for f in fields(found)}
    tensors = {k: v for k, v in values.items() if isinstance(v, Tensor)}
    facts = {k: _plain(v) for k, v in values.items() if k not in tensors}
    return packed(kind, facts, tensors)


def result_of(archive: Archive, path: str | Path) -> OverSamples:
    """The result that an archive holds; raises `BadInput` when it is of another kind or damaged."""
    if archive.kind not in KINDS:
        raise BadInput(f"{Path(path).name} holds a {archive.kind}, not one of {', '.join(KINDS)}.", "Save it again.")
    made = KINDS[archive.kind]
    with undamaged(path):
        given = {f.name: _value(archive, f.name) for f in fields(made)}
        return made(**given)


def _value(archive: Archive, name: str) -> Any:
    if name in archive.tensors:
        return archive.tensors[name]
    if name == "origin":
        return Origin.of(archive.facts[name])
    value = _frozen(archive.facts[name])
    return MapTrust(**value) if name == "trust" else value


def _plain(value: Any) -> Any:
    if isinstance(value, Origin):
        return value.as_facts()
    return asdict(value) if isinstance(value, MapTrust) else value


def _frozen(value: Any) -> Any:
    """Lists as the tuples that they were."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return {k: _frozen(v) for k, v in value.items()} if isinstance(value, dict) else value
