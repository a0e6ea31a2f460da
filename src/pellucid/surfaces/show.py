"""From a result to something to look at: files, the notebook, the browser, the terminal."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.compared.difference import Difference
from pellucid.architecture.weights import Weights
from pellucid.core.archive import SUFFIX
from pellucid.core.shown import Shown
from pellucid.render.html import fragment, page
from pellucid.render.json import json as plain
from pellucid.render.listing import listing, weights_listing
from pellucid.render.pdf import pdf
from pellucid.render.png import png
from pellucid.render.svg import svg
from pellucid.render.terminal import terminal
from pellucid.render.write import write
from pellucid.surfaces import browser
from pellucid.surfaces.deliver_map import plain_file
from pellucid.surfaces.kept import BY_CLASS
from pellucid.surfaces.place import ending_of, writable
from pellucid.surfaces.report import report
from pellucid.views.view import Fold, Heading, Stack, View


def view_of(subject: Shown, *, still: bool = False) -> View:
    """The report on a result; `still` is the part of it that fits on one picture.

    No picture goes without its trust card: one that was never tested is tested now.
    """
    return report(subject, still)


def words_of(subject: Shown, width: int) -> View:
    """The part of the report that a terminal of so many columns shows."""
    if isinstance(subject, Architecture):
        return listing(subject, width)
    view = view_of(subject)
    if isinstance(subject, Difference) and isinstance(view, Stack):  # what is folded away has no room here
        return Stack(tuple(part for part in view.views if not isinstance(part, Fold)))
    return weights_listing(view, width) if isinstance(subject, Weights) else view


def save(subject: Shown, path: str | Path) -> Path:
    """Write a result in the form that the file's ending names; raises `BadInput` for endings that there are not."""
    ending = ending_of(path, endings(type(subject)))
    if ending == SUFFIX:
        return write(path, BY_CLASS[type(subject)].to_bytes(subject))
    own = OWN.get(type(subject), {}).get(ending)
    if own is not None:
        return write(path, own(subject))
    return write(path, _WRITERS[ending](view_of(subject, still=ending in (".png", ".svg"))))


def check_place(path: str | Path, kind: type[Shown]) -> Path:
    """The path, if a result of this kind can be written there, so that nothing is computed in vain.

    Raises `BadInput` for endings that there are not, folders that are not there and names that the system refuses,
    and `PellucidError` where writing is not allowed.  Nothing is left behind.
    """
    path = Path(path)
    ending_of(path, endings(kind))
    return writable(path)


def endings(kind: type[Shown]) -> tuple[str, ...]:
    """What a result of this kind can be written as, by the endings of files' names."""
    more = (e for e in OWN.get(kind, {}) if e not in _WRITERS)
    return (*_WRITERS, *more, *((SUFFIX,) if kind in BY_CLASS else ()))


def _html(view: View) -> bytes:
    return page(view, _title(view)).encode()


def _json(view: View) -> bytes:
    import json

    return json.dumps(plain(view), ensure_ascii=False, allow_nan=False).encode()


_WRITERS: Mapping[str, Callable[[View], bytes]] = {
    ".html": _html,
    ".png": png,
    ".svg": lambda view: svg(view).encode(),
    ".json": _json,
}


def _pdf(subject: Shown) -> bytes:
    view = view_of(subject, still=True)
    return pdf(view, title=_title(view))


def _map_file(subject: Architecture, ending: str) -> bytes:
    """The map in a form of its own; where the script of the page that moves was not built, the still report."""
    data = plain_file(subject, ending)
    return _html(view_of(subject)) if data is None else data


# what some kinds of result are written as in a form of their own
OWN: Mapping[type[Shown], Mapping[str, Callable[[Any], bytes]]] = {
    Architecture: {
        **{ending: partial(_map_file, ending=ending) for ending in (".html", ".json", ".dot")},
        ".pdf": _pdf,
    },
    Difference: {".pdf": _pdf},
    Weights: {".pdf": _pdf},
}


def _title(view: View) -> str:
    head = view.views[0] if isinstance(view, Stack) and view.views else None
    return f"{head.text} (Pellucid)" if isinstance(head, Heading) else "Pellucid"


def notebook(subject: Shown) -> str:
    """What a notebook shows: a fragment whose style stays its own."""
    return fragment(view_of(subject))


def show(subject: Shown) -> None:
    """Show a result where the user is: in the notebook, in the browser, or on the terminal."""
    if _in_notebook():
        from IPython.display import HTML, display  # type: ignore[import-not-found]  # there is one, in a notebook

        display(HTML(notebook(subject)))
    elif browser.has_display():
        folder = Path(tempfile.mkdtemp(prefix="pellucid-"))
        browser.open_in_browser(save(subject, folder / "explanation.html"))
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        sys.stdout.write(terminal(words_of(subject, width), width=width, color=sys.stdout.isatty()) + "\n")


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    instance = shell.get_ipython() if shell is not None else None
    return instance is not None and "IPKernelApp" in getattr(instance, "config", {})
