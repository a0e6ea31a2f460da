"""Concepts that somebody named, as a report: does the network use them, and is that more than chance?"""

from __future__ import annotations

from pellucid.concepts.tested import Tcav, Tested
from pellucid.views.number import number, percent, signed_number
from pellucid.views.over_pictures import origin_fold, warnings_of
from pellucid.views.view import Bar, Bars, Card, Fold, Heading, Limits, Ruler, Stack, Table, Text, Tone, View

PAPER = "Kim et al. 2018, arXiv:1711.11279"


def tcav_view(found: Tcav) -> View:
    """The whole report."""
    return Stack(
        (
            *_head(found),
            *warnings_of(found.origin),
            *_cards(found),
            _scores(found),
            _table(found),
            Fold("How to read this", _how_to_read(found)),
            origin_fold(found.origin, PAPER),
        )
    )


def tcav_figure(found: Tcav) -> View:
    """The part that fits on one picture."""
    return Stack((*_head(found), *_cards(found)))


def _head(found: Tcav) -> tuple[View, ...]:
    o = found.origin
    sure = [t for t in found.tested if t.significant]
    names = ", ".join(f"{t.concept} (at {t.site})" for t in sure)
    said = f"More than chance: {names}." if sure else "None of the concepts is more than chance."
    return (
        Heading(f"Do these concepts matter to {o.network}: {o.target}?", 1),
        Text(
            f"{said} Tested on {found.samples} samples of the class, with sets of {found.size} samples, "
            f"{len(found.tested)} questions corrected for together (Holm).",
            "lead",
        ),
    )


def _cards(found: Tcav) -> tuple[Card, ...]:
    """All of them, on one scale."""
    by_score = found.origin.options.get("test") == "score"
    every = [v for t in found.tested for v in (*t.effects, *t.chance_effects)]
    limits = (0.0, 1.0) if by_score else (min(-0.1, *every), max(0.1, *every))
    return tuple(_card(t, limits, by_score=by_score) for t in found.tested)


def _card(t: Tested, limits: Limits, *, by_score: bool) -> Card:
    """One concept at one site; grey is where 95 % of random samples in its place fall."""
    value, chance = (t.score, t.chance_scores) if by_score else (t.effect, t.chance_effects)
    mine, ordered = t.scores if by_score else t.effects, sorted(chance)
    cut = round(0.025 * len(ordered))
    tone: Tone = ("good" if t.learnable else "weak") if t.significant else "unknown"
    word = ("Raises the score" if t.effect > 0 else "Lowers the score") if t.significant else "Not significant"
    ticks, band = (("nothing", 0.5 if by_score else 0.0),), (ordered[cut], ordered[-1 - cut])
    ruler = Ruler(value, limits, min(mine), max(mine), ticks, band, "this concept")
    return Card(f"{t.concept}, at {t.site}", word, tone, t.words, ruler)


def _scores(found: Tcav) -> Bars:
    bars = tuple(
        Bar(f"{t.concept}, {t.site}", t.score, min(t.scores), max(t.scores), t.significant) for t in found.tested
    )
    return Bars(
        bars,
        "TCAV score: the share of the class's samples whose score rises along the direction. Lines: the lowest and the "
        "highest of the runs.",
        percent=True,
    )


def _table(found: Tcav) -> Table:
    rows = tuple(
        (
            t.concept,
            t.site,
            percent(t.score),
            signed_number(t.effect, 2),
            f"{number(min(t.chance_effects), 2)} to {number(max(t.chance_effects), 2)}",
            t.p,
            percent(t.accuracy),
            percent(sum(t.chance_accuracies) / len(t.chance_accuracies)),
            "yes" if t.significant else "no",
        )
        for t in found.tested
    )
    columns = ("concept", "site", "TCAV score", "mean cosine", "of random sets", "p, corrected", "told apart",
               "random sets told apart", "significant")  # fmt: skip
    return Table(columns, rows)


def _how_to_read(found: Tcav) -> View:
    relative = bool(found.origin.options.get("relative"))
    others = "the other concepts' samples" if relative else "random samples"
    return Stack(
        (
            Text(
                f"For each concept a direction is found at the site that leads from {others} to the concept's. The "
                "TCAV score is the share of the class's samples whose score would rise if a little of that direction "
                "were added everywhere; the mean cosine says how much of the slope lies along it."
            ),
            Text(
                "Grey on the rulers: where random samples put in the concept's place fall. Near the end of a network "
                "even random directions have scores near 0 % or 100 %, so that a high score alone says nothing."
            ),
            Text(
                "The concept counts as one draw among the random ones. Its own runs share its samples, so that they "
                "must not be counted as independent."
            ),
            Text(
                "A concept that can hardly be told from random samples has no direction at the site; one that comes "
                "with something else in all of your samples cannot be told from that."
            ),
        )
    )
