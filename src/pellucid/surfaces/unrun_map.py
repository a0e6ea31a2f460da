"""The map of a file as it is written, printed and kept without torch, whose import takes longer than the map.

That is how ONNX files are mapped, and files of weights whose architecture nobody knows.
"""

from __future__ import annotations

from pathlib import Path

from pellucid.architecture.unrun import as_written, is_onnx, of_text, reading, worth_running
from pellucid.core.uncollected import uncollected

_DATA = (".json", ".dot")
_FORMS = ("", ".html", *_DATA)


def mapped(model: str, output: str | None, color: str, depth: int | None, *, as_json: bool, quiet: bool) -> bool:
    """Write and print the map where it can be had like this, for the terminal or as a file that is no picture.

    False where it cannot: nothing was written or printed then.
    """
    place = Path(output) if output else None
    if place and not _fits(place):
        return False
    try:
        path, onnx = Path(model), is_onnx(model)
    except (OSError, ValueError):  # not a name that this system knows: opening it will say so
        return False
    with uncollected():  # what a map is made of lives until it is drawn, and there is much of it to look through
        if onnx:
            return _of_onnx(path, place, color, depth, as_json=as_json, quiet=quiet)
        return _of_weights(path, place, color, depth, as_json=as_json, quiet=quiet)


def _fits(place: Path) -> bool:
    """Is it to be no picture, and no page in whose stead a picture would be written?"""
    ending = place.suffix.lower()
    if ending == ".html":
        from pellucid.render.graph.page import built

        return built() is not None
    return ending in _FORMS


def _of_onnx(
    model: Path, place: Path | None, color: str, depth: int | None, *, as_json: bool, quiet: bool
) -> bool:  # fmt: skip
    with reading(model, color, depth) as described:
        from pellucid.surfaces.deliver_map import deliver_map  # all this while the file is being read
        from pellucid.surfaces.place import writable

        if place:
            writable(place)
        text = described()
    drawn = of_text(text)
    if worth_running(drawn):
        return False
    is_data = as_json or (place is not None and place.suffix.lower() in _DATA)
    deliver_map(as_written(drawn) if is_data else drawn, place, as_json=as_json, quiet=quiet, text=text)
    return True


def _of_weights(
    model: Path, place: Path | None, color: str, depth: int | None, *, as_json: bool, quiet: bool
) -> bool:  # fmt: skip
    from pellucid.architecture.stored import of_weights

    if place:
        from pellucid.surfaces.place import writable

        writable(place)
    found = of_weights(model)
    if found is None:
        return False
    from pellucid.surfaces.deliver_map import deliver_map

    deliver_map(found.colored(color).opened(depth), place, as_json=as_json, quiet=quiet)
    return True
