"""Every error a person can meet: what happened, and what to do next.

PellucidError
BadModel       the model cannot be opened, run or differentiated
BadInput       the input does not fit the model, or cannot be read
BadTarget      the target is not something this network puts out
BadOption      an option is outside its range
Missing        a package, a file or the network that the task needs is not there
Stopped        somebody pressed stop before anything was known
"""

from __future__ import annotations

_LONGEST = 200


class PellucidError(Exception):
    """An error with `what` (the fact: what was given, what was expected) and `hint` (the next step).

    `typed` is the next step on the command line, where it is another one than in Python.  All are plain text without
    tensors in them, so that any surface can escape and show them.
    """

    def __init__(self, what: str, hint: str = "", typed: str = "") -> None:
        super().__init__(f"{what} {hint}".strip())
        self.what, self.hint, self.typed = what, hint, typed or hint


class BadModel(PellucidError):
    """The model cannot be opened, run or differentiated."""


class BadInput(PellucidError, ValueError):
    """The input does not fit the model, or the file cannot be read."""


class BadTarget(PellucidError, ValueError):
    """The target names something that this network does not put out."""


class BadOption(PellucidError, ValueError):
    """An option is unknown, of the wrong type, or outside its range."""


class Missing(PellucidError):
    """A package, a file or a network connection that the task needs is not there."""


class Stopped(PellucidError):
    """The computation was stopped before any part of its result was known."""


def first_line(error: BaseException) -> str:
    r"""What somebody else's exception says, as one sentence: its first line, or its kind where it says nothing.

    >>> first_line(ValueError("too many values\nto unpack")), first_line(KeyError())
    ('too many values.', 'KeyError.')
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = "".join(c if c.isprintable() else "?" for c in lines[0]) if lines else type(error).__name__
    return f"{said[:_LONGEST]}..." if len(said) > _LONGEST else f"{said.rstrip('. ')}."


def said(error: Exception) -> str:
    """Why something failed, as a sentence: what an error of ours says, or the words of another's.

    >>> said(BadInput("No input was given.", "Give one.")), said(RuntimeError("sizes differ"))
    ('No input was given.', 'The error was: sizes differ.')
    """
    return error.what if isinstance(error, PellucidError) else f"The error was: {first_line(error)}"
