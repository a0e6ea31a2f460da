"""The `pellucid` command as somebody meets it: what it says, what it writes, what it refuses, how it stops."""

from __future__ import annotations

import inspect
import json
import os
import select
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from PIL import Image
from torch import nn

import pellucid as pl
from pellucid.core.method import Promise
from pellucid.core.network import Network
from pellucid.core.option import Range
from pellucid.doors import zoo
from pellucid.doors.reading import read
from pellucid.surfaces import cli, show
from pellucid.surfaces.commands import COMMANDS
from tests.networks import randomized

ROOT = Path(__file__).resolve().parent.parent
CAT = ROOT / "examples" / "cat.jpg"
TINY = ("--model", "tiny", "--quiet")
DEADLINE = 120.0  # seconds until a test gives up on a process that hangs
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


@pytest.fixture
def unopened(monkeypatch) -> None:
    """Whoever opens a network or begins the heavy work fails the test."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("heavy work began")

    monkeypatch.setattr("pellucid.surfaces.explain.open_network", refuse)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def process(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, on one thread."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, cwd=cwd, env=env)


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
        flag = f"--{parameter.name}" if parameter.kind is parameter.KEYWORD_ONLY else parameter.name
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


def starts(data: bytes, text: str) -> bool:
    return data.lstrip().lower().startswith(text.encode())


FORMATS: dict[str, Callable[[bytes], bool]] = {
    ".html": lambda data: starts(data, "<!doctype html>") and b"</html>" in data,
    ".png": lambda data: data.startswith(b"\x89PNG\r\n"),
    ".svg": lambda data: ET.fromstring(data).tag.endswith("svg"),  # noqa: S314 (written by ourselves)
    ".json": lambda data: json.loads(data)["type"] == "stack",
    ".pellucid": lambda data: b'"pellucid"' in data[:4096],
}


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


EXPLAIN = ("explain", "noise.png", *TINY)
BAD: dict[str, tuple[int, tuple[str, ...], str]] = {
    "no such picture": (3, ("explain", "nothing.png", *TINY), "nothing.png"),
    "a near miss": (3, ("explain", "nois.png", *TINY), "Did you mean noise.png?"),
    "text named as a picture": (1, ("explain", "text.png", *TINY), "text.png is not a picture"),
    "a folder": (1, ("explain", "folder", *TINY), "folder"),
    "an address": (1, ("explain", "https://example.org/cat.jpg", *TINY), "fetches nothing"),
    "unknown network": (3, ("explain", "noise.png", "--model", "efficientnet_lite9"), "efficientnet_lite"),
    "a class that many fit": (1, (*EXPLAIN, "--target", "cat"), "'cat' fits 2 classes: tiger cat (0), Persian cat (1)"),
    "unknown class": (1, (*EXPLAIN, "--target", "zebra"), "'zebra'"),
    "a class's number too high": (1, (*EXPLAIN, "--target", "3"), "classes 0 to 2"),
}
BAD_AT_ONCE: dict[str, tuple[int, tuple[str, ...], str]] = {
    "no command": (2, (), "COMMAND"),
    "unknown command": (2, ("explian",), "'explian'"),
    "no picture": (2, ("explain",), "image"),
    "unknown flag": (2, (*EXPLAIN, "--frobnicate"), "--frobnicate"),
    "flag without value": (2, (*EXPLAIN, "--target"), "--target"),
    "seed that is no number": (2, (*EXPLAIN, "--seed", "x"), "seed='x': expected int"),
    "unknown method": (2, (*EXPLAIN, "--method", "gradcam"), "grad_cam"),
    "unknown method in a list": (2, ("compare", "noise.png", "--methods", "saliency,gradcam"), "'gradcam'"),
    "unknown option": (2, (*EXPLAIN, "--method", "grad_cam", "--option", "steps=3"), "site, rectify"),
    "option without a value": (2, (*EXPLAIN, "--method", "grad_cam", "--option", "rectify"), "name=value"),
    "option out of range": (2, (*EXPLAIN, "--method", "smooth_grad", "--option", "samples=0"), "from 1 to 4096"),
    "option of another type": (2, (*EXPLAIN, "--method", "smooth_grad", "--option", "samples=ten"), "samples='ten'"),
    "option without a method": (2, (*EXPLAIN, "--option", "samples=3"), "--method"),
    "unknown ending": (1, (*EXPLAIN, "-o", "report.pdf"), ".html, .png, .svg, .json, .pellucid"),
    "no ending": (1, (*EXPLAIN, "-o", "report"), "nothing"),
    "ending that a comparison has not": (1, ("compare", "noise.png", "-o", "a.pellucid"), ".html, .png, .svg, .json."),
    "folder that is not there": (1, (*EXPLAIN, "-o", "nowhere/report.html"), "'nowhere' does not exist"),
    "a folder as output": (1, (*EXPLAIN, "-o", "folder.html"), "is a folder"),
    "a name that is too long": (1, (*EXPLAIN, "-o", "x" * 300 + ".html"), "refuses the file name"),
    "the picture itself": (1, (*EXPLAIN, "-o", "./noise.png"), "is the picture itself"),
}


@pytest.mark.parametrize("what", [*BAD, *BAD_AT_ONCE])
def test_bad_input_is_answered_by_a_sentence_and_an_exit_code(what, pellucid, tmp_path, request):
    if what in BAD_AT_ONCE:
        request.getfixturevalue("unopened")
    code, arguments, words = (BAD | BAD_AT_ONCE)[what]
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.html").mkdir()
    before, picture = files(tmp_path), (tmp_path / "noise.png").read_bytes()
    plain, scripted = pellucid(*arguments), pellucid(*arguments, "--json")
    assert plain.code == scripted.code == code, plain
    assert plain.out == ""
    assert words in plain.err
    assert plain.err.startswith("pellucid: ")
    assert len(plain.err.splitlines()) <= 2
    assert "Traceback" not in plain.err
    if what not in ("flag without value", "no command"):  # there, --json is taken for the value, or for the command
        assert scripted.json["exit"] == code
        assert scripted.json["what"] in plain.err
        assert scripted.json["hint"] in plain.err
    assert files(tmp_path) == before
    assert (tmp_path / "noise.png").read_bytes() == picture


def test_a_folder_that_may_not_be_written_is_refused_at_once(pellucid, unopened, tmp_path, monkeypatch):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(show.tempfile, "TemporaryFile", refuse)  # the tests may run as root, who may write anywhere
    done = pellucid(*EXPLAIN, "-o", "report.html")
    assert done.code == 1
    assert "No file can be written in the folder" in done.err
    assert files(tmp_path) == {"noise.png"}


def test_a_file_that_may_not_be_overwritten_is_refused_at_once(pellucid, unopened, tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("mine")
    monkeypatch.setattr(show.os, "access", lambda *_: False)
    done = pellucid(*EXPLAIN, "-o", "report.html")
    assert (done.code, (tmp_path / "report.html").read_text()) == (1, "mine")


def test_names_that_act_on_a_terminal_are_shown_and_not_obeyed(pellucid, tmp_path):
    (tmp_path / "noise.png").rename(tmp_path / "a\x1b[2Jb.png")
    done = pellucid("explain", "a\x1b[2Jb.png", "--method", "saliency", *TINY)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert (tmp_path / "a\x1b[2Jb.why.html").is_file()


def test_a_terminal_without_our_letters_is_no_reason_to_fail():
    done = process("methods", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*COMMAND, "methods"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("presses", [1, 2])
def test_stopping_before_anything_is_known_writes_nothing(presses, pellucid, tmp_path, monkeypatch):
    def opener(_: object) -> Network:
        for _press in range(presses):
            signal.raise_signal(signal.SIGINT)
        return tiny()

    monkeypatch.setitem(zoo._OPENERS, "tiny", opener)
    before = signal.getsignal(signal.SIGINT)
    done = pellucid(*EXPLAIN)
    assert done.code == 130
    assert "Traceback" not in done.err and "Stopp" in done.err
    assert files(tmp_path) == {"noise.png"}
    assert signal.getsignal(signal.SIGINT) is before


class Terminal:
    """A process whose stderr is a terminal, so that it draws its progress there."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        import pty

        self.seen, self.until = b"", time.monotonic() + DEADLINE
        self.master, slave = pty.openpty()
        with (folder / "stdout.txt").open("wb") as out:
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen([*COMMAND, *arguments], stdout=out, stderr=slave, cwd=folder, env=env)
        os.close(slave)

    def wait_for(self, text: bytes) -> None:
        """Read until the text has come, or the process has ended (an empty text: until it has ended)."""
        while not text or text not in self.seen:
            left = self.until - time.monotonic()
            ready = select.select([self.master], [], [], max(left, 0))[0]
            assert ready, f"nothing came any more: {self.seen[-300:]!r}"
            try:
                some = os.read(self.master, 4096)
            except OSError:  # how Linux says that nobody is left on the other side
                some = b""
            if not some:
                assert not text, f"{text!r} never came: {self.seen[-300:]!r}"
                return
            self.seen += some

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        self.wait_for(b"")
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator[Terminal]:
    """SmoothGrad over 4096 copies on the real network, which takes minutes; handed over when progress is drawn."""
    pytest.importorskip("pty", reason="needs a terminal to draw on")
    arguments = ("explain", str(CAT), "--method", "smooth_grad", "--option", "samples=4096")
    terminal = Terminal(tmp_path, *arguments)
    try:
        terminal.wait_for(b"4096 gradient passes")
        yield terminal
    finally:
        terminal.close()


def test_ctrl_c_once_keeps_what_is_known(long_run, tmp_path):
    long_run.interrupt()
    assert long_run.end() == 0
    said = (tmp_path / "stdout.txt").read_text(encoding="utf-8")
    assert b"what is known is kept" in long_run.seen
    assert "The computation was stopped after" in said and "of 4096 gradient passes" in said
    assert "tiger cat (282)" in said  # the answer is still asked for
    assert "Written: cat.why.html" in said
    assert FORMATS[".html"]((tmp_path / "cat.why.html").read_bytes())
    assert files(tmp_path) == {"stdout.txt", "cat.why.html"}


def test_ctrl_c_twice_leaves_at_once_with_nothing_written(long_run, tmp_path):
    long_run.interrupt()
    long_run.wait_for(b"Ctrl-C again")
    long_run.interrupt()
    assert long_run.end() == 130
    assert b"Traceback" not in long_run.seen
    assert files(tmp_path) == {"stdout.txt"}
