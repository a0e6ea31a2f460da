"""Concepts found in pictures of a class, as a report: how they look, what they are worth, how far to trust them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from pellucid.concepts.found import MATTERS, Concepts
from pellucid.concepts.pictures import cropped
from pellucid.core.check import Check, Verdict
from pellucid.views.number import number, percent, signed_number
from pellucid.views.over_pictures import origin_fold, over, photo, pixels, warnings_of
from pellucid.views.tiles import Tile, Tiles
from pellucid.views.view import (
    Bar,
    Bars,
    Card,
    Columns,
    Fold,
    Heading,
    Limits,
    Ruler,
    Stack,
    Table,
    Text,
    Tone,
    View,
)

CROPS, PICTURES, MAPS = 6, 8, 2  # crops a concept, pictures with their maps, concepts mapped on each
PAPER = "Fel et al. 2023, arXiv:2211.10154"
QUESTIONS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "fidelity": ("Do the concepts say what the network needs?", "They do", "They leave out too much"),
        "removal": ("Does the network use them more than chance?", "It does", "No more than chance"),
        "stability": ("Would they be found again?", "They would", "Not all"),
        "halves": ("Are they the class's, not some pictures'?", "The class's", "Some pictures'"),
        "reconstruction": ("How much of the activations are they?", "Measured", "Measured"),
    }
)
_TONES: Mapping[Verdict, Tone] = MappingProxyType(
    {Verdict.HOLDS: "good", Verdict.FAILS: "bad", Verdict.UNKNOWN: "unknown", Verdict.MEASURED: "unknown"}
)


def concepts_view(found: Concepts) -> View:
    """The whole report."""
    return Stack(
        (
            *_head(found),
            *warnings_of(found.origin),
            importance_bars(found),
            *(view for k in range(len(found)) for view in _concept(found, k)),
            *trust(found),
            Heading("Where they are"),
            Text(
                "What each concept adds to the score (red) or takes from it (blue), place by place, to first order: "
                "how much of it is there times the slope of the score. "
                f"The {MAPS} strongest concepts of each picture.",
                "quiet",
            ),
            *(_picture(found, i) for i in range(min(PICTURES, len(found.maps)))),
            Fold("How to read this", _how_to_read(found)),
            Fold("Numbers", _numbers(found)),
            origin_fold(found.origin, PAPER),
        )
    )


def concepts_figure(found: Concepts) -> View:
    """The part that fits on one picture: the concepts that matter, and the card."""
    shown = [k for k in range(len(found)) if float(found.importance[k, 0]) >= MATTERS][:6] or [0]
    return Stack(
        (*_head(found), importance_bars(found), *(v for k in shown for v in _concept(found, k)), *trust(found))
    )


def _head(found: Concepts) -> tuple[View, ...]:
    o = found.origin
    many = "its one concept" if len(found) == 1 else f"{len(found)} concepts"
    fidelity = found.checks[0] if found.checks else None
    kept = (
        "" if fidelity is None or math.isnan(fidelity.value) else f" They keep {percent(fidelity.value)} of the score."
    )
    failed = fidelity is not None and fidelity.verdict is Verdict.FAILS
    care = " That is too far from all of it: what follows is a part of the story." if failed else ""
    return (
        Heading(f"What {o.network} sees: {o.target}", 1),
        Text(
            f"Found in crops of {len(found.pictures)} pictures at {o.at}: {many}, the most important first."
            f"{kept}{care}",
            "lead",
        ),
    )


def importance_bars(found: Concepts) -> Bars:
    """The concepts' importance with its interval."""
    rows = [[float(v) for v in row] for row in found.importance]
    bars = tuple(Bar(f"Concept {k + 1}", value, low, high) for k, (value, low, high) in enumerate(rows))
    top = max([1.0, *(v for row in rows for v in row if math.isfinite(v))])
    return Bars(
        bars,
        "Importance: the share of the score's variance that a concept takes part in when all are dimmed at random "
        "(total Sobol index; its mean over the pictures with a 95 % interval). Shares add up to more than 100 % where "
        "concepts act together.",
        (0.0, top),
        percent=True,
    )


