"""Every measure of explanations, as an attribute: `pellucid.checks.faithfulness`.  A measure is a file of its name.

`card` runs those that a newcomer needs; the others are called by name.
"""

from __future__ import annotations

import importlib
import pkgutil

from pellucid.core.measure import Measure


def all_checks() -> dict[str, Measure[...]]:
    """Every measure by name, found by looking at the folder."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    found = {name: getattr(importlib.import_module(f"{__name__}.{name}"), name, None) for name in names}
    return {name: check for name, check in found.items() if isinstance(check, Measure)}


# importing a file puts its module under the measure's name; the measure itself belongs there
globals().update(all_checks())
__all__ = tuple(all_checks())  # pyright: ignore[reportUnsupportedDunderAll] (they are found, not listed)


def __getattr__(name: str) -> Measure[...]:
    raise AttributeError(f"There is no check {name!r}. Checks: {', '.join(all_checks())}.")
