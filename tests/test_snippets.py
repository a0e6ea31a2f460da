"""What the documentation shows is run, so that it cannot rot: Python, command lines, file names and error texts."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.doors import efficientnet_lite, hub, zoo
from pellucid.surfaces.cli import DESCRIPTION, EPILOG
from pellucid.surfaces.commands import COMMANDS
from pellucid.surfaces.derive import arguments, parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/quickstart.md", "docs/map.md")
SIDE = 32  # The real network on small pictures: a fiftieth of the work.


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.DOTALL | re.MULTILINE)


@cache
def lite0() -> Network:
    return zoo._lite(0, replace(efficientnet_lite.preparation(0), size=SIDE))


def my_module() -> nn.Module:
    """Somebody's own network: two classes, pictures of any size."""
    layers = (nn.Conv2d(3, 4, 16, 16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize(
    "page", [pytest.param(PAGES[0], marks=pytest.mark.slow), PAGES[1], pytest.param(PAGES[2], marks=pytest.mark.slow)]
)
def test_the_python_on_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    shutil.copy(ROOT / "examples" / "cat.jpg", tmp_path / "cat.jpg")
    (tmp_path / "photos").mkdir()
    cat = Image.open(ROOT / "examples" / "cat.jpg")
    for i in range(24):
        cat.crop((3 * i, 2 * i, 3 * i + 64, 2 * i + 64)).save(tmp_path / "photos" / f"{i:02}.png")
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pellucid.surfaces.browser.has_display", lambda: False)
    monkeypatch.setitem(zoo._OPENERS, "efficientnet_lite0", lambda _: lite0())
    monkeypatch.setattr(hub, "open", lambda *_, **__: lite0())  # torchvision need not be installed
    names: dict[str, Any] = {"my_module": my_module(), "x": torch.rand(1, 3, SIDE, SIDE)}
    found = blocks(page, "python")
    assert len(found) >= 2
    for block in found:
        exec(compile(block, page, "exec"), names)  # noqa: S102 (our own documentation)
    if page == PAGES[2]:
        assert (tmp_path / "map.svg").stat().st_size > 10_000
        return
    assert names["why"].checks
    assert (tmp_path / "why.html").stat().st_size > 10_000


@pytest.mark.parametrize("page", PAGES)
def test_sites_and_classes_on_a_page_are_the_bundled_networks(page):
    sites = set(re.findall(r'"(blocks\.[\d.]+)"', text(page)))
    assert sites <= {str(site) for site in lite0().sites}
    for name in re.findall(r'pl\.logit\("([^"]+)"\)', text(page)):
        pl.logit(name).named(lite0())


def command_lines() -> Iterator[str]:
    for source in (*map(text, PAGES), EPILOG):
        for line in source.splitlines():
            if found := re.match(r"\s*(?:\.venv/bin/)?pellucid (\w.*)", line.partition("#")[0]):
                yield found[1].strip()


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_command_lines_are_understood(line):
    parsed = parser(COMMANDS, DESCRIPTION, EPILOG, pl.__version__).parse_args(shlex.split(line))
    given = arguments(COMMANDS[parsed.command], parsed)
    if given.get("method"):
        options = {o.name: o for o in getattr(pl.methods, given["method"]).options}
        for option in given["option"]:
            name, _, value = option.partition("=")
            options[name].parse(value)


def test_the_pages_do_show_command_lines():
    assert len(set(command_lines())) >= 3


def test_the_demo_writes_the_file_that_the_readme_names():
    (told,) = set(re.findall(r"demo/\w+\.html", text("README.md")))
    assert f"--output {told}" in text("Makefile")


def test_the_error_that_the_quick_start_shows_is_the_one_that_comes():
    (shown,) = re.findall(r"^BadTarget: (.*?)\n```", text("docs/quickstart.md"), re.DOTALL | re.MULTILINE)
    with pytest.raises(pl.BadTarget) as caught:
        pl.logit("cat").named(lite0())
    assert str(caught.value) == " ".join(shown.split())
