"""Write the vectors that hold the layout in Python and the one in TypeScript together: python web/vectors/make.py.

Each is a graph, what is open in it, and the scene and the places that both must find.
"""

from __future__ import annotations

import json
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from pellucid.architecture.graph import Graph
from pellucid.architecture.stretches.folding import folded
from pellucid.architecture.text import to_text
from pellucid.render.graph.layered import Placed, layout
from pellucid.render.graph.outline import outline
from pellucid.render.graph.scene import Scene, open_first, scene
from pellucid.render.graph.shelves import WIDE
from tests import graphs

GRAPHS = {
    "empty": graphs.Drawn("empty").graph(), "one": graphs.chain(0), "chain": graphs.chain(5),
    "residual": graphs.residual(3), "transformer": graphs.transformer(90), "u": graphs.u_shaped(7),
    "dense": graphs.dense(7), "experts": graphs.experts(9), "torn": graphs.torn(), "constants": graphs.constants(),
    "loose": graphs.loose(), "modules": graphs.modules(), "words": graphs.words(), "outputs": graphs.outputs(),
    "weights": graphs.weights(), "wrapped": graphs.wrapped(),
    "stretches": folded(graphs.flat(150))[0],
    "settings": graphs.settings(),
    **{f"wild-{seed}": graphs.wild(seed) for seed in range(4)},
}  # fmt: skip


def vector(graph: Graph) -> dict[str, Any]:
    """The graph, and several ways to look at it."""
    every = list(range(len(graph.groups)))
    first = sorted(open_first(graph))
    few = sorted(open_first(graph, 12))
    ways = [(first, [], "down"), (every, [], "down"), (every, every, "down"), (every, every, "right"),
            (few, [], "down"), ([0], [0], "right"), (every, every, "down", 0.7)]  # fmt: skip
    return {
        "graph": json.loads(to_text(graph)),
        "first": first,
        "few": few,
        "views": [view(graph, *way) for way in ways],
    }


def view(graph: Graph, opened: list[int], unfolded: list[int], direction: Any, wide: float = WIDE) -> dict[str, Any]:
    """One way to look at a graph; every third operation and group has a picture."""
    pictured = [i for i in range(-len(graph.groups), len(graph.nodes)) if i % 3 == 0]
    seen = scene(outline(graph), set(opened), set(unfolded), set(pictured))
    given = {"opened": opened, "unfolded": unfolded, "pictured": pictured, "direction": direction, "wide": wide}
    return {**given, "scene": scene_data(seen), "placed": placed_data(layout(seen, direction, wide))}


def scene_data(seen: Scene) -> dict[str, Any]:
    """A scene in rows."""
    return {name: [list(astuple(one)) for one in getattr(seen, name)] for name in ("boxes", "frames", "wires")}


def placed_data(placed: Placed) -> dict[str, Any]:
    """Places in rows, to a billionth."""
    return {
        "boxes": [[round(v, 9) for v in astuple(box)] for box in placed.boxes],
        "frames": [[round(v, 9) for v in astuple(frame)] for frame in placed.frames],
        "routes": [[round(v, 9) for v in route] for route in placed.routes],
        "steps": placed.steps,
    }


if __name__ == "__main__":
    for name, graph in GRAPHS.items():
        text = json.dumps(vector(graph), ensure_ascii=False, separators=(",", ":"))
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")
