"""A graph as JSON text and back: columns, with shapes, operations and families as numbers into tables of texts."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pellucid.architecture.graph import Edges, Graph, Groups, Nodes, Shape, shape_text
from pellucid.architecture.overlay import Measure, Overlay, Thumbnail
from pellucid.architecture.sources.families import family_of_kind
from pellucid.architecture.totals import Totals
from pellucid.core.errors import BadInput

VERSION = 1
_OTHER = ("This is not the text of a graph.", "Give what pellucid map MODEL -o map.json wrote.")


def to_text(
    graph: Graph,
    totals: Totals | None = None,
    overlay: Overlay | None = None,
    notes: Sequence[str] = (),
    show: Mapping[str, str | int | None] | None = None,
) -> str:
    """The JSON text of a graph, of its totals and of what is laid over it.

    `notes` are for a reader; `show` says how a page shows it first: "color" a measure, "depth" how far it is open.

    >>> from pellucid.architecture.graph import nodes, only_root
    >>> graph = Graph("one", "", nodes("relu"), only_root("Net"), Edges())
    >>> from_text(to_text(graph)) == graph
    True
    """
    shapes: dict[Shape, int] = {}

    def interned(column: Sequence[Shape | None]) -> list[int]:
        return [-1 if s is None else shapes.setdefault(s, len(shapes)) for s in column]

    nodes: dict[str, Any] = {c: list(getattr(graph.nodes, c)) for c in Nodes.__slots__}
    nodes["shape"] = interned(graph.nodes.shape)
    edges = {"source": list(graph.edges.source), "target": list(graph.edges.target)}
    found: dict[str, Any] = {
        "pellucid": "graph",
        "version": VERSION,
        "name": graph.name,
        "source": graph.source,
        "nodes": nodes,
        "groups": {c: list(getattr(graph.groups, c)) for c in Groups.__slots__},
        "edges": {**edges, "shape": interned(graph.edges.shape)},
        "shapes": list(map(shape_text, shapes)),
        "sizes": [list(s) for s in shapes],
        "kinds": {kind: family for kind in dict.fromkeys(graph.groups.kind) if (family := family_of_kind(kind))},
    }
    if totals is not None:
        found["totals"] = asdict(totals)
    if overlay is not None:
        found["overlay"] = _overlay(overlay)
    if notes:
        found["notes"] = list(notes)
    if show:
        found["show"] = dict(show)
    return json.dumps(found, allow_nan=False, separators=(",", ":"))


def from_text(text: str) -> Graph:
    """The graph that `to_text` wrote; raises `BadInput` for anything else."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadInput(*_OTHER) from error
    return from_data(found)


def from_data(found: Any) -> Graph:
    """The graph in such a text that is already parsed; raises `BadInput` for anything else."""
    try:
        if found["pellucid"] != "graph" or found["version"] > VERSION:
            raise BadInput(f"This is a {found['pellucid']} of version {found['version']}.", "Update Pellucid.")
        sizes = [tuple(s) for s in found["sizes"]]
        nodes, edges = dict(found["nodes"]), dict(found["edges"])
        for table in (nodes, edges):
            table["shape"] = [None if i < 0 else sizes[i] for i in table["shape"]]
        return Graph(
            found["name"],
            found["source"],
            Nodes(**{c: tuple(nodes[c]) for c in Nodes.__slots__}),
            Groups(**{c: tuple(found["groups"][c]) for c in Groups.__slots__}),
            Edges(**{c: tuple(edges[c]) for c in Edges.__slots__}),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(*_OTHER) from error


def _overlay(overlay: Overlay) -> dict[str, Any]:
    measures: Mapping[str, Measure] = overlay.measures
    return {
        "measures": {
            name: {"title": m.title, "unit": m.unit, "scale": m.scale, "nodes": _known(m.nodes),
                   "groups": _known(m.groups)}
            for name, m in measures.items()
        },
        "pictures": [{"node": node, **_thumbnail(t)} for node, t in sorted(overlay.pictures.items())],
    }  # fmt: skip


def _known(column: tuple[float | None, ...]) -> list[float | None]:
    return [v if v is not None and math.isfinite(v) else None for v in column]


def _thumbnail(t: Thumbnail) -> dict[str, Any]:
    return {**asdict(t), "pixels": base64.b64encode(t.pixels).decode("ascii")}
