"""Dreams: what each part of a network looks for.  `pellucid.dream.maximize`, `pellucid.dream.atlas` and their like."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "pellucid.dream.atlas": ("Atlas", "atlas"),
    "pellucid.dream.circuits": ("Expansion", "expanded_weights"),
    "pellucid.dream.dream": ("Dream",),
    "pellucid.dream.embedding": ("Embedding", "embedding"),
    "pellucid.dream.grid": ("ActivationGrid", "activation_grid"),
    "pellucid.dream.icons": ("illustrate",),
    "pellucid.dream.map_trust": ("MapTrust", "map_trust"),
    "pellucid.dream.maximize": ("maximize", "resume", "watch"),
    "pellucid.dream.origin": ("Origin",),
    "pellucid.dream.recipe": ("Recipe",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)

# importing a file puts its module under the function's name, whoever is first to do so; the function belongs there
globals().update({name: getattr(importlib.import_module(home), name) for name, home in _HOME_OF.items()})


def __getattr__(name: str) -> Any:
    raise AttributeError(f"pellucid.dream has no {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
