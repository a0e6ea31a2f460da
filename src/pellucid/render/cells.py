"""What stands in a table's cell and before a verdict, as text."""

from __future__ import annotations

from pellucid.render.plain import visible
from pellucid.views.number import number
from pellucid.views.view import Cell, Tone

SYMBOLS: dict[Tone, str] = {"good": "●", "weak": "◐", "bad": "○", "unknown": "?"}


def cell_text(cell: Cell) -> str:
    """A table cell as people read it.

    >>> cell_text(None), cell_text(0.25), cell_text("cat")
    ('–', '0.25', 'cat')
    """
    if cell is None:
        return "–"
    return visible(cell) if isinstance(cell, str) else number(float(cell), 4)
