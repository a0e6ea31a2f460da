"""The progress line: when it is drawn, what it says, and that it is gone at the end.  No clock runs here."""

from __future__ import annotations

import io

import pytest

from pellucid.core.run import Progress, Run, current
from pellucid.surfaces.progress import Bar, unstopped, watched


def screen(written: str) -> str:
    """What a terminal's line shows after that: a carriage return goes back, later letters replace earlier ones."""
    shown: list[str] = []
    at = 0
    for letter in written:
        if letter == "\r":
            at = 0
            continue
        shown[at : at + 1] = letter
        at += 1
    return "".join(shown).rstrip()


def drawn(*steps: Progress) -> io.StringIO:
    stream = io.StringIO()
    bar = Bar(stream)
    for step in steps:
        bar(step)
    return stream


def test_nothing_is_drawn_in_the_first_second():
    steps = [Progress("passes", n, 100, n / 101) for n in range(101)]
    assert drawn(*steps).getvalue() == ""


def test_the_line_says_how_far_and_how_long_still():
    line = screen(drawn(Progress("passes", 25, 100, 10.0)).getvalue())
    assert line == "[######..................] 25/100 passes, 30 s left"  # 24 marks, a quarter of them; 10 s * 75 / 25


def test_without_a_total_the_line_says_what_was_spent():
    assert screen(drawn(Progress("passes", 7, None, 3.4)).getvalue()) == "7 passes, 3 s"


@pytest.mark.parametrize("total", [10, 10_000])
def test_a_shorter_line_leaves_nothing_of_a_longer_one(total):
    first = Progress("gradient passes", 1, total, 999.0)
    assert screen(drawn(first, Progress("p", 9, total, 1.0)).getvalue()) == screen(
        drawn(Progress("p", 9, total, 1.0)).getvalue()
    )


def test_the_same_line_is_not_written_twice():
    step = Progress("passes", 25, 100, 10.0)
    assert drawn(step, step).getvalue() == drawn(step).getvalue()


def test_the_line_is_gone_at_the_end_and_when_cleared():
    steps = [Progress("passes", n, 4, float(n)) for n in range(1, 5)]
    assert screen(drawn(*steps[:-1]).getvalue()) != ""
    assert screen(drawn(*steps).getvalue()) == ""
    stream = io.StringIO()
    bar = Bar(stream)
    bar(steps[2])
    bar.clear()
    bar.clear()
    assert screen(stream.getvalue()) == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "quiet", "told"), [(Terminal, False, True), (Terminal, True, False),
                                                       (io.StringIO, False, False)])  # fmt: skip
def test_progress_is_for_terminals_that_are_not_told_to_be_quiet(stream, quiet, told, monkeypatch):
    shown = stream()
    monkeypatch.setattr("sys.stderr", shown)
    with watched(seed=3, quiet=quiet):
        assert current().seed == 3
        current().report("passes", 1, 2, -1e9)  # began long ago
        assert bool(screen(shown.getvalue())) == told
    assert screen(shown.getvalue()) == ""
    assert current() == Run()


def test_where_nothing_can_be_kept_the_first_stop_is_the_last():
    import signal

    with watched(seed=0, quiet=True, keeps=False), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_what_is_known_is_put_together_after_a_stop():
    import signal

    with watched(seed=0, quiet=True):
        signal.raise_signal(signal.SIGINT)
        assert current().stopping()
        with unstopped():
            assert not current().stopping()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
