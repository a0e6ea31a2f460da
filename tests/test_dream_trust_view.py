"""The trust card of a dream in words: every check has a question and its answers, nothing untested is hidden."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.checks.dreams import all_dream_checks
from pellucid.checks.dreams.belief import REFUTES, WITNESSES
from pellucid.core.check import Check, Verdict
from pellucid.render.html import page
from pellucid.render.json import json
from pellucid.render.terminal import terminal
from pellucid.views.dream_trust import QUESTIONS, card_of_dream, dream_trust_view, dreams_trust_view, in_short_dream
from pellucid.views.view import Card, Columns, Fold, Stack

CHECKS = all_dream_checks()


def parts(view: Any, kind: type) -> list[Any]:
    found = [view] if isinstance(view, kind) else []
    for child in getattr(view, "views", ()) or ([view.child] if isinstance(view, Fold) else ()):
        found += parts(child, kind)
    return found


def test_the_card_is_ordered_and_every_measure_is_well_described() -> None:
    places = [check.place for check in CHECKS.values()]
    assert len(set(places)) == len(CHECKS) == 7 and all(places)
    assert set(QUESTIONS) == set(CHECKS) and {*REFUTES, *WITNESSES} <= set(CHECKS)
    for name, check in CHECKS.items():
        assert check.family == "dream" and check.paper and check.cost and check.summary and check.name == name
        assert pl.checks.dreams.all_dream_checks()[name] is check
    assert [name for name, check in CHECKS.items() if check.again] == ["seeds"]
    assert not set(CHECKS) & set(pl.checks.all_checks())


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_answers_its_question_in_four_ways(name: str) -> None:
    kinds = [(Verdict.HOLDS, 1.0), (Verdict.FAILS, 0.1), (Verdict.UNKNOWN, 0.5), (Verdict.UNKNOWN, math.nan)]
    cards = [card_of_dream(Check(name, value, verdict, "So it is.")) for verdict, value in kinds]
    assert [c.tone for c in cards] == ["good", "bad", "weak", "unknown"]
    assert len({c.verdict for c in cards}) == 4 and all(c.name.endswith("?") for c in cards)
    assert [c.ruler is None for c in cards] == [False, False, False, True]


def test_what_was_not_tested_is_listed_and_the_word_comes_first() -> None:
    checks = [
        Check("robustness", 0.1, Verdict.FAILS, "Gone."),
        Check("transfer", math.nan, Verdict.UNKNOWN, "No others."),
    ]
    view = dream_trust_view(checks)
    head, *cards = parts(view, Card)
    assert (head.verdict, head.tone) == ("Do not believe", "bad") and [c.sentence for c in cards] == ["Gone."]
    (fold,) = parts(view, Fold)
    assert fold.title == "Not tested (1)" and "No others." in terminal(Stack((fold.child,)))
    assert in_short_dream(checks) == "Do not believe: the effect is gone when the picture moves a little."
    assert in_short_dream([]) == "Not tested: nothing says yet how far to trust it."
    assert [c.verdict for c in parts(dream_trust_view([]), Card)] == ["Not tested"]


def test_a_real_card_is_drawn_by_every_renderer_and_what_users_wrote_is_escaped() -> None:
    net = pl.Network(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
        preparation=pl.Preparation(size=16),
        labels=("<b>ant</b>", "bee", "cat"),
    )
    dream = pl.check_dream(
        pl.dream.maximize(net, [pl.logit(0), pl.logit(1)], steps=2), natural=torch.rand(30, 3, 16, 16)
    )
    view = dreams_trust_view(dream.checks, dream.words)
    rows = [math.ceil(sum(math.isfinite(c.value) for c in one) / 3) for one in dream.checks]
    assert len(parts(view, Columns)) == sum(rows)  # three cards in a row
    assert "<b>ant" not in page(view, "Card") and "&lt;b&gt;ant" in page(view, "Card")
    assert "Can this dream be believed?" in terminal(view) and "Can this dream be believed?" in str(json(view))
