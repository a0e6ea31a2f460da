"""The front door from Python: compare, record, load, show, and the facade."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.check import Verdict
from pellucid.surfaces.explain import Comparison
from pellucid.surfaces.facts import facts
from pellucid.surfaces.show import notebook
from pellucid.views.disagreement import disagreement_view
from pellucid.views.view import Heat, Table
from tests.corner import CORNER, Corner, check_of, unopened
from tests.corner import corner as corner
from tests.networks import Chain, Net, picture

METHODS = pl.methods.all_methods()


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
    assert all(b <= a + 1e-9 for a, b in pairwise(known)) and values[: len(known)] == known  # ties up to rounding


def test_a_method_that_cannot_speak_of_the_target_is_skipped_with_the_reason():
    difference = pl.logit(0) - pl.logit(1)
    found = pl.compare(Net(), picture(0, 1), difference, methods=["saliency", "finer_cam"], probes=32)
    ((name, why),) = found.skipped
    assert name == "finer_cam" and "logit(0) - logit(1) is not a class's logit" in why


def test_a_network_of_one_output_has_no_classes_to_compare():
    one = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 1)
    )
    with pytest.raises(pl.BadInput, match="one output"):
        pl.methods.finer_cam(one, torch.rand(1, 3, 9, 9), 0)


def test_it_is_shown_where_the_methods_disagree_and_which_agree():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    asked = {"input_x_gradient": {}, "integrated_gradients": {"steps": 4}, "saliency": {}}
    found = pl.compare(net, x, 0, methods=asked, probes=32)
    view = disagreement_view(found.explanations)
    tables = [v for v in walk(view) if isinstance(v, Table)]
    (heat,) = (v for v in walk(view) if isinstance(v, Heat))
    columns = tables[0].columns[1:]
    alike = {(row[0], name): v for row in tables[0].rows for name, v in zip(columns, row[1:], strict=True)}
    same = ("Input x gradient", "Integrated gradients")  # one and the same on a linear network, from a baseline of zero
    assert alike[same] == alike[same[::-1]] == alike[same[0], same[0]] == 1.0
    assert -1 <= alike[same[0], "Saliency (gradient)"] < 0.9
    assert heat.limits == (0.0, 1.0) and heat.values.shape == (16, 16) and 0 < heat.values.max() <= 1
    assert disagreement_view(found.explanations[:1]) == ()


def walk(view: Any) -> Any:
    """Every part of a view."""
    yield view
    children = view if isinstance(view, tuple) else getattr(view, "views", None) or (getattr(view, "child", None),)
    for child in children:
        if child is not None:
            yield from walk(child)


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
    assert "Can this map be trusted?" in said
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
from itertools import pairwise
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
