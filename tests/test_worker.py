"""The process for parsers: answers come back, and whatever happens to it becomes one sentence here."""

from __future__ import annotations

import json
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
HARM = " The file is damaged or made to harm: do not trust it."
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


def looks_around(_: Path) -> object:
    return [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.exists()]


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


COPIED = f"""
import json, os, sys
from pathlib import Path
from pellucid.doors.forked import may_fork
from pellucid.doors.worker import inspected
import tests.test_worker  # so that the copies have it

def said(task, **limits):
    try:
        return inspected("{HERE}:" + task, Path(sys.argv[1]), **limits)
    except Exception as error:
        return type(error).__name__ + ": " + str(error)

assert may_fork()
before = os.listdir("/proc/self/fd")
with open(sys.argv[1]) as held:
    tasks = ("answers", "refuses", "fails", "crashes", "leaves", "writes", "looks_around")
    found = {{task: said(task) for task in tasks}}
found |= {{"spins": said("spins", seconds=1), "swells": said("swells", memory=1 << 30)}}
assert os.listdir("/proc/self/fd") == before
try:
    os.waitpid(-1, os.WNOHANG)
    found["left"] = True
except ChildProcessError:
    found["left"] = False
print(json.dumps(found))
"""


@linux
def test_a_copy_of_a_process_of_one_thread_says_the_same_and_holds_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(b"1234")
    command = [sys.executable, "-c", COPIED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    opened = found.pop("looks_around")
    assert str(path) not in opened and sum(not name.startswith(("/dev/null", "/proc")) for name in opened) == 1
    assert found.pop("answers")["torch"] is False and not found.pop("left")
    assert found == {
        "refuses": "Missing: m.bin needs a package. pip install it",
        "fails": "BadModel: m.bin is damaged: ValueError: byte 7. Copy or download it again.",
        "crashes": "BadModel: m.bin makes its reader crash (SIGSEGV)." + HARM,
        "leaves": "BadModel: m.bin makes its reader crash (code 3)." + HARM,
        "writes": "BadModel: m.bin is damaged: OSError: [Errno 27] File too large. Copy or download it again.",
        "spins": "BadModel: m.bin takes longer than 1 s to read. Do not trust this file.",
        "swells": "BadModel: m.bin needs more than 1024 MiB to read. Do not trust this file.",
    }
