"""Pellucid: see inside any neural network, and know how far to trust what you see.

    import pellucid as pl

    net = pl.open("efficientnet_lite0")
    cat = net.read("cat.jpg")
    why = pl.explain(net, cat)
    why.show()

Names are looked up when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "pellucid.architecture.compared.difference": ("map_difference",),
    "pellucid.architecture.map": ("map",),
    "pellucid.architecture.compared.similarity": ("cka",),
    "pellucid.architecture.weights": ("weights",),
    "pellucid.core.check": ("Check", "Verdict"),
    "pellucid.core.errors": ("BadInput", "BadModel", "BadOption", "BadTarget", "Missing", "PellucidError", "Stopped"),
    "pellucid.core.explanation": ("Explanation",),
    "pellucid.core.network": ("Network",),
    "pellucid.core.preparation": ("Preparation",),
    "pellucid.core.run": ("Progress", "Run", "running"),
    "pellucid.core.site": ("Site",),
    "pellucid.core.target": (
        "Target", "channel", "direction", "energy", "likeness", "log_odds", "logit", "neuron", "probability", "region",
        "scalar", "texture", "token",
    ),
    "pellucid.doors.pictures.folder": ("pictures",),
    "pellucid.doors.open": ("open",),
    "pellucid.surfaces.check_dream": ("check_dream",),
    "pellucid.surfaces.explain": ("check", "compare", "explain", "record"),
    "pellucid.surfaces.kept": ("load",),
}  # fmt: skip
_PACKAGES = ("checks", "concepts", "dream", "methods")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted([*_HOME_OF, *_PACKAGES])


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"pellucid.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"pellucid has no {name!r}; it has: {', '.join(__all__)}.")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
