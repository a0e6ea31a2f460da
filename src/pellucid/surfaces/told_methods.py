"""What the methods say of themselves, as it was written down from their code, which takes seconds to import.

`python tests/test_architecture.py --write` writes it down anew; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pellucid.core.option import Option, Range
from pellucid.doors.files import file_bytes
from pellucid.views.methods import Listed

FILE = Path(__file__).parent / "methods.json"


class Named(NamedTuple):
    """A promise by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Told:
    """A method as a list of methods shows it."""

    name: str
    title: str
    family: str
    summary: str
    paper: str
    cost: str
    promises: tuple[Named, ...]
    signed: bool
    slopes: bool
    options: tuple[Option, ...]


def told_methods() -> tuple[Told, ...]:
    """Every method, by name."""
    return tuple(
        Told(
            **{**said, "promises": tuple(map(Named, said["promises"])), "options": tuple(map(_option, said["options"]))}
        )
        for said in json.loads(file_bytes(FILE))
    )


def _option(said: dict[str, Any]) -> Option:
    kind = {"bool": bool, "int": int, "float": float, "str": str}.get(said["type"]) or type(said["type"], (), {})
    limits = Range(*said["range"]) if said["range"] else None
    choices = tuple(said["choices"])
    return Option(said["name"], kind, said["default"], said["doc"], limits, choices, said["optional"])


def written(methods: Iterable[Listed]) -> str:
    """What the methods say, as the text of the file."""
    plain = ("name", "title", "family", "summary", "paper", "cost", "signed", "slopes")
    found = [
        {**{k: getattr(m, k) for k in plain}, "promises": [p.name for p in m.promises],
         "options": [
             {"name": o.name, "type": o.type.__name__, "default": o.default, "doc": o.doc, "choices": o.choices,
              "range": [o.range.low, o.range.high] if o.range else None, "optional": o.optional}
             for o in m.options
         ]}
        for m in methods
    ]  # fmt: skip
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
