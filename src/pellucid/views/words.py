"""Dreamed words as a report."""

from __future__ import annotations

from pellucid.dream.words import Words
from pellucid.views.number import seconds
from pellucid.views.view import Heading, Stack, Table, Text, View


def words_view(found: Words) -> View:
    """Each target with its words, its real score, and the score of the text it began with."""
    rows = tuple(
        (word, " ".join(spelled), score, before)
        for word, spelled, score, before in zip(found.words, found.spelled, found.scores, found.before, strict=True)
    )
    cost = found.cost
    return Stack(
        (
            Heading(f"Which words {found.network} looks for", 1),
            Text(
                "Words were replaced one by one, each time by the one that raised the target most among those tried. "
                "Every score is of the text as it stands. It is a heap of exciting words, not a sentence.",
                "lead",
            ),
            *((Text(f"Stopped {found.stopped}: it is unfinished.", "warning"),) if found.stopped else ()),
            Table(("target", "words", "score", "score at first"), rows),
            Text(
                f"{cost.forwards} forward and {cost.backwards} backward passes, {seconds(cost.seconds)}, "
                f"seed {found.seed}.",
                "quiet",
            ),
        )
    )
