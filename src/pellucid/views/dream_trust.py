"""The trust card of one dreamed picture in plain words: what it comes to, then each check's question and answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pellucid.checks.dreams.belief import Word, belief
from pellucid.core.check import Check, Verdict
from pellucid.views.trust import spent
from pellucid.views.view import Card, Columns, Fold, Heading, Ruler, Stack, Text, Tone, View

QUESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "activation": "Does it excite the target more than real pictures?",
        "robustness": "Does the effect stay when the picture is moved a little?",
        "transfer": "Do other networks see the same in it?",
        "path_agreement": "Does it take the same way through the network as real pictures?",
        "spectrum": "Is its texture that of a photograph?",
        "seeds": "Does another random start show the same?",
        "forced_choice": "Does it tell which real pictures excite the unit?",
    }
)
_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "activation": ("More", "No more"),
        "robustness": ("It stays", "It is gone"),
        "transfer": ("They do", "They do not"),
        "path_agreement": ("The same way", "Another way"),
        "spectrum": ("Like a photograph's", "Like noise"),
        "seeds": ("The same", "Something else"),
        "forced_choice": ("It tells", "It misleads"),
    }
)
_TICKS: Mapping[str, str] = MappingProxyType(
    {
        "natural mean": "average",
        "best natural": "best real one",
        "best natural pictures": "best real ones",
        "ordinary pictures": "ordinary",
        "middle photograph": "photo",
        "95 % of photographs": "most photos",
        "white noise": "noise",
        "dreams of other targets": "others",
        "pictures without content": "no content",
        "nearest of them": "nearest",
    }
)
_ROW = 3  # cards side by side: more are too narrow for their sentences
TONES: Mapping[Word, Tone] = MappingProxyType(
    {"Believable": "good", "Partly": "weak", "Do not believe": "bad", "Not tested": "unknown"}
)


def dream_trust_view(checks: Sequence[Check]) -> View:
    """What the checks of one picture come to, a card for each that was made, and those that were not behind a title."""
    found = belief(checks)
    head = Card("Can this dream be believed?", found.word, TONES[found.word], found.why)
    made = [c for c in checks if math.isfinite(c.value)]
    others = tuple(f"{QUESTIONS.get(c.name, c.name)} {c.why}" for c in checks if not math.isfinite(c.value))
    note = "Each answer is measured on this very picture. None says that it is all the target responds to." + spent(
        checks
    )
    parts: list[View] = [head, Text(note, "quiet")]
    parts += [Columns(tuple(map(card_of_dream, made[i : i + _ROW]))) for i in range(0, len(made), _ROW)]
    if others:
        parts.append(Fold(f"Not tested ({len(others)})", Stack(tuple(Text(text) for text in others))))
    return Stack(tuple(parts))


def dreams_trust_view(checks: Sequence[Sequence[Check]], words: Sequence[str]) -> View:
    """The cards of all pictures of a dream, each under the words of its target."""
    parts = [part for one, said in zip(checks, words, strict=True) for part in (Heading(said), dream_trust_view(one))]
    return Stack(tuple(parts))


def in_short_dream(checks: Sequence[Check]) -> str:
    """One sentence for under a picture: the word, and why."""
    found = belief(checks)
    return f"{found.word}: {found.why[0].lower()}{found.why[1:]}"


def card_of_dream(check: Check) -> Card:
    """One check as a card."""
    word, tone = _word(check)
    return Card(QUESTIONS.get(check.name, check.name), word, tone, check.why, _ruler(check))


def _word(check: Check) -> tuple[str, Tone]:
    yes, no = _WORDS.get(check.name, ("Holds", "Fails"))
    if check.verdict is Verdict.HOLDS:
        return yes, "good"
    if check.verdict is Verdict.FAILS:
        return no, "bad"
    return ("In part", "weak") if math.isfinite(check.value) else ("Not tested", "unknown")


def _ruler(check: Check) -> Ruler | None:
    if not math.isfinite(check.value):
        return None
    ticks = tuple((_TICKS.get(name, name), value) for name, value in check.references if math.isfinite(value))
    known = [v for v in (0.0, 1.0, check.value, check.low, check.high, *(v for _, v in ticks)) if math.isfinite(v)]
    return Ruler(check.value, (min(known), max(known)), check.low, check.high, ticks, None, "this dream")
