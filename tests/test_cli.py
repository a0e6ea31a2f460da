"""The `pellucid` command as somebody meets it: what it says and what it writes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from PIL import Image

import pellucid as pl
from pellucid.core.method import Promise
from pellucid.core.option import Range
from pellucid.surfaces.commands import COMMANDS
from tests.command_line import CAT, FORMATS, TINY, files, process, tiny
from tests.command_line import pellucid as pellucid


def test_help_names_every_command_and_every_exit_code_without_torch(tmp_path):
    poison = tmp_path / "torch.py"
    poison.write_text("raise ImportError('help imported torch')")
    done = process("--help", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert all(f"\n    {name} " in done.stdout for name in COMMANDS)
    assert all(f"\n  {code} " in done.stdout for code in (0, 1, 2, 3, 130))


def test_version_is_the_packages():
    assert process("--version").stdout == f"pellucid {pl.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_lists_each_of_its_parameters(name, pellucid):
    said = pellucid(name, "--help").out
    for parameter in inspect.signature(COMMANDS[name]).parameters.values():
        flag = "--" + parameter.name.replace("_", "-") if parameter.kind is parameter.KEYWORD_ONLY else parameter.name
        assert flag in said


@pytest.mark.slow
def test_a_real_picture_and_the_real_network_end_to_end(tmp_path):
    done = process("explain", str(CAT), "--method", "grad_cam", "--option", "rectify=false", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["predictions"][0]["name"] == "tiger cat"
    assert found["options"]["rectify"] is False
    assert files(tmp_path) == {"cat.why.html"}


def test_the_report_goes_into_the_current_folder_under_the_pictures_name(pellucid, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "noise.png").rename(tmp_path / "pictures" / "my cat.v2.png")
    done = pellucid("explain", "pictures/my cat.v2.png", "--method", "saliency", *TINY)
    assert (done.code, done.err) == (0, "")
    assert "Written: my cat.v2.why.html" in done.out
    assert files(tmp_path) == {"pictures", "my cat.v2.why.html"}


@pytest.mark.parametrize("name", [*(f"out{ending}" for ending in FORMATS), "OUT.SVG"])
def test_every_ending_gives_a_whole_file_of_its_kind(name, pellucid, tmp_path):
    done = pellucid("explain", "noise.png", "--method", "grad_cam", "--option", "rectify=false", "-o", name, *TINY)
    assert (done.code, done.err) == (0, "")
    assert FORMATS[Path(name).suffix.lower()]((tmp_path / name).read_bytes())
    assert files(tmp_path) == {"noise.png", name}


def test_json_gives_a_script_the_facts_and_no_pixels(pellucid, tmp_path):
    done = pellucid("explain", "noise.png", "--method", "smooth_grad", "--option", "samples=4", "--option",
                    "kind=mean", "-o", "e.pellucid", "--target", "DOG", "--seed", "5", "--json", *TINY)  # fmt: skip
    assert (done.code, done.err) == (0, "")
    found, saved = done.json, pl.load(tmp_path / "e.pellucid")
    assert found["written"] == "e.pellucid"
    assert (found["method"], found["target"], found["seed"]) == ("smooth_grad", "logit of dog (2)", 5)
    assert found["options"] == dict(saved.options)
    assert found["fingerprint"] == tiny().fingerprint
    assert found["stopped"] is None
    assert found["notes"] == list(saved.notes)
    for told, check in zip(found["checks"], saved.checks, strict=True):
        assert (told["name"], told["verdict"], told["why"]) == (check.name, check.verdict.name.lower(), check.why)
        for key in ("value", "low", "high"):
            value = getattr(check, key)
            assert told[key] == (value if value == value else None)
    shares = tiny().model(tiny().read(tmp_path / "noise.png")).softmax(1)[0]
    told = {p["class"]: p["share"] for p in found["predictions"]}
    assert told == pytest.approx(dict(enumerate(shares.tolist())), abs=1e-5)
    assert [p["name"] for p in found["predictions"]] == [tiny().labels[i] for i in shares.argsort(descending=True)]
    assert len(done.out) < 20_000


def test_json_tells_what_had_to_be_said_about_the_picture(pellucid, tmp_path):
    Image.new("RGBA", (30, 30), (200, 10, 10, 128)).save(tmp_path / "glass.png")
    found = pellucid("explain", "glass.png", "--method", "saliency", "--json", *TINY).json
    assert any("transparent" in note.lower() for note in found["notes"])


def test_compare_ranks_two_methods(pellucid, tmp_path):
    done = pellucid("compare", "noise.png", "--methods", "saliency, input_x_gradient,", "--json", *TINY)
    assert (done.code, done.err) == (0, "")
    found = done.json
    values = {e["method"]: e["checks"][0]["value"] for e in found["explanations"]}
    assert set(values) == {"saliency", "input_x_gradient"}
    assert list(values.values()) == sorted(values.values(), reverse=True)
    assert found["best"] == next(iter(values))
    assert found["skipped"] == []
    assert files(tmp_path) == {"noise.png", "noise.compare.html"}


def test_compare_on_a_terminal_shows_each_method_and_where_the_report_is(pellucid):
    done = pellucid("compare", "noise.png", "--methods", "saliency,grad_cam", "-o", "both.svg", *TINY)
    assert (done.code, done.err) == (0, "")
    assert all(name in done.out for name in ("Saliency", "Grad-CAM", "Written: both.svg"))


def test_methods_lists_every_method_on_a_terminal(pellucid):
    done = pellucid("methods")
    assert done.code == 0
    for name, method in pl.methods.all_methods().items():
        assert name in done.out
        assert all(option.name in done.out for option in method.options)


def test_methods_as_json_says_what_the_signatures_say(pellucid):
    listed = {m["name"]: m for m in pellucid("methods", "--json").json}
    known = pl.methods.all_methods()
    assert set(listed) == set(known)
    for name, method in known.items():
        told = listed[name]
        assert told["paper"] and told["cost"] and told["summary"] and told["title"]
        assert told["promises"] == [str(p.name).lower() for p in Promise if p.value and p in method.promises]
        assert told["options"] == [declared(p) for p in keyword_only(method.recipe)]


def test_checks_lists_every_measure_and_as_json_says_what_the_signatures_say(pellucid):
    known = pl.checks.all_checks()
    listed = {m["name"]: m for m in pellucid("checks", "--json").json}
    assert set(listed) == set(known)
    for name, measure in known.items():
        told = listed[name]
        assert told["paper"] and told["cost"] and told["summary"] and told["title"]
        assert (told["better"], told["on the card"]) == (measure.better, measure.place > 0)
        assert [o["name"] for o in told["options"]] == [o.name for o in measure.options]
    shown = pellucid("checks")
    assert shown.code == 0 and all(name in shown.out for name in known)


def test_more_measures_are_asked_for_by_name(pellucid):
    asked = ("--method", "saliency", "--trust", "quick", "--measure", "sparseness, pixel_flipping")
    done = pellucid("explain", "noise.png", *asked, "--json", "-o", "why.html", *TINY)
    names = [c["name"] for c in done.json["checks"]]
    assert names == ["faithfulness", "completeness", "sparseness", "pixel_flipping"]
    assert 0 <= done.json["checks"][2]["value"] <= 1
    refused = pellucid("explain", "noise.png", "--measure", "beauty", *TINY)
    assert refused.code == 2 and "no measure 'beauty'" in refused.err


def keyword_only(recipe: Callable[..., object]) -> Iterator[tuple[inspect.Parameter, Any]]:
    for parameter in inspect.signature(recipe, eval_str=True).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            yield parameter, parameter.annotation


def declared(option: tuple[inspect.Parameter, Any]) -> dict[str, Any]:
    """What `--json` should say, read off the annotation without the package's own reader."""
    parameter, hint = option
    base, extras = get_args(hint)[0], get_args(hint)[1:]
    literal = next((part for part in (base, *get_args(base)) if get_origin(part) is Literal), None)
    choices = list(get_args(literal))
    kinds = {bool, int, float, str, torch.Tensor} & {base, *get_args(base)}
    limits = next(([e.low, e.high] for e in extras if isinstance(e, Range)), None)
    return {
        "name": parameter.name,
        "type": "str" if choices else kinds.pop().__name__,
        "default": parameter.default,
        "help": next(e for e in extras if isinstance(e, str)),
        "choices": choices,
        "range": limits,
    }


