"""The front door from Python: explain, compare, check, record, load and show on networks whose truth is known."""

from __future__ import annotations

import inspect
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.check import Verdict
from pellucid.surfaces.choose import CANDIDATES
from pellucid.surfaces.explain import Comparison
from pellucid.surfaces.facts import facts
from pellucid.surfaces.show import notebook
from pellucid.trials.probed import probe_set
from tests.networks import Chain, Net, picture

SIDE, CORNER = 16, 6
METHODS = pl.methods.all_methods()


class Corner(nn.Module):
    """Two classes, told apart by how bright the top left corner is; nothing else is ever read, and no map is kept."""

    def forward(self, x: Tensor) -> Tensor:
        inside = corner_mask().flatten().to(x.dtype)
        light = (x.flatten(2) @ inside).mean(1) / CORNER**2
        return torch.stack([4 * light, -4 * light], 1)


def corner_mask() -> Tensor:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[:CORNER, :CORNER] = True
    return mask


@pytest.fixture
def corner() -> tuple[pl.Network, Tensor]:
    """The network, and a picture that is bright in the corner and has other bright spots that are never read."""
    x = torch.rand(1, 3, SIDE, SIDE) * 0.3
    x[:, :, :CORNER, :CORNER] += 0.7
    x[:, :, 10:13, 10:13] = 1.0
    return pl.open(Corner(), labels=("bright", "dark"), preparation=pl.Preparation(SIDE), name="Corner"), x


def check_of(e: pl.Explanation, name: str) -> pl.Check:
    return next(check for check in e.checks if check.name == name)


def unopened(monkeypatch) -> None:
    monkeypatch.setattr("pellucid.surfaces.explain.open_network", lambda _: pytest.fail("it was opened"))


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
        ({"method": "smooth_grad", "options": {"samples": 0}}, "samples=0: expected int from 1 to 4096"),
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


# compare


def test_methods_are_ranked_by_their_faithfulness_and_the_blind_one_is_last(corner):
    class Blind(Corner):
        def forward(self, x: Tensor) -> Tensor:
            dead = x[:, :, CORNER:, CORNER:].mean((1, 2, 3))  # a steep slope that never reaches the answer
            return super().forward(x) + (dead - dead.detach())[:, None] * 50

    asked = {"saliency": {}, "occlusion": {"window": 4, "stride": 2}}
    found = pl.compare(pl.open(Blind(), name="Blind"), corner[1], methods=asked)
    assert [e.method for e in found.explanations] == ["occlusion", "saliency"]
    assert found.best.method == "occlusion"
    first, last = (check_of(e, "faithfulness").value for e in found.explanations)
    assert first > last
    assert found.best.options["stride"] == 2


def test_all_methods_take_part_and_what_does_not_apply_says_why(corner):
    found = pl.compare(*corner, probes=32)
    names = [e.method for e in found.explanations]
    assert {*names, *(name for name, _ in found.skipped)} == set(METHODS)
    assert {"grad_cam", "layer_cam"} <= {name for name, _ in found.skipped}  # this network has no feature map
    assert all(why.endswith(".") for _, why in found.skipped)
    values = [check_of(e, "faithfulness").value for e in found.explanations]
    known = [v for v in values if not math.isnan(v)]
    assert known == sorted(known, reverse=True) and values[: len(known)] == known


def test_a_method_that_cannot_speak_of_the_target_is_skipped_with_the_reason():
    difference = pl.logit(0) - pl.logit(1)
    found = pl.compare(Net(), picture(0, 1), difference, methods=["saliency", "finer_cam"], probes=32)
    ((name, why),) = found.skipped
    assert name == "finer_cam" and "logit(0) - logit(1) is not a class's logit" in why


def test_all_methods_are_held_to_the_same_probes(corner):
    found = pl.compare(*corner, methods=["saliency", "input_x_gradient"], probes=32)
    ceilings = {dict(check_of(e, "faithfulness").references)["edges"] for e in found.explanations}
    assert len(ceilings) == 1


@pytest.mark.parametrize("asked", [["saliency", "gradcam"], {"smooth_grad": {"samples": 0}}, {"saliency": {"a": 1}}])
def test_unknown_methods_are_no_methods_that_do_not_apply(asked, monkeypatch):
    unopened(monkeypatch)
    with pytest.raises(pl.BadOption):
        pl.compare("efficientnet_lite0", torch.zeros(1, 3, 8, 8), methods=asked)


def test_when_no_method_applies_the_reason_is_given():
    with pytest.raises(pl.BadModel, match="No method applies to Chain"):
        pl.compare(Chain(9, 2), torch.ones(1, 9), methods=["grad_cam"])


def test_what_cannot_be_probed_is_compared_without_ranks():
    found = pl.compare(Chain(3, 2), torch.ones(1, 3), 0, methods=["saliency", "input_x_gradient"])
    assert [e.method for e in found.explanations] == ["saliency", "input_x_gradient"]
    assert found.skipped[-1][0] == "ranking" and "at least 5" in found.skipped[-1][1]
    assert found._repr_html_()


@pytest.mark.parametrize("ending", [".html", ".png", ".svg", ".json"])
def test_a_comparison_is_written(ending, corner, tmp_path):
    found = pl.compare(*corner, methods=["saliency", "input_x_gradient"], probes=32)
    path = found.save(tmp_path / f"both{ending}")
    assert path.stat().st_size > 500
    with pytest.raises(pl.BadInput, match=r"expected one of .html, .png, .svg, .json\."):
        found.save(tmp_path / "both.pellucid")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


# record


