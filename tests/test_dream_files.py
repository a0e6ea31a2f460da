"""A dream in a file comes back whole; in a report it can be looked at, whatever it is of."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import nn

import pellucid as pl
from pellucid.core.archive import FORMAT, SUFFIX
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.network import Network
from pellucid.dream.dream import Dream, to_bytes
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.painting import State
from pellucid.render.terminal import terminal
from pellucid.surfaces.report import report
from pellucid.views.dream import colors
from pellucid.views.tiles import Tiles
from pellucid.views.view import Curve
from tests.command_line import FORMATS
from tests.dreamed import PLAIN, QUICK, convolutions, like
from tests.test_saved import same

CHECK = Check("robustness", 0.5, Verdict.HOLDS, "It holds.", 0.4, 0.6, seconds=0.5)
EVIL = '<script>alert("x")</script>&"\' \u202e'


def maximized(**knobs: Any) -> Dream:
    net = Network(
        convolutions(), labels=("ant", "bee"), name="Of \u2603", preparation=pl.Preparation(14, std=(0.5,) * 3)
    )
    return pl.dream.maximize(net, [pl.logit("bee"), pl.channel("2", 1)], recipe=QUICK, **knobs)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = convolutions()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.net(x) * y


MADE: dict[str, Callable[[], Dream]] = {
    "maximize": maximized,
    "opacity": lambda: maximized(opacity=True, shared=0.5),
    "begun at a picture": lambda: maximized(begins=like(3, 14, 14, batch=1), stay=1.0),
    "invert": lambda: pl.dream.invert(convolutions(), like(), "2", steps=2),
    "caricature": lambda: pl.dream.caricature(convolutions(), like(), "2", steps=2),
    "style": lambda: pl.dream.style(convolutions(), like(), ["0", "2"], steps=2),
    "nudge": lambda: pl.dream.nudge(convolutions(), like(), 2, steps=2),
    "deepdream": lambda: pl.dream.deepdream(convolutions(), like(3, 20, 20), "2", octaves=2, steps=2),
    "fool": lambda: pl.dream.fool(convolutions(), like(), 2, steps=2),
    "signals": lambda: pl.dream.maximize(nn.Conv1d(2, 3, 5), pl.channel("", 1), like=like(2, 30), recipe=QUICK),
    "many signals": lambda: pl.dream.maximize(nn.Conv1d(9, 3, 5), pl.channel("", 1), like=like(9, 30), recipe=QUICK),
    "volumes": lambda: pl.dream.maximize(nn.Conv3d(1, 3, 3), pl.channel("", 1), like=like(1, 5, 6, 7), recipe=QUICK),
    "tables": lambda: pl.dream.maximize(nn.Linear(4, 2), [pl.logit(0)] * 2, like=like(4)[:, :, 0, 0], recipe=PLAIN),
    "two inputs": lambda: pl.dream.maximize(Pair(), pl.logit(1), like=(like(), torch.ones(2, 4)), recipe=QUICK),
}  # fmt: skip


@pytest.mark.parametrize("what", MADE)
def test_everything_but_the_network_comes_back(what: str, tmp_path: Path) -> None:
    made = MADE[what]()
    checks = ((CHECK,) * 2,) * len(made.pictures)
    made = replace(made, checks=checks, stopped="after 1 of 2 steps", notes=("a note",))
    back = pl.load(made.save(tmp_path / "a.pellucid"))
    assert isinstance(back, Dream) and back.net is None and back.fingerprint == made.fingerprint
    for f in fields(Dream):
        if f.name in ("net", "saved_fingerprint", "targets", "canvas", "state"):
            continue
        assert same(getattr(made, f.name), getattr(back, f.name)), f.name
    for a, b in zip(made.targets, back.targets, strict=True):
        assert str(a) == str(b) and all(same(s.args, t.args) for s, t in zip(a.terms, b.terms, strict=True))
    for kind, one, other in ((Canvas, made.canvas, back.canvas), (State, made.state, back.state)):
        for f in fields(kind):
            assert same(getattr(one, f.name), getattr(other, f.name)), f.name
    assert same(dict(made.x), dict(back.x))


def test_a_function_as_target_loads_and_is_not_gone_on_with(tmp_path: Path) -> None:
    def brightest(output: torch.Tensor) -> torch.Tensor:
        return output.amax(1)

    made = pl.dream.maximize(convolutions(), pl.scalar(brightest), like=like(), recipe=QUICK)
    back = pl.load(made.save(tmp_path / "a.pellucid"))
    assert back.words == ("scalar(brightest)",)
    with pytest.raises(BadModel, match="Python function 'brightest'"):
        pl.dream.resume(back, convolutions(), steps=1)


@pytest.fixture(scope="module")
def whole() -> bytes:
    return to_bytes(replace(MADE["opacity"](), checks=((CHECK,), ())))


def content(data: bytes) -> dict[str, Any]:
    (length,) = struct.unpack("<Q", data[:8])
    facts: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["pellucid"])
    return facts


def refused(data: bytes, folder: Path) -> None:
    file = folder / f"file{SUFFIX}"
    file.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        pl.load(file)
    assert caught.value.hint and "file" + SUFFIX in caught.value.what


def test_a_fact_that_is_missing_or_of_another_kind_is_refused(tmp_path: Path, whole: bytes) -> None:
    facts, tensors = content(whole), from_safetensors(whole)

    def packed(said: dict[str, Any]) -> bytes:
        return to_safetensors(tensors, metadata={"pellucid": json.dumps(said)})

    (tmp_path / "good.pellucid").write_bytes(packed(facts))
    assert isinstance(pl.load(tmp_path / "good.pellucid"), Dream)
    for name in facts.keys() - {"kind"}:
        refused(packed({k: v for k, v in facts.items() if k != name}), tmp_path)
    for name in ("terms", "words", "final", "recipe", "canvas", "cost", "checks", "keys", "state_notes"):
        refused(packed({**facts, name: 7}), tmp_path)
    for changed in ({"steps": -4}, {"hue": 1}, {"parametrization": "crayon"}, {"rate": "fast"}):
        refused(packed({**facts, "recipe": {**facts["recipe"], **changed}}), tmp_path)
    for changed in ({"dtype": "nn"}, {"dtype": "load"}, {"size": 3}, {"preparation": {"mean": 1}}):
        refused(packed({**facts, "canvas": {**facts["canvas"], **changed}}), tmp_path)
    refused(packed({**facts, "kind": "nightmare"}), tmp_path)
    refused(packed({**facts, "format": FORMAT + 1}), tmp_path)
    for changed in ({"words": ["one"]}, {"final": [1.0]}, {"keys": []}, {"step": 9}, {"checks": [[]] * 5}):
        refused(packed({**facts, **changed}), tmp_path)
    for name, spoiled in (
        ("pictures", torch.zeros(2, 3, 4, 4)),
        ("scores", torch.zeros(1, 2)),
        ("opacity", torch.zeros(1)),
    ):
        refused(to_safetensors({**tensors, name: spoiled}, metadata={"pellucid": json.dumps(facts)}), tmp_path)
    for name in ("pictures", "scores"):
        rest = {k: v for k, v in tensors.items() if k != name}
        refused(to_safetensors(rest, metadata={"pellucid": json.dumps(facts)}), tmp_path)


@pytest.mark.parametrize("length", [0, 1, 8, 100, 0.5, -1])
def test_a_truncated_file_is_refused(length: float, tmp_path: Path, whole: bytes) -> None:
    refused(whole[: int(length * len(whole)) if 0 < length < 1 else int(length)], tmp_path)


@settings(max_examples=20)
@given(data=st.data())
def test_bytes_that_flipped_are_refused_or_harmless(
    data: st.DataObject, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spoiled = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, 6000), min_size=1, max_size=4)):
        spoiled[place] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("flipped") / f"file{SUFFIX}"
    file.write_bytes(bytes(spoiled))
    try:
        pl.load(file)
    except BadInput as error:
        assert error.hint


@pytest.mark.parametrize("what", MADE)
def test_every_dream_has_its_reports(what: str, tmp_path: Path) -> None:
    made = MADE[what]()
    for ending, is_one in FORMATS.items():
        assert is_one(made.save(tmp_path / f"dream{ending}").read_bytes()), ending
    text = terminal(report(made, False), width=80, color=False)
    page = (tmp_path / "dream.html").read_text()
    assert made.network in text and f"seed {made.seed}" in page
    for words in made.words:
        assert words in page or words.replace("'", "&#x27;") in page


def test_what_a_user_named_is_escaped(tmp_path: Path) -> None:
    net = Network(convolutions(), labels=(EVIL, "b", "c", "d"), name=EVIL, source=EVIL)
    made = replace(pl.dream.maximize(net, pl.logit(0), like=like(), recipe=QUICK), notes=(EVIL,))
    for ending in (".html", ".svg", ".png", ".json"):
        data = made.save(tmp_path / f"dream{ending}").read_bytes()
        if ending in (".html", ".svg"):
            assert b"<script>alert" not in data
    assert "<script>" not in pl.load(made.save(tmp_path / "a.pellucid"))._repr_html_()
    assert "\u202e" not in terminal(report(made, False), width=80, color=False)
    braces = replace(made, network="{network}{0}")
    assert FORMATS[".html"](braces.save(tmp_path / "braces.html").read_bytes())


def test_colors_are_shown_as_they_are() -> None:
    x = torch.rand(3, 4, 5)
    assert np.array_equal(colors(x), (x.permute(1, 2, 0) * 255).round().byte().numpy())
    grey = colors(x[:1])
    assert grey.shape == (4, 5, 3) and np.array_equal(grey[..., 0], (x[0] * 255).round().byte().numpy())
    volume = torch.rand(1, 7, 4, 5)
    assert np.array_equal(colors(volume)[..., 1], (volume[0, 3] * 255).round().byte().numpy())


def test_what_is_see_through_is_shown_over_white() -> None:
    made = MADE["opacity"]()
    clear = replace(made, opacity=torch.zeros_like(made.opacity))
    tiles = next(v for v in report(clear, True).views if isinstance(v, Tiles)).tiles
    assert all(int(np.asarray(t.pixels).min()) == 255 for t in tiles)


def test_a_real_signal_is_drawn_beside_its_inversion() -> None:
    made = pl.dream.invert(nn.Sequential(nn.Conv1d(2, 3, 5)), like(2, 30), "0", steps=1)
    (first, second) = (v for v in report(made, True).views if isinstance(v, Curve))
    assert [s.name for s in second.series] == ["channel 0", "channel 1", "channel 0, real", "channel 1, real"]
    assert np.allclose(second.series[3].y, like(2, 30)[1, 1], atol=1e-6) and first.series != second.series


def test_a_contact_sheet_holds_every_picture(tmp_path: Path) -> None:
    targets = [pl.channel("2", i % 6) for i in range(12)]
    made = pl.dream.maximize(convolutions(), targets, like=like(), recipe=QUICK.but(steps=1))
    with Image.open(made.save(tmp_path / "sheet.png")) as sheet:
        assert sheet.width > 200 and sheet.height > 200
    page = (made.save(tmp_path / "sheet.html")).read_text()
    assert page.count("data:image/png") >= 12
