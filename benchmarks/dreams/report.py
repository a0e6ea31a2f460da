"""The section of RESULTS.md on dreams, and the curve of quality, made of the figures that were kept."""

from __future__ import annotations

from typing import Any


def write(known: dict[str, Any], machine: str) -> None:
    """The section, RESULTS.md with it, and the picture of the docs."""
