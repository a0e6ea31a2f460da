"""Patches in one file, with what was cut out, so that they open without the data."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from pellucid.core.archive import Archive, packed, undamaged
from pellucid.core.explanation import Cost
from pellucid.core.tensors import Tensors
from pellucid.dream.evolution import Evolution
from pellucid.dream.excited.cutting import Patch
from pellucid.dream.excited.tallies import Histogram, Statistics
from pellucid.dream.patches import Patches

KIND, EVOLUTION = "patches", "evolution"
_PLAIN = ("site", "channels", "how", "crop", "seen", "total", "skipped", "stopped", "network", "fingerprint", "colors",
          "axis", "without_rule")  # fmt: skip
_TALLIES = {"values": Statistics, "peaks": Statistics, "means": Statistics, "histogram": Histogram}
_CUT = ("crop", "pattern", "guided")


def to_bytes(found: Patches) -> bytes:
    """The file's content; a part that many channels looked at is kept once."""
    return packed(KIND, *_parts(found))


def evolution_to_bytes(found: Evolution) -> bytes:
    """The file's content: each checkpoint's patches."""
    parts = [_parts(column) for column in found.columns]
    tensors = {f"{i} {name}": v for i, (_, held) in enumerate(parts) for name, v in held.items()}
    return packed(EVOLUTION, {"labels": found.labels, "columns": [facts for facts, _ in parts]}, tensors)


def _parts(found: Patches) -> tuple[dict[str, Any], Tensors]:
    tensors: Tensors = {"zeros": found.zeros}
    for name, kind in _TALLIES.items():
        tensors |= {f"{name} {f.name}": getattr(getattr(found, name), f.name) for f in fields(kind)}
    cuts: dict[int, str] = {}
    facts: dict[str, Any] = {k: getattr(found, k) for k in _PLAIN}
    for side in ("top", "bottom"):
        facts[side] = [[_row(p, cuts, tensors) for p in ranks] for ranks in getattr(found, side)]
    return {**facts, "cost": asdict(found.cost)}, tensors


def _row(p: Patch, cuts: dict[int, str], tensors: Tensors) -> dict[str, Any]:
    row = {f.name: getattr(p, f.name) for f in fields(p) if f.name not in _CUT}
    for name in _CUT:
        held: Tensor | None = getattr(p, name)
        if held is not None and id(held) not in cuts:
            cuts[id(held)] = f"cut {len(cuts)}"
            tensors[cuts[id(held)]] = held
        row[name] = None if held is None else cuts[id(held)]
    return row


def patches_of(archive: Archive, path: str | Path) -> Patches:
    """The patches that an archive holds; raises `BadInput` when it is damaged."""
    with undamaged(path):
        facts, held = archive.facts, archive.tensors
        plain: dict[str, Any] = {name: kind(**archive.under(f"{name} ")) for name, kind in _TALLIES.items()}
        plain |= {k: tuple(facts[k]) if isinstance(facts[k], list) else facts[k] for k in _PLAIN}
        top, bottom = (tuple(tuple(_patch(p, held) for p in r) for r in facts[side]) for side in ("top", "bottom"))
        return Patches(**plain, top=top, bottom=bottom, zeros=held["zeros"], cost=Cost(**facts["cost"]))


def _patch(row: dict[str, Any], held: Tensors) -> Patch:
    plain = {**row, "position": tuple(row["position"])}
    for name in ("field", "part", "mark"):
        plain[name] = None if row[name] is None else tuple((int(a), int(b)) for a, b in row[name])
    return Patch(**{**plain, **{name: None if row[name] is None else held[row[name]] for name in _CUT}})


def evolution_of(archive: Archive, path: str | Path) -> Evolution:
    """The evolution that an archive holds; raises `BadInput` when it is damaged."""
    with undamaged(path):
        columns = [
            patches_of(Archive(KIND, facts, archive.under(f"{i} ")), path)
            for i, facts in enumerate(archive.facts["columns"])
        ]
        return Evolution(tuple(archive.facts["labels"]), tuple(columns))
