"""The process for parsers: answers come back, and whatever happens to it becomes one sentence here."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.core.errors import BadModel, Missing
from pellucid.doors.worker import inspected

HERE = "tests.test_worker"
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and processor time are Linux's")


def answers(path: Path) -> object:
    print("a library that prints")
    return {"size": path.stat().st_size, "torch": "torch" in sys.modules, "cwd": "" in sys.path}


def refuses(path: Path) -> object:
    raise Missing(f"{path.name} needs a package.", "pip install it")


def fails(_: Path) -> object:
    raise ValueError("byte 7\nmore")


def crashes(_: Path) -> object:
    os.kill(os.getpid(), signal.SIGSEGV)
    return None


def hangs(_: Path) -> object:
    signal.pause()
    return None


def spins(_: Path) -> object:
    while True:
        pass


def swells(_: Path) -> object:
    return [bytearray(1 << 28) for _ in range(64)]


def writes(path: Path) -> object:
    path.with_name("trace").write_bytes(b"x" * 100)
    return None


def calls_home(path: Path) -> object:
    with socket.create_connection(("127.0.0.1", int(path.read_bytes())), timeout=1):
        return "connected"


def leaves(_: Path) -> object:
    os._exit(3)


def say(task: str, tmp_path: Path, **limits: int) -> object:
    path = tmp_path / "m.bin"
    path.write_bytes(b"1234")
    return inspected(f"{HERE}:{task}", path, **limits)


def test_an_answer_comes_back(tmp_path: Path) -> None:
    assert say("answers", tmp_path) == {"size": 4, "torch": False, "cwd": False}


def test_errors_of_ours_are_raised_here(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"m\.bin needs a package\. pip install it"):
        say("refuses", tmp_path)
    with pytest.raises(BadModel, match=r"m\.bin is damaged: ValueError: byte 7\."):
        say("fails", tmp_path)


@pytest.mark.parametrize(("task", "says"), [("crashes", "SIGSEGV"), ("leaves", "code 3")])
def test_a_crash_is_a_sentence(task: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=rf"m\.bin makes its reader crash \({says}\)"):
        say(task, tmp_path)


@pytest.mark.parametrize("task", ["hangs", pytest.param("spins", marks=linux)])
def test_what_does_not_end_is_ended(task: str, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="takes longer than 1 s"):
        say(task, tmp_path, seconds=1)


@linux
def test_memory_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="needs more than 1024 MiB"):
        say("swells", tmp_path, memory=1 << 30)


@linux
def test_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"is damaged: OSError: .*File too large"):
        say("writes", tmp_path)
    trace = tmp_path / "trace"
    assert not trace.exists() or not trace.read_bytes()


@pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode,
    reason="this system gives no process a network of its own",
)
def test_nobody_is_called(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = tmp_path / "port"
        path.write_text(str(server.getsockname()[1]))
        assert calls_home(path) == "connected"
        with pytest.raises(BadModel, match="is damaged: OSError"):
            inspected(f"{HERE}:calls_home", path)
