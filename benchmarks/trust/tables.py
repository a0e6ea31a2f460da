"""Tables in Markdown, and numbers as they stand in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.trust.verdicts import wilson

ENOUGH = 8  # pictures from which on a bootstrap interval is worth printing


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A table, and an empty line."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    yield from ("| " + " | ".join(str(c) for c in row) + " |" for row in rows)
    yield ""


def ranked(methods: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The methods by mean r, the best first; after them those of too few pictures, which may have been easy ones."""
    return sorted(methods.items(), key=lambda kv: (kv[1]["pictures"] < ENOUGH, -kv[1]["r"][0]))


def share(words: Counter[str], word: str = "Supported") -> str:
    """A share with Wilson's interval."""
    of = sum(words.values())
    low, high = wilson(words[word], of)
    return f"{words[word] / of:.1%} [{low:.1%}, {high:.1%}]"


def num(v: object) -> str:
    """Two digits, or nothing."""
    return f"{v:.2f}" if isinstance(v, int | float) and v == v else ""
