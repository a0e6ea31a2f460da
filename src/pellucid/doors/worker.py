"""A process of its own for parsers of files that nobody vouches for: limited, without a network, and killable.

A parser written in C that crashes, hangs or eats the memory takes this process with it, and nothing else: the caller
gets one sentence.  It is a copy of this one where that is safe, which costs next to nothing (see `doors.forked`), else
a fresh interpreter; either imports what its task needs and no more.  Limits of memory and of processor time hold where
the system has them (Linux, macOS in part); the wall clock holds everywhere.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pellucid.core import errors
from pellucid.doors.files import printable
from pellucid.doors.forked import fork, may_fork

SECONDS = 20
MEMORY = 4 << 30
ANSWER = 256 << 20
_FILES = 64


class Work(NamedTuple):
    """What is asked: a task ("package.module:function"), the file, what else the function is told, and the limits."""

    task: str
    path: Path
    told: tuple[Any, ...] = ()
    seconds: int = SECONDS
    memory: int = MEMORY


class Heard(NamedTuple):
    """What came back: the answer as it was written, how the process ended, and whether that was for being late."""

    said: bytes
    code: int
    late: bool


def inspected(task: str, path: Path, *told: Any, seconds: int = SECONDS, memory: int = MEMORY) -> Any:
    """What `task` ("package.module:function") says about a file, as plain JSON values, asked in another process.

    The function takes the path (and what else it is `told`) and gives what JSON can hold; the errors of this package
    that it raises are raised here.  Raises `BadModel` when it crashes, runs out of memory, or takes longer than
    `seconds`.
    """
    with inspecting(task, path, *told, seconds=seconds, memory=memory) as found:
        return found()


@contextmanager
def inspecting(
    task: str, path: Path, *told: Any, seconds: int = SECONDS, memory: int = MEMORY
) -> Iterator[Callable[[], Any]]:
    """The same begun at once, for whoever has something to do meanwhile: what is given waits for the answer.

    No process outlives the block, however that is left.
    """
    work = Work(task, path.absolute(), told, seconds, memory)
    with fork(lambda out: perform(work, out), seconds) if may_fork() else _spawned(work) as heard:
        yield lambda: _answer(work, Heard(*heard(ANSWER + 1)))


@contextmanager
def _spawned(work: Work) -> Iterator[Callable[[int], tuple[bytes, int, bool]]]:
    """A fresh interpreter at work; what is given waits for at most so many bytes, and for the end."""
    import subprocess
    import threading

    late = threading.Event()
    code = "from pellucid.doors.worker import main; main()"
    asked = json.dumps([work.task, str(work.path), work.told, work.seconds, work.memory])
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "LANG", "LC_ALL")}
    more = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(  # noqa: S603 (this interpreter, with arguments of our own)
        [sys.executable, "-P", "-c", code, asked], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**kept, **more, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    ) as process:  # fmt: skip

        def stop() -> None:
            late.set()
            process.kill()

        def heard(most: int) -> tuple[bytes, int, bool]:
            assert process.stdout is not None  # noqa: S101 (asked for above)
            said = process.stdout.read(most)
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:  # it has answered, and does not end
                process.kill()
            return said, process.wait(), late.is_set()

        watch = threading.Timer(work.seconds, stop)
        watch.start()
        try:
            yield heard
        finally:
            watch.cancel()
            process.kill()


def _answer(work: Work, heard: Heard) -> Any:
    shown = printable(work.path.name)
    if heard.late or heard.code == -getattr(signal, "SIGXCPU", 24):
        raise errors.BadModel(f"{shown} takes longer than {work.seconds} s to read.", "Do not trust this file.")
    try:
        said = json.loads(heard.said[:ANSWER])
        facts, error = said.get("facts"), said.get("error")
    except (ValueError, RecursionError, AttributeError):
        code = heard.code
        name = signal.Signals(-code).name if code < 0 and -code in set(signal.Signals) else f"code {code}"
        raise errors.BadModel(
            f"{shown} makes its reader crash ({name}).", "The file is damaged or made to harm: do not trust it."
        ) from None
    if error is None:
        return facts
    kind = getattr(errors, str(error), errors.BadModel)
    raise kind(str(said.get("what")), str(said.get("hint")), str(said.get("typed") or ""))


def main() -> NoReturn:
    """What a fresh interpreter does: the work that it was given, said on what was its standard output."""
    task, path, told, seconds, memory = json.loads(sys.argv[1])
    perform(Work(task, Path(path), tuple(told), seconds, memory), os.dup(1))


def perform(work: Work, out: int) -> NoReturn:
    """Limit this process, do the task, say the result in the file `out`, and end without tidying up."""
    gc.disable()  # it would look through a growing heap again and again for what the end of the process frees anyway
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):  # libraries that print do not spoil the answer
        os.dup2(nowhere, standard)
    shown = printable(work.path.name)
    said: dict[str, Any]
    try:
        module, _, name = work.task.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        _limit(work.seconds, work.memory)
        said = {"facts": function(work.path, *work.told)}
    except errors.PellucidError as error:
        said = {"error": type(error).__name__, "what": error.what, "hint": error.hint, "typed": error.typed}
    except MemoryError:
        what = f"{shown} needs more than {work.memory >> 20} MiB to read."
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
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: whoever asked is gone
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        libc.unshare(0x10000000 | 0x40000000)  # CLONE_NEWUSER | CLONE_NEWNET: a network with nobody in it