def _concept(found: Concepts, k: int) -> tuple[View, ...]:
    value, low, high = (float(v) for v in found.importance[k])
    between = f"95 % interval {percent(low)} to {percent(high)}. " if math.isfinite(low) else ""
    falls = float(found.removed[:, k].mean())
    chance = " (more than shuffled channels do)" if found.beats_chance()[k] else " (no more than shuffled channels do)"
    moves = f"Without it the score {'falls' if falls >= 0 else 'rises'} by {number(abs(falls))} on average{chance}."
    best = found.best_crops(k, CROPS)
    head = Heading(f"Concept {k + 1}: {percent(value)} of the variance", 2)
    if not best:
        return head, Text("No crop holds any of it.", "quiet")
    tiles = tuple(
        Tile(
            pixels(cropped(found.pictures, found.boxes[i].tolist())),
            line=found.names[int(found.boxes[i, 0])],
            alt=f"Crop of {found.names[int(found.boxes[i, 0])]}, number {n + 1} for concept {k + 1}",
        )
        for n, i in enumerate(best)
    )
    return head, Text(f"{between}{moves}"), Tiles(tiles)


def trust(found: Concepts) -> tuple[View, ...]:
    """The cards."""
    if not found.checks:
        return ()
    cards = tuple(card_of(check) for check in found.checks)
    note = "Each answer is measured on these pictures. None says that a concept is the thing that you see in its crops."
    return Heading("Can these concepts be trusted?"), Text(note, "quiet"), cards[0], Columns(cards[1:])


def card_of(check: Check) -> Card:
    """One check as a card, in words."""
    question, yes, no = QUESTIONS[check.name]
    word = {Verdict.HOLDS: yes, Verdict.FAILS: no, Verdict.UNKNOWN: "Can't tell"}.get(check.verdict, "Measured")
    return Card(question, word, _TONES[check.verdict], check.why, _ruler(check))


def _ruler(check: Check) -> Ruler | None:
    if not math.isfinite(check.value):
        return None
    known = [0.0, 1.0, check.value, *(v for v in (check.low, check.high) if math.isfinite(v))]
    return Ruler(check.value, (min(known), max(known)), check.low, check.high, check.references, None, "here")


def _picture(found: Concepts, i: int) -> View:
    """One picture with the maps of the concepts that move its score most, on one scale."""
    added = found.contributions[i]
    sums = added.sum((1, 2))
    order = sums.abs().argsort(descending=True, stable=True)[:MAPS].tolist()
    reach = float(added[order].abs().max())
    limits: Limits = (-reach, reach)
    whole, rebuilt = (float(v) for v in found.scores[i, :2])
    head = photo(found.pictures[i], found.names[i], f"Score {number(whole)}; from the concepts {number(rebuilt)}.")
    maps = tuple(
        over(
            found.pictures[i], added[k], signed=True, title=f"Concept {k + 1}: {signed_number(float(sums[k]))}",
            limits=limits,
        )
        for k in order
    )  # fmt: skip
    return Columns((head, *maps))


def _how_to_read(found: Concepts) -> View:
    return Stack(
        (
            Text(
                "A concept is a direction in the channels of one site: what the crops have in common there, found "
                "without a name. Look at its crops and name it yourself, with care: the crops are where the direction "
                "is strongest, and what you see in them need not be what the network sees."
            ),
            Text(
                "The first card is the one to look at before all others: if the picture, put together again from the "
                "concepts alone, does not have nearly its own score, the concepts are not what the network goes by."
            ),
            Text(
                "Taking away a concept is compared with taking away as much along the same numbers on shuffled "
                f"channels, {found.chance.shape[2]} times: a concept that beats all of them does so by chance once in "
                f"{found.chance.shape[2] + 1}."
            ),
        )
    )


def _numbers(found: Concepts) -> Table:
    by_chance = found.chance.mean(0).abs().amax(1)
    rows = tuple(
        (
            f"{k + 1}",
            *(float(v) if math.isfinite(float(v)) else None for v in found.importance[k]),
            float(found.removed[:, k].mean()),
            float(by_chance[k]),
            float(found.stability[k]),
            float(found.halves[k]),
        )
        for k in range(len(found))
    )
    columns = ("concept", "importance", "from", "to", "score without it falls by", "most by chance", "other starts",
               "half of the pictures")  # fmt: skip
    return Table(columns, rows, "Cosines say how alike a concept is to its partner in another factorization")
