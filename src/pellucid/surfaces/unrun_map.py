"""The map of an ONNX file as it is written, printed and kept without torch, whose import takes longer than the map."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pellucid.architecture.unrun import is_onnx, of_text, reading, worth_running


def mapped(model: str, output: str | None, color: str, depth: int | None, *, quiet: bool) -> bool:
    """Write and print the map where it can be had like this: of an ONNX file, for the terminal or as a page that moves.

    False where it cannot: nothing was written or printed then.
    """
    if not _fits(model, output):
        return False
    with _nothing_collected():
        return _mapped(Path(model), Path(output) if output else None, color, depth, quiet=quiet)


def _mapped(model: Path, output: Path | None, color: str, depth: int | None, *, quiet: bool) -> bool:
    with reading(model, color, depth) as described:
        from pellucid.render.graph import page  # all this while the file is being read
        from pellucid.render.terminal import terminal
        from pellucid.render.write import write
        from pellucid.surfaces import deliver
        from pellucid.surfaces.place import writable
        from pellucid.views.architecture import architecture_view

        if output:
            writable(output)
        text = described()
    found = of_text(text)
    if worth_running(found):
        return False
    if output:
        write(output, page.page(text, f"The map of {found.graph.name} (Pellucid)").encode())
    deliver.print_text(terminal(architecture_view(found), width=deliver.width(), color=sys.stdout.isatty()))
    if output:
        deliver.written(output, quiet=quiet)
    return True


def _fits(model: str, output: str | None) -> bool:
    """Is it an ONNX file, to be printed or written as a page that moves?"""
    if output and Path(output).suffix.lower() != ".html":
        return False
    try:
        fits = is_onnx(model)
    except (OSError, ValueError):  # not a name that this system knows: opening it will say so
        return False
    if fits and output:
        from pellucid.render.graph.page import built

        return built() is not None
    return fits


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """No search for garbage: what a map is made of lives until it is drawn, and there is much of it to look through."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
