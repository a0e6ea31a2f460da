"""The trust card in plain words: for each check the question, the verdict, one sentence and its ruler.

The words never promise truth: a map that is "Supported" describes what the network did, not whether that is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pellucid.checks.completeness import ALLOWED
from pellucid.checks.randomization import SAME
from pellucid.checks.stability import ENOUGH
from pellucid.core.check import Check, Verdict
from pellucid.core.explanation import Explanation
from pellucid.views.number import count, seconds
from pellucid.views.probes import ran_fold, title_of
from pellucid.views.view import Card, Columns, Heading, Ruler, Stack, Text, Tone, View

QUESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "faithfulness": "Does the map show what the network used?",
        "stability": "Does the map stay the same under a little noise?",
        "randomization": "Does the map depend on what was learned?",
        "completeness": "Do the values add up to the answer?",
        "localization": "Does the map point into the marked region?",
    }
)
_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "stability": ("Stable", "Not stable"),
        "randomization": ("No alarm", "Red flag"),
        "completeness": ("Adds up", "Does not add up"),
        "localization": ("More than chance", "No more than chance"),
    }
)
_FAITHFUL: Mapping[str, Tone] = MappingProxyType(
    {"Supported": "good", "Weak": "weak", "Not supported": "bad", "Can't tell": "unknown"}
)
_TONES: Mapping[Verdict, Tone] = MappingProxyType(
    {Verdict.HOLDS: "good", Verdict.FAILS: "bad", Verdict.UNKNOWN: "unknown"}
)
# The ceiling is the most that is known to be reachable: by a fitted map, a guess, or this map.
_TICKS: Mapping[str, str] = MappingProxyType({"ceiling": "best known"})
# Where a check's references are other measures, its own alarm level is the tick: one ruler has one unit.
_YARDSTICKS: Mapping[str, tuple[tuple[str, float], ...]] = MappingProxyType(
    {
        "randomization": (("alarm at", SAME),),
        "completeness": (("allowed", ALLOWED),),
        "stability": (("enough", ENOUGH),),
    }
)
# The references of these checks that are in the value's own unit.
_SAME_UNIT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "localization": ("chance",),
        "pixel_flipping": ("random",),
        "complexity": (),
        "local_lipschitz": (),
        "relative_stability": (),
    }
)
_LABELS: Mapping[str, str] = MappingProxyType(
    {"completeness": "missed", "localization": "inside", "randomization": "alike", "stability": "alike"}
)


def verdict_of(check: Check) -> tuple[str, Tone, str]:
    """The verdict word, its tone, and the sentence without the word.

    A sentence that starts with one of the four words of the faithfulness test ("Weak. ...") keeps that word.
    """
    word, dot, rest = check.why.partition(". ")
    if dot and word in _FAITHFUL:
        return word, _FAITHFUL[word], rest
    if check.verdict is Verdict.MEASURED:
        return "Measured", "unknown", check.why
    if check.verdict is Verdict.UNKNOWN:
        unpromised = check.name == "completeness" and math.isnan(check.value)
        return ("Does not apply" if unpromised else "Can't tell"), "unknown", check.why
    holds = check.verdict is Verdict.HOLDS
    if check.name == "faithfulness":
        return ("Supported" if holds else "Not supported"), _TONES[check.verdict], check.why
    yes, no = _WORDS.get(check.name, ("Holds", "Fails"))
    return (yes if holds else no), _TONES[check.verdict], check.why


def card_of(check: Check) -> Card:
    """One check as a card."""
    word, tone, sentence = verdict_of(check)
    return Card(QUESTIONS.get(check.name) or title_of(check), word, tone, sentence, ruler_of(check))


def ruler_of(check: Check) -> Ruler | None:
    """The check's value among its references; None where no value exists."""
    if not math.isfinite(check.value):
        return None
    named = _YARDSTICKS.get(check.name, check.references)
    if check.name in _SAME_UNIT:
        named = tuple((name, value) for name, value in named if name in _SAME_UNIT[check.name])
    ticks = tuple((_TICKS.get(name, name), value) for name, value in named if math.isfinite(value))
    band = dict(ticks).get("random")
    known = [0.0, 1.0, check.value, check.low, check.high, *(value for _, value in ticks)]
    finite = [v for v in known if math.isfinite(v)]
    measured = check.verdict is Verdict.MEASURED  # in a unit of its own, which may go below that of a correlation
    low, high = min(finite) if measured else max(min(finite), -1.0), max(finite)
    null = None if band is None or check.name != "faithfulness" else (low, max(band, low))
    return Ruler(check.value, (low, high), check.low, check.high, ticks, null, _LABELS.get(check.name, "this map"))


def trust_view(
    checks: Sequence[Check], explanation: Explanation | None = None, *, folds: bool = True, thing: str = "picture"
) -> View:
    """All cards with a heading; faithfulness, which comes first, takes the whole width.

    Below them, folded, what the checks ran; with the explanation that they are about, the copies themselves.  `thing`
    is what was explained, in a word.
    """
    heading = Heading("Can this map be trusted?")
    if not checks:
        return Stack(
            (
                heading,
                Text("It was not tested. A map that looks plausible may still be wrong.", "warning"),
            )
        )
    note = f"Each answer is measured on this very {thing}. None says whether the network itself is right."
    first, rest = checks[0], checks[1:]
    band = " Grey on the ruler: where 95 % of random maps of the same smoothness fall."
    grey = band if first.name == "faithfulness" else ""
    others: tuple[View, ...] = (Columns(tuple(map(card_of, rest))),) if rest else ()
    head = (heading, Text(note + grey + spent(checks), "quiet"), card_of(first))
    if not folds:
        return Stack((*head, *others))
    return Stack((*head, *_ran(checks[:1], explanation), *others, *_ran(rest, explanation)))


def _ran(checks: Sequence[Check], explanation: Explanation | None) -> tuple[View, ...]:
    found = (ran_fold(check, explanation) for check in checks)
    return tuple(fold for fold in found if fold is not None)


def spent(checks: Sequence[Check]) -> str:
    """What the tests took, in time and in passes."""
    time, passes = sum(check.seconds for check in checks), sum(check.passes for check in checks)
    parts = ([seconds(time)] if time else []) + ([count(passes, "pass")] if passes else [])
    return f" The tests took {' and '.join(parts)}." if parts else ""


_IN_SHORT: Mapping[str, str] = MappingProxyType(
    {
        "Supported": "Tested on this {thing}: the map is supported.",
        "Weak": "Tested on this {thing}: the map is better than chance, but a simple guess may do as well.",
        "Not supported": "Tested on this {thing}: the map is not supported; do not rely on it.",
        "Can't tell": "Tested on this {thing}: the test can't tell whether the map is right about the network.",
        "Not tested": "Not tested: nothing says yet how far to trust it.",
    }
)


def in_short(checks: Sequence[Check], thing: str = "picture") -> str:
    """One sentence for the top of the page: what the test below came to; `thing` is what was explained."""
    return _IN_SHORT[summary_of(checks)].format(thing=thing)


def summary_of(checks: Sequence[Check]) -> str:
    """The verdict of the faithfulness check in one word, or "Not tested"."""
    faithful = next((check for check in checks if check.name == "faithfulness"), None)
    return verdict_of(faithful)[0] if faithful is not None else "Not tested"
