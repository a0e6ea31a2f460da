"""Several explanations of one prediction side by side, the most faithful first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pellucid.checks.ranking import Standing
from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.views.attribution import title
from pellucid.views.disagreement import disagreement_view
from pellucid.views.inputs import input_view, thumbnail
from pellucid.views.number import number, seconds
from pellucid.views.predictions import predictions
from pellucid.views.provenance import method_title
from pellucid.views.trust import summary_of
from pellucid.views.view import Cell, Columns, Fold, Heading, Heat, Stack, Table, Text, View

SIDE = 144
COLUMNS = ("method", "rank", "faithfulness", "95 % interval", "verdict", "passes", "time")


def comparison(
    explanations: Sequence[Explanation],
    skipped: Sequence[tuple[str, str]] = (),
    standings: Sequence[Standing] = (),
) -> View:
    """The methods ranked as given, each with its map, its faithfulness and its price; then those left out.

    `standings` are the ranks that each may have; without them every method has its own.  Each map is on its own
    scale, for the methods measure in different units: compare where, not how much.
    """
    if not explanations:
        return Stack((Heading("Which method should I believe?", 1), _skipped(skipped)))
    first = explanations[0]
    ranks = _ranks(standings) or tuple(map(str, range(1, len(explanations) + 1)))
    maps = tuple(_panel(e, rank) for e, rank in zip(explanations, ranks, strict=True))
    rows = tuple(_row(e, rank) for e, rank in zip(explanations, ranks, strict=True))
    table = Table(COLUMNS, rows, "Faithfulness, from −1 to 1, and price")
    return Stack(
        (
            Heading("Which method should I believe?", 1),
            Text(f"{title(first, predictions(first))}. {_verdict(first)}", "lead"),
            *(Text(note, "warning") for note in first.notes if all(note in e.notes for e in explanations)),
            *((Text(_ties(explanations, standings)),) if standings else ()),
            Text(
                "The most faithful map comes first. Each is drawn on its own scale, because the methods measure in "
                "different units: compare where they are strong, not how strong.",
                "quiet",
            ),
            Columns(maps),
            table,
            *disagreement_view(explanations),
            *((_skipped(skipped),) if skipped else ()),
        )
    )


def _verdict(best: Explanation) -> str:
    word, name = summary_of(best.checks), method_title(best)
    if word == "Supported":
        return f"On this input {name} is the most faithful of these methods, and its map is supported by the test."
    if word == "Not tested":
        return "None of the maps was tested."
    if word == "Can't tell":
        return "The test cannot tell these methods apart on this input."
    return f"{name} comes first, but its map is {word.lower()}: no map here is more than a hint."


def _ranks(standings: Sequence[Standing]) -> tuple[str, ...]:
    """The ranks that each method may have: "2" or "1–3"."""
    return tuple(str(s.first) if s.first == s.last else f"{s.first}–{s.last}" for s in standings)


def _ties(explanations: Sequence[Explanation], standings: Sequence[Standing]) -> str:
    """Which methods may be the best, in a sentence."""
    first = [method_title(e) for e, s in zip(explanations, standings, strict=True) if s.first == 1]
    if len(first) == 1:
        return f"{first[0]} is surely the most faithful: its lead over every other is more than chance."
    more = f" and {len(first) - 4} more" if len(first) > 4 else ""
    return f"The test cannot say which of {', '.join(first[:4])}{more} is the best: their ranks overlap."


def _faithfulness(explanation: Explanation) -> Check | None:
    return next((check for check in explanation.checks if check.name == "faithfulness"), None)


def _panel(explanation: Explanation, rank: str) -> View:
    check = _faithfulness(explanation)
    said = f"{summary_of(explanation.checks)}" + (f", r = {number(check.value, 2)}" if check is not None else "")
    picture = thumbnail(explanation, 0, SIDE) or input_view(explanation, next(iter(explanation.maps)), 0)
    return Stack((Heading(f"{rank}. {method_title(explanation)}", 2), Text(said), _untitled(picture)))


def _untitled(view: View) -> View:
    if not isinstance(view, Heat):
        return view
    return replace(view, title="", caption="")


def _row(explanation: Explanation, rank: str) -> tuple[Cell, ...]:
    check = _faithfulness(explanation)
    value = check.value if check is not None and math.isfinite(check.value) else None
    interval = f"[{number(check.low, 2)}, {number(check.high, 2)}]" if check is not None and value is not None else None
    cost = explanation.cost
    passes = f"{cost.forwards} forward, {cost.backwards} backward"
    return (
        method_title(explanation),
        rank,
        value,
        interval,
        summary_of(explanation.checks),
        passes,
        seconds(cost.seconds),
    )


def _skipped(skipped: Sequence[tuple[str, str]]) -> View:
    return Fold(f"Left out ({len(skipped)})", Table(("method", "why"), tuple(skipped)))
