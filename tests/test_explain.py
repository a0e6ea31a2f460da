"""The front door from Python: explain and check, on a network whose truth is known."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import pellucid as pl
from pellucid.core.check import Verdict
from pellucid.surfaces.choose import CANDIDATES
from pellucid.surfaces.facts import facts
from pellucid.trials.probed import probe_set
from tests.corner import CORNER, SIDE, check_of, corner_mask, unopened
from tests.corner import corner as corner
from tests.networks import Chain

# explain


def test_without_a_method_the_candidate_that_is_most_faithful_is_kept(corner):
    why = pl.explain(*corner)
    note = next(note for note in why.notes if note.startswith("Chosen"))
    told = {name: float(r) for name, r in re.findall(r"(\w+) (-?[\d.]+|nan)(?=[,)])", note)}
    assert set(told) <= set(CANDIDATES["standard"])
    assert told[why.method] == max(r for r in told.values() if not math.isnan(r))
    assert f"of {len(told)} methods" in note
    assert check_of(why, "faithfulness").verdict is Verdict.HOLDS
    outside = why.values.abs().sum(1)[0][~corner_mask()]
    assert float(outside.max()) == 0.0  # the planted truth: nothing else is read


def test_the_kept_map_is_tested_on_masks_that_did_not_choose_it(corner, monkeypatch):
    chose: list[Tensor] = []
    tested: list[Tensor] = []

    def kept(where: list[Tensor]) -> Any:
        def probed(*arguments: Any, **options: Any) -> Any:
            found = probe_set(*arguments, **options)
            where.append(found[0].masks)
            return found

        return probed

    monkeypatch.setattr("pellucid.surfaces.choose.probe_set", kept(chose))
    monkeypatch.setattr(sys.modules["pellucid.checks.faithfulness"], "probe_set", kept(tested))
    why = pl.explain(*corner)
    (choosing,), (testing,) = chose, tested
    assert not {tuple(m) for m in choosing.flatten(1).tolist()} & {tuple(m) for m in testing.flatten(1).tolist()}
    assert why.seed == 0


def test_the_top_class_is_explained_unless_another_one_is_asked_for(corner):
    net, x = corner
    assert pl.explain(net, x, method="saliency").target == "logit of bright (0)"
    assert pl.explain(net, x, "dark", method="saliency").target == "logit of dark (1)"


def test_options_reach_the_method(corner):
    e = pl.explain(*corner, method="smooth_grad", options={"samples": 3, "kind": "mean"})
    assert (e.options["samples"], e.options["kind"]) == (3, "mean")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"options": {"samples": 3}}, "without a method"),
        ({"method": "gradcam"}, "no method 'gradcam'"),
        ({"method": "saliency", "options": {"steps": 3}}, "saliency has no option 'steps'"),
        ({"method": "smooth_grad", "options": {"samples": 0}}, "samples=0: expected a whole number from 1 to 4096"),
    ],
)
def test_unknown_methods_and_options_are_refused_before_anything_is_opened(given, words, monkeypatch):
    unopened(monkeypatch)
    with pytest.raises(pl.BadOption, match=re.escape(words)):
        pl.explain("efficientnet_lite0", torch.zeros(1, 3, 8, 8), **given)


def test_a_mask_gives_the_localization_check(corner):
    e = pl.explain(*corner, method="saliency", mask=corner_mask())
    found = check_of(e, "localization")
    assert found.verdict is Verdict.HOLDS
    assert found.value == pytest.approx(1.0)  # all evidence is in the corner
    assert dict(found.references)["chance"] == pytest.approx(CORNER**2 / SIDE**2)
    assert "localization" not in [c.name for c in pl.explain(*corner, method="saliency").checks]


@pytest.mark.parametrize("mask", [torch.ones(8, 8, dtype=torch.bool), torch.zeros(SIDE, SIDE, dtype=torch.bool)])
def test_a_mask_that_does_not_fit_is_refused_before_the_method_runs(mask, corner, monkeypatch):
    e = pl.methods.saliency(*corner)
    monkeypatch.setattr("pellucid.surfaces.explain._method", lambda _: SimpleNamespace(options=()))
    with pytest.raises(pl.BadInput):
        pl.explain(*corner, method="saliency", mask=mask)
    with pytest.raises(pl.BadInput):
        pl.check(e, mask=mask)


def test_a_mask_is_for_pictures():
    with pytest.raises(pl.BadInput, match="table"):
        pl.explain(Chain(9, 2), torch.ones(1, 9), method="saliency", mask=torch.ones(9, dtype=torch.bool))


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((SIDE, SIDE), 80).convert("RGB").save(path, exif=exif)


def glassy(path: Path) -> None:
    Image.new("RGBA", (SIDE, SIDE), (250, 10, 10, 100)).save(path)


@pytest.mark.parametrize(("draw", "name", "word"), [(turned, "a.jpg", "EXIF"), (glassy, "a.png", "transparent")])
@pytest.mark.parametrize("kind", [str, Path])
def test_what_was_done_to_a_picture_is_told(draw, name, word, kind, corner, tmp_path):
    draw(tmp_path / name)
    net, _ = corner
    file = kind(tmp_path / name)
    e = pl.explain(net, file, method="saliency")
    assert any(word.lower() in note.lower() for note in e.notes), e.notes
    assert torch.equal(e.x[net.inputs[0]], net.read(tmp_path / name))
    best = pl.compare(net, file, methods=["saliency"]).best
    assert any(word.lower() in note.lower() for note in best.notes)


def test_a_stop_before_anything_is_known_is_told_as_a_stop(corner):
    with pl.running(pl.Run(stop=lambda: True)):
        for call in (pl.explain, pl.compare):
            with pytest.raises(pl.Stopped):
                call(*corner)


def stop_after(passes: int) -> Any:
    asked = iter(range(10**9))
    return lambda: next(asked) >= passes


def test_a_stop_on_the_way_keeps_what_is_known(corner):
    with pl.running(pl.Run(stop=stop_after(4), max_batch=1)):
        e = pl.explain(*corner, method="smooth_grad", options={"samples": 50})
    assert re.fullmatch(r"after \d+ of 50 gradient passes", e.stopped)
    assert {check.verdict for check in e.checks if check.name != "completeness"} == {Verdict.UNKNOWN}
    assert facts(e)["stopped"] == e.stopped


def test_progress_is_told_with_the_time_left(corner):
    told: list[pl.Progress] = []
    with pl.running(pl.Run(progress=told.append, max_batch=4)):
        pl.methods.smooth_grad(*corner, samples=12)
    passes = [p for p in told if p.total == 12]
    assert [p.done for p in passes] == list(range(1, 13))
    assert passes[-1].seconds_left == 0
    for p in passes:
        assert p.seconds_left == pytest.approx(p.seconds * (12 - p.done) / p.done)


# check


def test_check_adds_the_card_and_changes_nothing_else(corner):
    e = pl.methods.saliency(*corner)
    checked = pl.check(e, probes=32)
    assert e.checks == ()
    assert replace(checked, checks=()) == e
    assert [c.name for c in checked.checks] == ["faithfulness", "stability", "randomization", "completeness"]
