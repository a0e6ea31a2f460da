"""Progress on the terminal, with the time left, for anything over a second; and Ctrl-C that keeps what is known."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, runtime_checkable

from pellucid.core.run import Progress, current, running

_BAR = 24


@runtime_checkable
class Stream(Protocol):
    """What progress is written to: a terminal, a notebook's output, a list in a test."""

    def write(self, text: str, /) -> object:
        """Take some text."""

    def flush(self) -> object:
        """Show what was taken."""


class Bar:
    """One line on a terminal that is drawn again and again, after the first second."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.shown = stream, ""

    def __call__(self, progress: Progress) -> None:
        """Draw how far the computation is."""
        if progress.seconds < 1:
            return
        line = _line(progress)
        if line != self.shown:
            self.stream.write("\r" + line.ljust(len(self.shown)))
            self.stream.flush()
            self.shown = line
        if progress.total and progress.done >= progress.total:
            self.clear()

    def clear(self) -> None:
        """Take the line away."""
        if self.shown:
            self.stream.write("\r" + " " * len(self.shown) + "\r")
            self.stream.flush()
            self.shown = ""


def _line(progress: Progress) -> str:
    if not progress.total:
        return f"{progress.done} {progress.what}, {progress.seconds:.0f} s"
    full = _BAR * progress.done // progress.total
    left = progress.seconds_left or 0.0
    return f"[{'#' * full}{'.' * (_BAR - full)}] {progress.done}/{progress.total} {progress.what}, {left:.0f} s left"


@contextmanager
def unstopped() -> Iterator[None]:
    """Run the block whether or not somebody pressed stop: what is known is put together and written."""
    with running(replace(current(), stop=None)):
        yield


@contextmanager
def watched(*, seed: int, quiet: bool, keeps: bool = True) -> Iterator[None]:
    """Run the block with a seed, progress on the terminal, and Ctrl-C as a request to stop.

    The first Ctrl-C ends the computation at the next pass and keeps what is known; the second ends the program.  Where
    no part of a result can be kept (`keeps`), the first one does.
    """
    pressed = threading.Event()
    bar = Bar(sys.stderr)
    show = bar if sys.stderr.isatty() and not quiet else None

    def stop(_signal: int, _frame: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        sys.stderr.write("\nStopping; what is known is kept. Ctrl-C again to leave at once.\n")

    heard = keeps and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, stop) if heard else None
    try:
        with running(replace(current(), seed=seed, progress=show, stop=pressed.is_set)):
            yield
    finally:
        bar.clear()
        if before is not None:
            signal.signal(signal.SIGINT, before)
