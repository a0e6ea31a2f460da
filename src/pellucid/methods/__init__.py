"""Every attribution method, as an attribute: `pellucid.methods.saliency`.  A method is a file of the same name."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from pellucid.core.method import Method


def all_methods() -> dict[str, Method[Any]]:
    """Every method by name, found by looking at the folder."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return {name: getattr(importlib.import_module(f"{__name__}.{name}"), name) for name in names}


# importing a file puts its module under the method's name; the method itself belongs there
globals().update(all_methods())
__all__ = tuple(all_methods())  # pyright: ignore[reportUnsupportedDunderAll] (they are found, not listed)


def __getattr__(name: str) -> Method[Any]:
    raise AttributeError(f"There is no method {name!r}. Methods: {', '.join(all_methods())}.")
