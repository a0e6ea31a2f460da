"""A copy of this process at work, where copying is safe: a fork takes a millisecond, a fresh interpreter two hundred.

Safe is a process of one thread, as the command line is before it needs torch: nobody else can hold a lock in it.  macOS
has libraries that do not survive a fork, Windows has no fork.  The copy has nothing of this process open, is ended with
it, and is stopped by Ctrl-C without a word.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

_PIECE = 1 << 20


def may_fork() -> bool:
    """Is this a process of one thread, without torch, on a system where a copy of it works?"""
    if sys.platform != "linux" or "torch" in sys.modules:
        return False
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1  # also those threads that Python knows nothing of
    except OSError:
        return False


@contextmanager
def fork(work: Callable[[int], NoReturn], seconds: float) -> Iterator[Callable[[int], tuple[bytes, int, bool]]]:
    """`work` in a copy of this process, which is told the file to write its answer to.

    What is given waits for the end of the answer, at most so many bytes: the answer, the exit code (negative: the
    signal), and whether it took longer than `seconds` since it was begun.  The copy is dead when the block is left.
    """
    end = time.monotonic() + seconds
    here, there = os.pipe()
    child = os.fork()
    if not child:
        _be_copy(work, there)
    os.close(there)
    codes: list[int] = []

    def ended() -> int:
        if not codes:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)  # how a process ends is settled before its files are closed
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return codes[0]

    def heard(most: int) -> tuple[bytes, int, bool]:
        said, whole = _read(here, most, end)
        return said, ended(), not whole

    try:
        yield heard
    finally:
        ended()
        os.close(here)


def _be_copy(work: Callable[[int], NoReturn], out: int) -> NoReturn:
    """Nothing that happens here may reach the frames above, which are copies of the caller's."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.closerange(3, out)
        os.closerange(out + 1, os.sysconf("SC_OPEN_MAX"))
        sys.dont_write_bytecode = True
        work(out)
    finally:
        os._exit(1)


def _read(file: int, most: int, end: float) -> tuple[bytes, bool]:
    """What is written to a pipe until it is closed or has given `most` bytes, and whether that was before the end."""
    found: list[bytes] = []
    size = 0
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    while size < most:
        left = end - time.monotonic()
        if left <= 0 or not waiting.poll(1000 * left):
            return b"".join(found), False
        piece = os.read(file, min(_PIECE, most - size))
        if not piece:
            break
        found.append(piece)
        size += len(piece)
    return b"".join(found), True
