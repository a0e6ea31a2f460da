"""Keras without what it imports for plots, tables and scikit-learn, and without torch's compiler: half of its time.

For a process of its own only, which no other code's use of Keras shares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

_F = TypeVar("_F")
_OPTIONAL = ("matplotlib", "pandas", "sklearn", "requests")
_COMPILER = "torch._dynamo"  # of which Keras wants nothing but to be left alone by it


@contextmanager
def sparing() -> Iterator[None]:
    """Run the block, an import of Keras, as if nothing of that were installed; what was imported before stays."""
    absent = [name for name in _OPTIONAL if name not in sys.modules]
    kept = ModuleType(_COMPILER)
    kept.__dict__["disable"] = _as_it_is
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: cannot be imported
    sys.modules.setdefault(_COMPILER, kept)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
        if sys.modules.get(_COMPILER) is kept:
            del sys.modules[_COMPILER]


def _as_it_is() -> Callable[[_F], _F]:
    return lambda function: function
