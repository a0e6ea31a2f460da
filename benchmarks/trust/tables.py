"""Tables in Markdown, and numbers as they stand in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.trust.verdicts import wilson


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A table, and an empty line."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    yield from ("| " + " | ".join(str(c) for c in row) + " |" for row in rows)
    yield ""


def share(words: Counter[str], word: str = "Supported") -> str:
    """A share with Wilson's interval."""
    of = sum(words.values())
    low, high = wilson(words[word], of)
    return f"{words[word] / of:.1%} [{low:.1%}, {high:.1%}]"


def num(v: object) -> str:
    """Two digits, or nothing."""
    return f"{v:.2f}" if isinstance(v, int | float) and v == v else ""
