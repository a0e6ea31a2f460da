"""The map of a network as a page: one file that works from disk, with everything in it and no request to anywhere."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from pellucid.render.plain import safe

POLICY = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data: blob:; "
    "worker-src blob:; base-uri 'none'; form-action 'none'"
)
_STATIC = Path(__file__).resolve().parents[1] / "static"
MISSING = "This is the drawing alone: the parts of the page that move were not built when Pellucid was installed."


@cache
def built() -> tuple[str, str] | None:
    """The script and the style of the page; None where they were not built."""
    try:
        return (_STATIC / "map.js").read_text("utf-8"), (_STATIC / "map.css").read_text("utf-8")
    except FileNotFoundError:
        return None


def page(graph_json_text: str, title: str) -> str:
    """The page of the graph that `architecture.text.to_text` wrote: pan, zoom, open, search, color, save.

    The policy in it lets exactly its own script run and forbids every request; the data are text to it, not script.
    Where the script was not built, the page is a still drawing and says so.

    >>> from pellucid.architecture.graph import Edges, Graph, nodes, only_root
    >>> from pellucid.architecture.text import to_text
    >>> text = page(to_text(Graph("<b>", "", nodes("relu"), only_root("Net"), Edges())), "<b>")
    >>> "<b>" in text
    False
    """
    assets = built()
    if assets is None:
        return _still(graph_json_text, title)
    script, style = assets
    policy = POLICY.format(script=_digest(script), style=_digest(style))
    return (
        f"{_head(title, policy)}<style>{style}</style>\n</head>\n<body>\n"
        '<div id="map"></div>\n<noscript>This map needs JavaScript, which is off.</noscript>\n'
        f'<script type="application/json" id="graph">{data(graph_json_text)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def data(json_text: str) -> str:
    r"""JSON as it can stand inside a script element: what could end it or begin a comment is written as its number.

    >>> data('{"a": "</script>"}')
    '{"a": "\\u003c/script>"}'
    """
    return json_text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _head(title: str, policy: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{safe(title)}</title>\n"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _still(graph_json_text: str, title: str) -> str:
    """The network as a drawing, without a script."""
    from pellucid.architecture.text import from_text
    from pellucid.render.map import network
    from pellucid.render.style import sheet
    from pellucid.render.svg import inline
    from pellucid.views.graph import Map

    picture = inline(network(Map(from_text(graph_json_text))), title, "picture")
    style = sheet()
    policy = f"default-src 'none'; style-src 'sha256-{_digest(style)}'; base-uri 'none'; form-action 'none'"
    return (
        f'{_head(title, policy)}<style>{style}</style>\n</head>\n<body>\n<main class="pellucid">\n'
        f"<h1>{safe(title)}</h1>\n<p>{safe(MISSING)}</p>\n{picture}\n</main>\n</body>\n</html>\n"
    )
