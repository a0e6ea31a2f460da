"""A View as plain JSON data: exact numbers, no markup; for scripts and for keeping."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from pellucid.render.plain import visible
from pellucid.views.graph import Map
from pellucid.views.tiles import Tile
from pellucid.views.view import Sheet, View


def json(view: View) -> dict[str, Any]:
    """The view as dictionaries, lists, text, numbers and None; each part says its `type`.

    Numbers are not rounded; what is not finite becomes None, which every JSON reader understands.  Text is made
    visible (see `pellucid.render.plain`), so that printing it is safe.  A scatter's small pictures and those of tiles
    are left out: they would be most of the file, and are kept with the result.

    >>> from pellucid.views.view import Bar, Bars
    >>> json(Bars((Bar("cat", 0.1),)))["bars"][0]["value"], json(Bars((Bar("cat", 0.1),)))["bars"][0]["low"]
    (0.1, None)
    """
    out: dict[str, Any] = _plain(view)
    return out


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: _plain(getattr(value, f.name)) for f in fields(value) if not _left_out(value, f.name)}
        return {"type": type(value).__name__.lower(), **named}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return visible(value, lines=True) if isinstance(value, str) else value


def _left_out(owner: object, name: str) -> bool:
    if isinstance(owner, Map):  # it has a text of its own: architecture/text.py
        return name in ("graph", "measure", "pictures")
    return isinstance(owner, Sheet | Tile) and name in ("pixels", "below")
