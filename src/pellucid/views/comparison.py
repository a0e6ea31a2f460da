"""Several explanations of one prediction side by side, the most faithful first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.views.attribution import title
from pellucid.views.inputs import input_view, thumbnail
from pellucid.views.number import number, seconds
from pellucid.views.predictions import predictions
from pellucid.views.provenance import method_title
from pellucid.views.trust import summary_of
from pellucid.views.view import Cell, Columns, Fold, Heading, Heat, Stack, Table, Text, View

SIDE = 144
COLUMNS = ("method", "faithfulness", "95 % interval", "verdict", "passes", "time")


def comparison(explanations: Sequence[Explanation], skipped: Sequence[tuple[str, str]] = ()) -> View:
    """The methods ranked as given, each with its map, its faithfulness and its price; then those left out.

    Each map is on its own scale, for the methods measure in different units: compare where, not how much.
    """
    if not explanations:
        return Stack((Heading("Which method should I believe?", 1), _skipped(skipped)))
    first = explanations[0]
    maps = tuple(_panel(e, rank) for rank, e in enumerate(explanations, 1))
    table = Table(COLUMNS, tuple(map(_row, explanations)), "Faithfulness, from −1 to 1, and price")
    return Stack(
        (
            Heading("Which method should I believe?", 1),
            Text(f"{title(first, predictions(first))}. {_verdict(first)}", "lead"),
            Text(
                "The most faithful map comes first. Each is drawn on its own scale, because the methods measure in "
                "different units: compare where they are strong, not how strong.",
                "quiet",
            ),
            Columns(maps),
            table,
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


def _faithfulness(explanation: Explanation) -> Check | None:
    return next((check for check in explanation.checks if check.name == "faithfulness"), None)


def _panel(explanation: Explanation, rank: int) -> View:
    check = _faithfulness(explanation)
    said = f"{summary_of(explanation.checks)}" + (f", r = {number(check.value, 2)}" if check is not None else "")
    picture = thumbnail(explanation, 0, SIDE) or input_view(explanation, next(iter(explanation.maps)), 0)
    return Stack((Heading(f"{rank}. {method_title(explanation)}", 3), Text(said), _untitled(picture)))


def _untitled(view: View) -> View:
    if not isinstance(view, Heat):
        return view
    return replace(view, title="", caption="")


def _row(explanation: Explanation) -> tuple[Cell, ...]:
    check = _faithfulness(explanation)
    value = check.value if check is not None and math.isfinite(check.value) else None
    interval = f"[{number(check.low, 2)}, {number(check.high, 2)}]" if check is not None and value is not None else None
    cost = explanation.cost
    passes = f"{cost.forwards} forward, {cost.backwards} backward"
    return method_title(explanation), value, interval, summary_of(explanation.checks), passes, seconds(cost.seconds)


def _skipped(skipped: Sequence[tuple[str, str]]) -> View:
    return Fold(f"Left out ({len(skipped)})", Table(("method", "why"), tuple(skipped)))
