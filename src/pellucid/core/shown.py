"""Whatever can be looked at: a result that is shown, saved, and drawn by a notebook on its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Shown:
    """A result with `save`, `show` and a notebook's picture; how it looks is decided in `pellucid.views`."""

    __slots__ = ()

    def save(self, path: str | Path) -> Path:
        """Write it: `.pellucid` to load again, or `.html`, `.png`, `.svg`, `.json` to look at.

        Nothing half-written is ever left behind.  Raises `BadInput` for other endings and unwritable places.
        """
        written: Path = _front("save")(self, path)
        return written

    def show(self) -> None:
        """Show it: in the notebook, the browser, or the terminal."""
        _front("show")(self)

    def _repr_html_(self) -> str:
        html: str = _front("notebook")(self)
        return html


def _front(name: str) -> Callable[..., Any]:
    # The one place where the core reaches up: by name, and only when somebody wants to look at a result.
    function: Callable[..., Any] = getattr(importlib.import_module("pellucid.surfaces.show"), name)
    return function
