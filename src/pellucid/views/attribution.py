"""An explanation as a report, in reading order: sentence, pictures, answer, trust card, small print."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.tensors import batch_size
from pellucid.views.inputs import input_view, thumbnail
from pellucid.views.number import percent
from pellucid.views.pairs import pairs
from pellucid.views.predictions import Prediction, bars_of, class_name, explained_class, predictions
from pellucid.views.provenance import how_to_read, method_title, provenance, python_again
from pellucid.views.trust import in_short, trust_view
from pellucid.views.view import Bars, Columns, Fold, Heading, Stack, Table, Text, View

MOST_SAMPLES = 5


def attribution(explanation: Explanation, checks: Sequence[Check] | None = None, *, cells: bool = False) -> View:
    """The report on one explanation.  `checks`: its trust card, else the one it carries.

    The first sample is shown whole; of the others, up to four are folded.  `cells` draws a coarse map as its true
    cells at once.  Nothing is run but one forward pass for the network's answer.
    """
    checks = explanation.checks if checks is None else tuple(checks)
    answers = predictions(explanation)
    return Stack(
        (
            Heading(title(explanation, answers), 1),
            Text(f"{lead(explanation, answers)} {in_short(checks, _thing(explanation))}", "lead"),
            *(Text(note, "warning") for note in explanation.notes),
            *_stopped(explanation),
            *_maps(explanation, 0, cells),
            *_answer(explanation, answers, 0),
            trust_view(checks, explanation, thing=_thing(explanation)),
            *_other_samples(explanation, answers),
            *_folds(explanation),
        )
    )


def figure(explanation: Explanation, checks: Sequence[Check] | None = None, *, cells: bool = False) -> View:
    """The part that goes into a paper or on a slide: the sentence, the pictures, the answer, the trust card."""
    checks = explanation.checks if checks is None else tuple(checks)
    answers = predictions(explanation)
    return Stack(
        (
            Heading(title(explanation, answers), 1),
            Text(f"{lead(explanation, answers)} {in_short(checks, _thing(explanation))}"),
            *_stopped(explanation),
            *(_open_only(v) for v in _maps(explanation, 0, cells)),
            *_answer(explanation, answers, 0),
            trust_view(checks, folds=False, thing=_thing(explanation)),
            Text(_origin(explanation), "quiet"),
        )
    )


def title(explanation: Explanation, answers: tuple[Prediction, ...] | None) -> str:
    """What the network says of the first sample: "EfficientNet-Lite0 says: tiger cat (282), 38 %"."""
    if answers is None:
        return f"{explanation.network}: {explanation.target}"
    _, name, share = answers[0].top[0]
    return f"{explanation.network} says: {name}, {percent(share)}"


def lead(explanation: Explanation, answers: tuple[Prediction, ...] | None) -> str:
    """What the map shows, in plain words."""
    named = explained_class(explanation)
    top = answers[0].top[0][0] if answers is not None else None
    if named is not None and named == top:
        what = "that score"
    elif named is not None:
        what = f"the score of {class_name(explanation, named)}, which is not the network's first answer"
        what = what if answers is not None else f"the score of {class_name(explanation, named)}"
    else:
        what = f"this number: {explanation.target}"
    what += f", at the inner site {explanation.at}" if explanation.at else ""
    kind = f"found by {method_title(explanation)}"
    if explanation.by_size:
        slopes = "slopes, which say what a small change would do and not what a part contributed"
        return f"The map shows where larger values would raise (red) and lower (blue) {what}: {slopes}; {kind}."
    if explanation.slopes:
        return f"The map shows where a small change would move {what} the most; {kind}."
    if explanation.signed:
        return f"The map shows what raised (red) and what lowered (blue) {what}; {kind}."
    return f"The map shows what mattered to {what}; {kind}."


def _thing(explanation: Explanation) -> str:
    if any(v.ndim == 4 for v in explanation.x.values()):
        return "picture"
    return "text" if "tokens" in explanation.facts else "input"


def _stopped(explanation: Explanation) -> tuple[View, ...]:
    if not explanation.stopped:
        return ()
    return (Text(f"The computation was stopped {explanation.stopped}: the map is unfinished.", "warning"),)


def _maps(explanation: Explanation, sample: int, cells: bool) -> tuple[View, ...]:
    views: list[View] = []
    for name in explanation.maps:
        if len(explanation.maps) > 1:
            views.append(Heading(f"Input {name}", 2))
        views.append(input_view(explanation, name, sample, cells))
    return tuple(views)


def _answer(explanation: Explanation, answers: tuple[Prediction, ...] | None, sample: int) -> tuple[View, ...]:
    if answers is None:
        return ()
    bars: Bars = bars_of(answers[sample], explained_class(explanation, sample))
    return (Stack((bars, Text(f"Shares: {answers[sample].how}. The class explained is drawn in color.", "quiet"))),)


def _other_samples(explanation: Explanation, answers: tuple[Prediction, ...] | None) -> tuple[View, ...]:
    samples = batch_size(explanation.x)
    if samples == 1:
        return ()
    shown = range(1, min(samples, MOST_SAMPLES))
    views = tuple(_sample(explanation, answers, i) for i in shown)
    left_out = samples - 1 - len(shown)
    note = (Text(f"{left_out} samples more are in the explanation but not on this page.", "quiet"),) if left_out else ()
    return (Fold(f"The other samples ({samples - 1})", Stack((Columns(views), *note))),)


def _sample(explanation: Explanation, answers: tuple[Prediction, ...] | None, sample: int) -> View:
    name = f"Sample {sample + 1}"
    if answers is not None:
        _, top, share = answers[sample].top[0]
        name += f": {top}, {percent(share)}"
    picture = thumbnail(explanation, sample)
    return Stack((Heading(name, 3), *((picture,) if picture is not None else _maps(explanation, sample, cells=False))))


def _folds(explanation: Explanation) -> tuple[View, ...]:
    folds: list[View] = [Fold("How to read this", how_to_read(explanation))]
    together = pairs(explanation)
    folds += [together] if together is not None else []
    if explanation.without_rule:
        names = explanation.without_rule
        table = Table(("operation",), tuple((name,) for name in names))
        said = Text("These ran under the plain gradient, though the method wanted a rule of its own for them.")
        folds.append(Fold(f"Operations without a rule ({len(names)})", Stack((said, table))))
    folds.append(Fold("Where this comes from", provenance(explanation)))
    folds.append(Fold("Python that makes this again", Text(python_again(explanation), "code")))
    return tuple(folds)


def _open_only(view: View) -> View:
    """A figure has no folds: what is closed on the page stays on the page."""
    if isinstance(view, Stack):
        return Stack(tuple(_open_only(v) for v in view.views if not isinstance(v, Fold)))
    return view


def _origin(explanation: Explanation) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in explanation.versions.items())
    made = f"{method_title(explanation)} of {explanation.target}, seed {explanation.seed}"
    return f"{made}; network {explanation.fingerprint[:12]}; {versions}."
