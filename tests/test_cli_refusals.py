"""The `pellucid` command: what it refuses, and how it stops."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.core.network import Network
from pellucid.doors import zoo
from pellucid.surfaces import place
from tests.command_line import CAT, COMMAND, FORMATS, TINY, files, process, tiny
from tests.command_line import pellucid as pellucid

DEADLINE = 120.0  # seconds until a test gives up on a process that hangs


@pytest.fixture
def unopened(monkeypatch) -> None:
    """Whoever opens a network or begins the heavy work fails the test."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("heavy work began")

    monkeypatch.setattr("pellucid.surfaces.explain.open_network", refuse)


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
    "no class": (1, (*EXPLAIN, "--target", "99"), "Give one of these numbers"),
}
BAD_AT_ONCE: dict[str, tuple[int, tuple[str, ...], str]] = {
    "no command": (2, (), "COMMAND"),
    "unknown command": (2, ("explian",), "'explian'"),
    "no picture": (2, ("explain",), "image"),
    "two files": (2, (*EXPLAIN, "-o", "a.html", "--output", "b.png"), "given twice, a.html and b.png"),
    "unknown flag": (2, (*EXPLAIN, "--frobnicate"), "--frobnicate"),
    "flag without value": (2, (*EXPLAIN, "--target"), "--target"),
    "a depth that is no number": (
        2,
        ("map", "tiny", "--depth", "many"),
        "depth='many': expected a whole number, or none",
    ),
    "seed that is no number": (2, (*EXPLAIN, "--seed", "x"), "seed='x': expected a whole number"),
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

    monkeypatch.setattr(place.tempfile, "TemporaryFile", refuse)  # the tests may run as root, who may write anywhere
    done = pellucid(*EXPLAIN, "-o", "report.html")
    assert done.code == 1
    assert "No file can be written in the folder" in done.err
    assert files(tmp_path) == {"noise.png"}


def test_a_file_that_may_not_be_overwritten_is_refused_at_once(pellucid, unopened, tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("mine")
    monkeypatch.setattr(place.os, "access", lambda *_: False)
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


def test_hints_on_the_command_line_are_typed(pellucid, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 16), color) for color in ("red", "green", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    deep = Image.fromarray(np.linspace(0, 9000, 320, dtype=np.int32).reshape(16, 20))
    deep.save(tmp_path / "deep.tif")
    for name, typed, python in (
        ("moving.gif", "--frame 0 to --frame 2", "frame=0"),
        ("deep.tif", "--window 0,9000", "window=("),
    ):
        said = pellucid("explain", name, *TINY)
        assert said.code == 1 and typed in said.err and python not in said.err
    seen = []
    for frame in ("0", "2"):
        done = pellucid("explain", "moving.gif", *TINY, "--frame", frame, "--method", "saliency", "--json")
        assert done.code == 0 and f"Frame {frame} of 3 was read." in done.json["notes"]
        seen.append(done.json["predictions"])
    assert seen[0] != seen[1]
    assert pellucid("explain", "deep.tif", *TINY, "--window", "0,9000", "--trust", "quick").code == 0
    assert pellucid("explain", "deep.tif", *TINY, "--window", "9000").code == 2
    assert pellucid("map", "tiny", "--frame", "1").code == 2
