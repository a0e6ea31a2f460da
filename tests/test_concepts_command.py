"""The command `pellucid concepts`, and how the behind of a site is run for many samples."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.behind import OneCut, scores_behind
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.doors import efficientnet_lite, zoo
from pellucid.surfaces.cli import main

ROOT = Path(__file__).resolve().parent.parent


def small() -> pl.Network:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)).eval()
    return pl.Network(net, labels=("cat", "dog"), preparation=pl.Preparation(size=16), name="Small")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pellucid.doors.open.open", lambda _: small())
    monkeypatch.setattr("pellucid.surfaces.browser.has_display", lambda: False)
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "dogs"
    place.mkdir()
    for i in range(4):
        pixels = torch.randint(256, (16, 16, 3), generator=torch.Generator().manual_seed(i)).to(torch.uint8)
        Image.fromarray(pixels.numpy()).save(place / f"{i}.png")
    return place


def test_it_writes_the_report_and_tells_scripts_the_facts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["concepts", str(folder), "--target", "dog", "--count", "2", "--quiet"]
    assert main([*command, "--output", "found.html"]) == 0
    assert "What Small sees: logit of dog (1)" in Path("found.html").read_text()
    assert "Can these concepts be trusted?" in capsys.readouterr().out
    assert main([*command, "--output", "found.pellucid", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["at"] == "1" and len(told["importance"]) == 2
    assert next(c["name"] for c in told["checks"]) == "fidelity"
    assert len(pl.load("found.pellucid")) == 2


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--most", "2"], 1, "at least 3"),
        (["--at", "0"], 1, "Sites that fit: 1"),
        (["--count", "99"], 2, "concepts=99"),
        (["--most", "0"], 2, "--most 0"),
        (["--output", "found.doc"], 1, "ends in .doc"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_a_code(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, said: str
) -> None:
    assert main(["concepts", str(folder), "--target", "dog", "--quiet", *more]) == code
    assert said in capsys.readouterr().err


class Around(nn.Module):
    """The site's value is joined by what went around it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.site, self.last = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.last(self.site(h) + h)


class Turning(nn.Module):
    """What lies behind hangs on the input in a way that no operation shows."""

    def __init__(self) -> None:
        super().__init__()
        self.site, self.last = nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.site(x)
        return self.last(h) if float(x.sum()) > 0 else -self.last(h)


@pytest.mark.parametrize(
    ("model", "site", "alone"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), "1", True),
        (Around(), "site", False),
        (Turning(), "site", None),
    ],
)
def test_one_recorded_pass_serves_others_only_where_that_is_right(
    model: nn.Module, site: str, alone: bool | None
) -> None:
    net = pl.Network(model.eval())
    x, new = torch.randn(6, 4), torch.rand(5, 4)
    one = OneCut()
    with net.lease() as leased, torch.no_grad():
        f = Score(net, pl.logit(1), model=leased)
        for i in range(6):
            given = {net.inputs[0]: x[i : i + 1]}
            ours = torch.cat(list(scores_behind(f.among([i]), given, Site(site), [{"value": new}], one)))
            whole = torch.cat([f.do({Site(site): lambda _, v=v: v[None]})(given) for v in new])
            assert torch.allclose(ours, whole, atol=1e-6)
            assert alone is None or (one.cut is not None) is alone


@pytest.mark.slow
def test_the_python_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(zoo._OPENERS, "efficientnet_lite0", lambda _: lite0_of(64))
    Path("pictures").mkdir()
    shutil.copy(ROOT / "examples" / "cat.jpg", "cat.jpg")
    for i in range(4):
        pixels = torch.randint(256, (8, 8, 3), generator=torch.Generator().manual_seed(i)).to(torch.uint8)
        Image.fromarray(pixels.numpy()).resize((64, 64)).save(f"pictures/{i}.png")
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        exec(compile(block, "concepts.md", "exec"), names)  # noqa: S102 (our own documentation)
    assert Path("retriever.html").stat().st_size > 10_000 and len(names["through"].chosen) == 2  # type: ignore[attr-defined]


def lite0_of(side: int) -> pl.Network:
    return zoo._lite(0, replace(efficientnet_lite.preparation(0), size=side))
