"""Every measure of dreams, as an attribute: `pellucid.checks.dreams.robustness`.  A measure is a file of its name.

`card` runs them and says what they come to; each gives one `Check` a picture.
"""

from __future__ import annotations

import importlib
import pkgutil

from pellucid.checks.dreams.measured import DreamMeasure


def all_dream_checks() -> dict[str, DreamMeasure[...]]:
    """Every measure of dreams by name, found by looking at the folder."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    found = {name: getattr(importlib.import_module(f"{__name__}.{name}"), name, None) for name in names}
    return {name: check for name, check in found.items() if isinstance(check, DreamMeasure)}


# importing a file puts its module under the measure's name; the measure itself belongs there
globals().update(all_dream_checks())
__all__ = tuple(all_dream_checks())  # pyright: ignore[reportUnsupportedDunderAll] (they are found, not listed)


def __getattr__(name: str) -> DreamMeasure[...]:
    raise AttributeError(f"There is no check of dreams {name!r}. Checks: {', '.join(all_dream_checks())}.")
