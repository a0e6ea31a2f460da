"""A network's map as plain facts for scripts.  Imports no torch, so that the map of a file is printed without it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.tree import tree


def map_facts(found: Architecture) -> dict[str, Any]:
    """The totals, the notes, what the file says about itself, and the lines of the tree.

    >>> from pellucid.architecture.graph import Edges, Graph, nodes, only_root
    >>> from pellucid.architecture.totals import totals
    >>> graph = Graph("one", "", nodes("relu"), only_root("Net"), Edges())
    >>> map_facts(Architecture(graph, totals(graph, 0, 0)))["tree"][0]["name"]
    'relu'
    """
    lines = [
        {"name": n.name, "site": found.graph.site_of(n.group), "kind": n.kind, "output": n.shape or None,
         "parameters": n.parameters, "flops": n.flops, "more_flops": n.more_flops, "count": n.count, "depth": n.depth}
        for n in tree(found.graph, found.depth)
    ]  # fmt: skip
    return {"network": found.graph.name, "totals": asdict(found.totals), "notes": list(found.notes),
            "metadata": dict(found.metadata), "tree": lines}  # fmt: skip
