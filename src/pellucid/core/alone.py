"""Does this process run one command and end?  Then it may leave out what that command does not use."""

from __future__ import annotations

_SAID: list[bool] = []


def be_alone() -> None:
    """Say that nobody else's code runs in this process: the command line does, where it was started as a program."""
    _SAID.append(True)


def is_alone() -> bool:
    """Was that said?"""
    return bool(_SAID)
