"""A process of its own for parsers of files that nobody vouches for: limited, without a network, and killable.

A parser written in C that crashes, hangs or eats the memory takes this process with it, and nothing else: the caller
gets one sentence.  The process imports what its task needs and no more, which is how it stays cheap.  Limits of memory
and of processor time hold where the system has them (Linux, macOS in part); the wall clock holds everywhere.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pellucid.core import errors
from pellucid.doors.files import printable

SECONDS = 20
MEMORY = 4 << 30
ANSWER = 256 << 20
_FILES = 64


def inspected(task: str, path: Path, *, seconds: int = SECONDS, memory: int = MEMORY) -> Any:
    """What `task` ("package.module:function") says about a file, as plain JSON values, asked in another process.

    The function takes the path and gives what JSON can hold; the errors of this package that it raises are raised here.
    Raises `BadModel` when it crashes, runs out of memory, or takes longer than `seconds`.
    """
    shown, late = printable(path.name), threading.Event()
    code = "from pellucid.doors.worker import main; main()"
    command = [sys.executable, "-P", "-c", code, task, str(path.absolute()), str(seconds), str(memory)]
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "LANG", "LC_ALL")}
    more = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(  # noqa: S603 (this interpreter, with arguments of our own)
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**kept, **more, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        watch = threading.Timer(seconds, _stop, (late, process))
        watch.start()
        answer = b""
        try:
            assert process.stdout is not None  # noqa: S101 (asked for above)
            answer = process.stdout.read(ANSWER + 1)
            process.wait(1)
        except subprocess.TimeoutExpired:  # it has answered, and does not end
            pass
        finally:
            watch.cancel()
            process.kill()
    if late.is_set() or process.returncode == -getattr(signal, "SIGXCPU", 24):
        raise errors.BadModel(f"{shown} takes longer than {seconds} s to read.", "Do not trust this file.")
    return _answer(answer, shown, process.returncode)


def _stop(late: threading.Event, process: subprocess.Popen[bytes]) -> None:
    late.set()
    process.kill()


def _answer(answer: bytes, shown: str, code: int) -> Any:
    try:
        said = json.loads(answer[:ANSWER])
        facts, error = said.get("facts"), said.get("error")
    except (ValueError, RecursionError, AttributeError):
        name = signal.Signals(-code).name if code < 0 and -code in set(signal.Signals) else f"code {code}"
        raise errors.BadModel(
            f"{shown} makes its reader crash ({name}).", "The file is damaged or made to harm: do not trust it."
        ) from None
    if error is None:
        return facts
    kind = getattr(errors, str(error), errors.BadModel)
    raise kind(str(said.get("what")), str(said.get("hint")))


def main() -> None:
    """What the process does: limit itself, do its task, and say the result on what was its standard output."""
    task, path, seconds, memory = sys.argv[1:5]
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # libraries that print do not spoil the answer
    os.dup2(nowhere, 2)
    shown = printable(Path(path).name)
    said: dict[str, Any]
    try:
        module, _, name = task.partition(":")
        function: Callable[[Path], Any] = getattr(importlib.import_module(module), name)
        _limit(int(seconds), int(memory))
        said = {"facts": function(Path(path))}
    except errors.PellucidError as error:
        said = {"error": type(error).__name__, "what": error.what, "hint": error.hint}
    except MemoryError:
        what = f"{shown} needs more than {int(memory) >> 20} MiB to read."
        said = {"error": "BadModel", "what": what, "hint": "Do not trust this file."}
    except Exception as error:  # a parser raises whatever its first failing line raises
        what = f"{shown} is damaged: {type(error).__name__}: {printable(str(error).partition(chr(10))[0])}."
        said = {"error": "BadModel", "what": what, "hint": "Copy or download it again."}
    with os.fdopen(out, "wb") as file:
        file.write(json.dumps(said).encode())
    os._exit(0)  # what a parser left behind is not worth tidying up


def _limit(seconds: int, memory: int) -> None:
    """No more than this of memory and processor time, no file written, no core; no network where that can be had."""
    try:
        import resource
    except ImportError:  # Windows: the wall clock holds
        return
    for what, most in (
        (resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, _FILES),
    ):  # fmt: skip
        try:
            hard = resource.getrlimit(what)[1]
            over = most + (what == resource.RLIMIT_CPU)  # the soft limit says why it stops
            resource.setrlimit(what, (most, over if hard == resource.RLIM_INFINITY else min(over, hard)))
        except (OSError, ValueError):  # a lower limit holds already, or this system has no such limit
            continue
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        libc.unshare(0x10000000 | 0x40000000)  # CLONE_NEWUSER | CLONE_NEWNET: a network with nobody in it
