"""Delivery: where a command's result goes, and what is printed of it.  Imports no torch until there is something."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.errors import BadInput

if TYPE_CHECKING:
    from pellucid.core.shown import Shown


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
        print_text(terminal(view_of(result), width=width(), color=sys.stdout.isatty()))
    print_text(f"\nWritten: {visible(str(path))}")
    if not quiet:
        open_in_browser(path)
    return 0


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