def test_record_counts_what_runs_with_and_without_numbers():
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))
    real, fake = pl.record(net, torch.ones(3, 5)), pl.record(net, torch.ones(3, 5), fake=True)
    assert [op.name for op in real.operations] == ["linear", "relu", "linear"]
    assert [op.name for op in fake.operations] == [op.name for op in real.operations]


# save, load, rerun


def test_a_saved_explanation_loads_with_its_card_and_is_found_again_bit_for_bit(corner, tmp_path):
    net, x = corner
    with pl.running(pl.Run(seed=7)):
        why = pl.explain(net, x, method="smooth_grad", options={"samples": 5})
    back = pl.load(why.save(tmp_path / "why.pellucid"))
    assert torch.equal(back.values, why.values)
    for told, check in zip(back.checks, why.checks, strict=True):
        assert (told.name, told.verdict, told.why) == (check.name, check.verdict, check.why)
    again = back.rerun(net)
    assert torch.equal(again.values, why.values)
    assert (again.seed, again.options) == (7, why.options)
    with pytest.raises(pl.Missing):
        back.rerun()
    with pytest.raises(pl.BadModel):
        back.rerun(pl.open(Chain(9, 2)))


def test_a_loaded_explanation_can_be_looked_at(corner, tmp_path, capsys):
    why = pl.explain(*corner, method="saliency")
    back = pl.load(why.save(tmp_path / "why.pellucid"))
    assert back._repr_html_()
    assert facts(back)["predictions"] == []  # there is no network to ask
    assert [c["verdict"] for c in facts(back)["checks"]] == [c["verdict"] for c in facts(why)["checks"]]


# show


@pytest.fixture
def undisplayed(monkeypatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


def test_without_a_display_a_summary_is_printed(undisplayed, corner, capsys):
    pl.methods.saliency(*corner).show()  # never tested: the card is made on the way
    said = capsys.readouterr().out
    assert "Corner says: bright (0)" in said
    assert "Can this picture be trusted?" in said
    pl.compare(*corner, methods=["saliency"], probes=32).show()
    assert "Which method should I believe?" in capsys.readouterr().out


def test_with_a_display_the_report_is_opened(corner, monkeypatch):
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", opened.append)
    pl.explain(*corner, method="saliency").show()
    (address,) = opened
    assert address.startswith("file://")
    assert "Corner says" in Path(address.removeprefix("file://")).read_text(encoding="utf-8")


def test_in_a_notebook_the_fragment_is_displayed(corner, monkeypatch):
    shown: list[str] = []
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=shown.append))
    why = pl.explain(*corner, method="saliency")
    why.show()
    assert shown == [notebook(why)]


def test_notebooks_get_a_fragment_and_no_page_of_their_own(corner):
    found = pl.compare(*corner, methods=["saliency"], probes=32)
    for subject in (found, found.best):
        html = subject._repr_html_()
        assert "Corner says" in html
        assert "<html" not in html.lower() and "<body" not in html.lower()


# facts


def test_facts_of_a_comparison_are_those_of_its_explanations(corner):
    found = pl.compare(*corner, methods=["saliency", "grad_cam"], probes=32)
    told = facts(found)
    assert told["best"] == "saliency"
    assert [s["method"] for s in told["skipped"]] == ["grad_cam"]
    assert told["explanations"][0]["checks"] == facts(found.best)["checks"]
    assert told["predictions"][0]["name"] == "bright"


def test_facts_of_numbers_that_do_not_exist_are_none():
    e = pl.methods.saliency(Chain(2, 3), torch.ones(1, 2), 0)
    e = e.with_checks((pl.Check("any", float("nan"), Verdict.UNKNOWN, "Not tested.", references=(("r", math.inf),)),))
    (told,) = facts(e)["checks"]
    assert (told["value"], told["low"], told["references"]) == (None, None, {"r": None})


# the facade


def test_every_public_name_is_there_and_says_what_it_is():
    assert dir(pl) == sorted(pl.__all__)
    for name in pl.__all__:
        value = getattr(pl, name)
        assert inspect.getdoc(value), name
        assert value is getattr(pl, name)


@pytest.mark.parametrize("name", ["check", "compare", "explain", "load", "open", "record"])
def test_every_verb_has_an_example(name):
    assert ">>>" in (inspect.getdoc(getattr(pl, name)) or "")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_an_example(name):
    assert ">>>" in (inspect.getdoc(METHODS[name]) or "")


def test_unknown_names_are_answered_by_a_sentence():
    with pytest.raises(AttributeError, match=r"pellucid has no 'explian'; it has: .*explain"):
        _ = pl.explian
    with pytest.raises(AttributeError, match=r"There is no method 'gradcam'\. Methods: .*grad_cam"):
        _ = pl.methods.gradcam


def test_importing_takes_neither_torch_nor_the_network():
    program = """
import sys
events = []
sys.addaudithook(lambda event, _: events.append(event))
import pellucid, pellucid.surfaces.cli
dir(pellucid), pellucid.__version__
assert not {"torch", "numpy", "PIL"} & set(sys.modules)
assert not [e for e in events if e.startswith(("socket.", "urllib.", "subprocess.", "os.system"))]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_inputs_of_every_kind_find_their_way():
    net = Chain(9, 2)
    x = torch.rand(3, 9)
    values = pl.explain(net, x, 0, method="input_x_gradient").values
    for given in ((x,), [x], {"x": x}):
        assert torch.equal(pl.explain(net, given, 0, method="input_x_gradient").values, values)


def test_a_batch_is_chosen_for_and_tested_as_a_whole():
    net = pl.open(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    why = pl.explain(net, picture(0, batch=2))
    assert len(why.values) == 2
    assert isinstance(pl.compare(net, picture(0), methods=["saliency"]), Comparison)
