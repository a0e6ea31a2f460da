"""What every command does with its result; and how knobs are read off the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.errors import BadOption

if TYPE_CHECKING:
    from pellucid.core.shown import Shown


def deliver(result: Shown, place: Path, *, as_json: bool, quiet: bool) -> int:
    """Write a result, tell it, and open it where there is a display."""
    from pellucid.render.plain import visible
    from pellucid.render.terminal import terminal
    from pellucid.surfaces.facts import facts
    from pellucid.surfaces.progress import unstopped
    from pellucid.surfaces.show import open_in_browser, view_of

    with unstopped():
        path = result.save(place)
        if as_json:
            print_json({"written": str(path), **facts(result)})
            return 0
        print_line(terminal(view_of(result), width=width(), color=sys.stdout.isatty()))
    print_line(f"\nWritten: {visible(str(path))}")
    if not quiet:
        open_in_browser(path)
    return 0


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
    """How wide the terminal is, 120 at most."""
    import shutil

    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def print_line(text: str) -> None:
    """A line on the terminal."""
    sys.stdout.write(text + "\n")


def print_json(value: Any) -> None:
    """A value as JSON on the terminal."""
    print_line(json.dumps(value, indent=2, allow_nan=False))
