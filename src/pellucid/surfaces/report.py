"""Which report belongs to which kind of result."""

from __future__ import annotations

from functools import singledispatch

from pellucid.checks.card import trust_card
from pellucid.core.explanation import Explanation
from pellucid.core.shown import Shown
from pellucid.dream.dream import Dream
from pellucid.dream.words import Words
from pellucid.surfaces.explain import Comparison
from pellucid.views.attribution import attribution, figure
from pellucid.views.comparison import comparison
from pellucid.views.dream import dream_figure, dream_view
from pellucid.views.view import View
from pellucid.views.words import words_view


@singledispatch
def report(subject: Shown, still: bool) -> View:
    """The report on a result; `still` is the part of it that fits on one picture."""
    raise TypeError(f"There is no report on a {type(subject).__name__}.")


@report.register
def _(subject: Explanation, still: bool) -> View:
    tested = subject
    if not subject.checks and subject.score is not None:
        tested = subject.with_checks(trust_card(subject))
    return figure(tested) if still else attribution(tested)


@report.register
def _(subject: Comparison, still: bool) -> View:
    return comparison(subject.explanations, subject.skipped, subject.standings)


@report.register
def _(subject: Dream, still: bool) -> View:
    return dream_figure(subject) if still else dream_view(subject)


@report.register
def _(subject: Words, still: bool) -> View:
    return words_view(subject)
