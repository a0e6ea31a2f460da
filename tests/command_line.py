"""The `pellucid` command run in this process, in a process of its own, and on a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.doors import zoo
from pellucid.doors.pictures.reading import read
from pellucid.surfaces import cli
from tests.networks import randomized

ROOT = Path(__file__).resolve().parent.parent
CAT = ROOT / "examples" / "cat.jpg"
TINY = ("--model", "tiny", "--quiet")
COMMAND = (sys.executable, "-m", "pellucid.surfaces.cli")


@cache
def tiny() -> Network:
    """Three classes at 24 pixels, so that a whole report takes a fraction of a second."""
    layers = (nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = randomized(nn.Sequential(*layers, nn.Linear(8, 3)), 1, 0.8)
    labels = ("tiger cat", "Persian cat", "dog")
    preparation = pl.Preparation(24, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Network(net, labels=labels, preparation=preparation, name="Tiny", source="tiny", reader=read)


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def pellucid(tmp_path: Path, monkeypatch, capsys) -> Command:
    """The command, run in this process in an empty folder with a picture in it; `--model tiny` is a small network."""
    Image.effect_noise((40, 30), 60).convert("RGB").save(tmp_path / "noise.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(zoo._OPENERS, "tiny", lambda _: tiny())
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        try:
            code = cli.main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def process(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, on one thread."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, cwd=cwd, env=env)


def starts(data: bytes, text: str) -> bool:
    return data.lstrip().lower().startswith(text.encode())


FORMATS: dict[str, Callable[[bytes], bool]] = {
    ".html": lambda data: starts(data, "<!doctype html>") and b"</html>" in data,
    ".png": lambda data: data.startswith(b"\x89PNG\r\n"),
    ".svg": lambda data: ET.fromstring(data).tag.endswith("svg"),  # noqa: S314 (written by ourselves)
    ".json": lambda data: json.loads(data)["type"] == "stack",
    ".pellucid": lambda data: b'"pellucid"' in data[:4096],
}
