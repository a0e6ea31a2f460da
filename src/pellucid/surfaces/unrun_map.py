"""The map of an ONNX file as it is written, printed and kept without torch, whose import takes longer than the map."""

from __future__ import annotations

import sys
from pathlib import Path

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.unrun import is_onnx, of_onnx, worth_running
from pellucid.render.graph import page
from pellucid.render.listing import listing
from pellucid.render.plain import visible
from pellucid.render.terminal import terminal
from pellucid.render.write import write
from pellucid.surfaces.browser import open_in_browser
from pellucid.surfaces.deliver import DRAW, print_text, width
from pellucid.surfaces.place import writable


def unrun(model: str, output: str | None) -> Architecture | None:
    """The map, where it can be had like this: of an ONNX file, for the terminal or as a page that moves."""
    try:
        fits = is_onnx(model) and (not output or (Path(output).suffix.lower() == ".html" and page.built() is not None))
    except (OSError, ValueError):  # not a name that this system knows: opening it will say so
        return None
    if not fits:
        return None
    if output:
        writable(Path(output))
    found = of_onnx(Path(model))
    return None if worth_running(found) else found


def delivered(found: Architecture, output: str | None, *, quiet: bool) -> int:
    """Write the page, print the tree, and open what was written where there is a display."""
    if output:
        write(Path(output), page.page(found.text, f"The map of {found.graph.name} (Pellucid)").encode())
    print_text(terminal(listing(found, width()), width=width(), color=sys.stdout.isatty()))
    if output:
        print_text(f"\nWritten: {visible(str(output))}")
        if not quiet:
            open_in_browser(Path(output))
    else:
        print_text(f"\n{DRAW}")
    return 0
