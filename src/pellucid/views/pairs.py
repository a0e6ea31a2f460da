"""Which parts of an input act together: the strongest pairs of an explanation that found interactions."""

from __future__ import annotations

from pellucid.core.explanation import Explanation
from pellucid.views.view import Cell, Fold, Table

MOST_PAIRS = 20


def pairs(explanation: Explanation, sample: int = 0) -> Fold | None:
    """The pairs of parts with the largest interactions, as a folded table; None where none were sought.

    What two parts do together counts whole here: both halves of the matrix.
    """
    tables = explanation.facts.get("interactions")
    if not tables or not tables[sample]:
        return None
    table = tables[sample]
    found = [(a, b, table[a][b] + table[b][a]) for a in range(len(table)) for b in range(a)]
    strongest = sorted(found, key=lambda pair: -abs(pair[2]))[:MOST_PAIRS]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (_named(explanation, sample, b), _named(explanation, sample, a), together) for a, b, together in strongest
    )
    said = "Positive: together they raise the score more than each does alone."
    left_out = f" The strongest {MOST_PAIRS} of {len(found)} pairs." if len(found) > MOST_PAIRS else ""
    return Fold("Which parts act together", Table(("part", "part", "together"), rows, said + left_out))


def _named(explanation: Explanation, sample: int, part: int) -> str:
    """A part by its place in the grid, its column's name or its word, as far as these are known."""
    if explanation.resolution is not None and part < explanation.resolution[0] * explanation.resolution[1]:
        row, column = divmod(part, explanation.resolution[1])
        return f"row {row + 1}, column {column + 1}"
    columns = explanation.facts.get("columns", ())
    if part < len(columns):
        return str(columns[part])
    words = explanation.facts.get("tokens", ())
    words = words[sample] if words and not isinstance(words[0], str) else words
    return str(words[part]) if part < len(words) else f"part {part}"