def test_doctor_finds_what_is_needed_and_names_the_command_for_what_is_not(pellucid):
    done = pellucid("doctor")
    assert done.code == 0
    assert torch.__version__ in done.out
    found = {f["what"]: f for f in pellucid("doctor", "--json").json}
    assert found["torch"]["fine"] and found["torch"]["found"] == torch.__version__
    assert all(f["fine"] or "pip install" in f["mend"] for f in found.values())


def test_doctor_fails_when_something_needed_is_missing(pellucid, monkeypatch):
    monkeypatch.setattr("pellucid.surfaces.doctor.requires", lambda _: ["not-a-package-at-all>=2"])
    done = pellucid("doctor")
    assert done.code == 1
    assert "pip install 'not-a-package-at-all>=2'" in done.out


@pytest.mark.parametrize("of", ["places", "pictures"])
def test_an_atlas_of_a_folder_is_written_and_opens_again(of, pellucid, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(24):
        Image.effect_noise((24, 24), 10 + 10 * i).convert("RGB").save(folder / f"{i:02d}.png")
    said = pellucid("atlas", "photos", "--of", of, "--grid", "3", "-o", "a.pellucid", "--json", *TINY)
    assert (said.code, said.err) == (0, "")
    found = pl.load(tmp_path / "a.pellucid")
    assert said.json["origin"]["samples"] == 24 and said.json["origin"]["at"] == "3"
    assert said.json["trust"]["kept"] == found.trust.kept
    told = said.json["cells" if of == "places" else "samples"]
    assert len(told) == len(found.cells if of == "places" else found.names)
    done = pellucid("atlas", "photos", "--of", of, "--at", "nowhere", *TINY)
    assert done.code == 1 and "no module at 'nowhere'" in done.err
    done = pellucid("atlas", "photos", "--how", "som", *TINY)
    assert done.code == 2 and "one of pca, tsne, umap" in done.err
