"""Delivery: where a command's result goes, and what is printed of it.  Imports no torch until there is something."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.errors import BadInput, BadOption

if TYPE_CHECKING:
    from pellucid.core.shown import Shown

MOST = 256  # channels of one command
DRAW = "As a picture: -o map.html to move about in; or .svg, .png, .pdf."


def place_of(output: str, image: str, kind: type[Shown]) -> Path:
    """Where the result goes; raises the package's errors, before anything is run, where nothing can be written."""
    from pellucid.surfaces.show import check_place

    place = check_place(output, kind)
    if _is_file(image) and place.exists() and place.samefile(image):
        raise BadInput(f"The output {output!r} is the picture itself.", "Choose another name with --output.")
    return place


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # not a name that this system knows: reading it will say so
        return False


def deliver(result: Shown, place: Path, *, as_json: bool, quiet: bool) -> int:
    """Write a result, print it (as text, or its facts as JSON), and open what was written where there is a display."""
    from pellucid.surfaces.progress import unstopped

    with unstopped():
        path = result.save(place)
        printed(result, path, as_json=as_json)
    if not as_json:
        written(path, quiet=quiet)
    return 0


def printed(result: Shown, path: Path | None = None, *, as_json: bool) -> None:
    """Print a result as text, or its facts as JSON, with the place where it was written."""
    from pellucid.render.terminal import terminal
    from pellucid.surfaces.facts import facts
    from pellucid.surfaces.show import words_of

    if as_json:
        print_json({**({"written": str(path)} if path else {}), **facts(result)})
    else:
        print_text(terminal(words_of(result, width()), width=width(), color=sys.stdout.isatty()))


def written(path: Path, *, quiet: bool) -> None:
    """Say where a result is, and open it where there is a display."""
    from pellucid.render.plain import visible

    print_text(f"\nWritten: {visible(str(path))}")
    if not quiet:
        from pellucid.surfaces.browser import open_in_browser

        open_in_browser(path)


def numbers(text: str, what: str = "channels") -> list[int]:
    """The numbers that a list such as "0-3,7" names, in order, each once; raises `BadOption` for anything else.

    >>> numbers("0-3,7")
    [0, 1, 2, 3, 7]
    """
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 20:
            raise BadOption(f"--{what} {text!r}: {part!r} is no number.", "Write 0-15, or 3,7,12.")
        stop = int(last or first) + 1
        if stop <= int(first) or stop - int(first) > MOST:
            raise BadOption(f"--{what} {text!r}: {part!r} is no range of up to {MOST}.", "Write 0-15, or 3,7,12.")
        found += range(int(first), stop)
    found = list(dict.fromkeys(found))
    if len(found) > MOST:
        raise BadOption(f"--{what} {text!r}: {len(found)} were asked for; {MOST} at most.")
    return found


def knobs_given(option: tuple[str, ...]) -> dict[str, Any]:
    """`name=value` texts by the recipe's own declarations; raises `BadOption` before anything is run."""
    from pellucid.dream.recipe import knobs

    known, found = {o.name: o for o in knobs()}, dict[str, Any]()
    for text in option:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise BadOption(f"--option {text!r}: expected name=value.", f"Knobs of a recipe: {', '.join(known)}.")
        found[name] = known[name].parse(value)
    return found


def width() -> int:
    """How many columns the terminal has, at most 120."""
    import shutil

    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def print_text(text: str) -> None:
    """A line (or several) on the standard output."""
    sys.stdout.write(text + "\n")


def print_json(value: Any) -> None:
    """A value as JSON on the standard output."""
    print_text(json.dumps(value, indent=2, allow_nan=False))
