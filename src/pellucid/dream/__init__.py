"""Dreams: what each part of a network looks for.  `pellucid.dream.maximize` and its like."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "pellucid.dream.dream": ("Dream",),
    "pellucid.dream.maximize": ("maximize", "resume", "watch"),
    "pellucid.dream.recipe": ("Recipe",),
    "pellucid.surfaces.dream_card": ("card",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"pellucid.dream has no {name!r}; it has: {', '.join(__all__)}.")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value  # importing a file puts its module under the function's name; the function belongs there
    return value


def __dir__() -> list[str]:
    return __all__
