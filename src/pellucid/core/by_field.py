"""Results that are dataclasses, in a file each: tensors as they are, all else as plain facts, field by field."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from pellucid.core.archive import Archive, packed, undamaged
from pellucid.core.check import Check
from pellucid.core.origin import Origin
from pellucid.core.saved import check_of, checked

Result = TypeVar("Result")


def to_bytes(kind: str, found: Any) -> bytes:
    """The file's content.  Fields may be tensors, origins, checks, dataclasses, tuples of these, and plain values."""
    tensors: dict[str, Tensor] = {}
    facts = {f.name: _plain(getattr(found, f.name), f.name, tensors) for f in fields(found)}
    return packed(kind, facts, tensors)


def of_archive(cls: type[Result], archive: Archive, path: str | Path) -> Result:
    """What `to_bytes` wrote, as the fields' type hints say; raises `BadInput` when the file is damaged."""
    with undamaged(path):
        made: Result = _made(cls, archive.facts, "", archive.tensors)
        return made


def _plain(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    match value:
        case Tensor():
            tensors[path] = value
            return None
        case Origin():
            return value.as_facts()
        case Check():
            return checked(value)
        case list() | tuple():
            return [_plain(v, f"{path}.{i}", tensors) for i, v in enumerate(value)]
        case Mapping():
            return {str(k): _plain(v, f"{path}.{k}", tensors) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), f"{path}.{f.name}", tensors) for f in fields(value)}
    return value


def _made(cls: Any, facts: Mapping[str, Any], path: str, tensors: Mapping[str, Tensor]) -> Any:
    hints = get_type_hints(cls)
    return cls(**{f.name: _value(hints[f.name], facts[f.name], f"{path}{f.name}", tensors) for f in fields(cls)})


def _value(hint: Any, facts: Any, path: str, tensors: Mapping[str, Tensor]) -> Any:
    if path in tensors:
        return tensors[path]
    if hint is Origin:
        return Origin.of(facts)
    if hint is Check:
        return check_of(facts)
    if is_dataclass(hint) and isinstance(facts, Mapping):
        return _made(hint, facts, f"{path}.", tensors)
    kind, given = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        known = [h for h in given if is_dataclass(h)]
        return _value(known[0] if known and facts is not None else Any, facts, path, tensors)
    if isinstance(facts, list):
        return tuple(_value(h, v, f"{path}.{i}", tensors) for i, (h, v) in enumerate(_paired(kind, given, facts)))
    if isinstance(facts, dict):
        inner = given[1] if len(given) == 2 else Any
        return {k: _value(inner, v, f"{path}.{k}", tensors) for k, v in facts.items()}
    return facts


def _paired(kind: Any, given: tuple[Any, ...], facts: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Each item with its hint."""
    if kind is tuple and given and given[-1] is not Ellipsis:
        return zip(given, facts, strict=True)
    return ((given[0] if given else Any, v) for v in facts)
