"""Scenes and layouts: what must hold for any graph, and that Python finds what TypeScript finds (web/test)."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.architecture.graph import Graph
from pellucid.architecture.text import from_text
from pellucid.render.graph.layered import Direction, Placed, Rect, layout
from pellucid.render.graph.outline import outline
from pellucid.render.graph.scene import open_first, scene
from pellucid.render.graph.shelves import SHELF, shelves
from tests import graphs

VECTORS = sorted((Path(__file__).parent.parent / "web" / "vectors").glob("*.json"))
NASTY = {
    "residual": graphs.residual(3), "transformer": graphs.transformer(120), "u": graphs.u_shaped(9),
    "dense": graphs.dense(24), "experts": graphs.experts(12), "torn": graphs.torn(), "constants": graphs.constants(),
    "loose": graphs.loose(), "modules": graphs.modules(), "words": graphs.words(), "chain": graphs.chain(30),
    "outputs": graphs.outputs(), "weights": graphs.weights(), "many": graphs.weights(40),
}  # fmt: skip


def views(graph: Graph):
    """First, whole with runs folded, whole, and closed; down and to the right."""
    tree, every = outline(graph), range(len(graph.groups))
    for opened, unfolded in ((open_first(tree), ()), (every, ()), (every, every), ({0}, ())):
        seen = scene(tree, set(opened), set(unfolded))
        yield layout(seen, "down")
        yield layout(seen, "right")


def inside(inner: Rect, outer: Rect) -> bool:
    return (
        inner.x >= outer.x - 1e-6
        and inner.y >= outer.y - 1e-6
        and inner.x + inner.width <= outer.x + outer.width + 1e-6
        and inner.y + inner.height <= outer.y + outer.height + 1e-6
    )


def overlap(a: Rect, b: Rect) -> bool:
    apart = a.x + a.width <= b.x + 1e-6 or b.x + b.width <= a.x + 1e-6
    return not (apart or a.y + a.height <= b.y + 1e-6 or b.y + b.height <= a.y + 1e-6)


def corners(route: tuple[float, ...]) -> list[tuple[float, float]]:
    return list(zip(route[::2], route[1::2], strict=True))


def crosses(start: tuple[float, float], end: tuple[float, float], box: Rect) -> bool:
    """Does a segment enter the inside of a box (Liang and Barsky, 1984)?"""
    low, high = 0.0, 1.0
    for axis, (near, size) in enumerate(((box.x, box.width), (box.y, box.height))):
        near, far = near + 1e-3, near + size - 1e-3
        step = end[axis] - start[axis]
        if step == 0:
            if not near < start[axis] < far:
                return False
            continue
        times = sorted(((near - start[axis]) / step, (far - start[axis]) / step))
        low, high = max(low, times[0]), min(high, times[1])
    return low < high


def check(placed: Placed) -> None:
    """Everything that must hold for every layout."""
    seen = placed.scene
    whole = Rect(0, 0, placed.width, placed.height)
    for box, rect in zip(seen.boxes, placed.boxes, strict=True):
        assert (rect.width, rect.height) == pytest.approx((box.width, box.height))
        assert inside(rect, placed.frames[box.frame])
        assert inside(rect, whole)
    for frame, rect in zip(seen.frames[1:], placed.frames[1:], strict=True):
        assert inside(rect, placed.frames[frame.parent])
    for first, a in enumerate(placed.boxes):
        assert not [b for b in placed.boxes[first + 1 :] if overlap(a, b)]
        around = {seen.boxes[first].frame}
        while -1 not in around:
            around |= {seen.frames[f].parent for f in around}
        assert not [f for f, rect in enumerate(placed.frames) if f not in around and overlap(a, rect)]
    for wire, route in zip(seen.wires, placed.routes, strict=True):
        assert bool(route) is not wire.far
        if route:
            check_route(placed, wire.source, wire.target, corners(route))


def check_route(placed: Placed, source: int, target: int, points: list[tuple[float, float]]) -> None:
    """A wire leaves its source, enters its target, always runs forwards, and passes beside every box."""
    axis = 1 if placed.direction == "down" else 0
    start, end = placed.boxes[source], placed.boxes[target]
    if placed.direction == "down":
        assert points[0][1] == pytest.approx(start.y + start.height)
        assert points[-1][1] == pytest.approx(end.y)
        assert start.x <= points[0][0] <= start.x + start.width
        assert end.x <= points[-1][0] <= end.x + end.width
    else:
        assert points[0][0] == pytest.approx(start.x + start.width)
        assert points[-1][0] == pytest.approx(end.x)
    assert all(a[axis] <= b[axis] + 1e-6 for a, b in pairwise(points))
    for a, b in pairwise(points):
        assert not [box for box in placed.boxes if crosses(a, b, box)]


@pytest.mark.parametrize("name", NASTY)
def test_nothing_overlaps_and_every_wire_runs_forwards_beside_the_boxes(name: str):
    for placed in views(NASTY[name]):
        check(placed)


@given(st.integers(0, 10**6))
def test_nothing_overlaps_in_random_graphs(seed: int):
    for placed in views(graphs.wild(seed, 30)):
        check(placed)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vectors_are_what_both_languages_find(path: Path):
    vector = json.loads(path.read_text(encoding="utf-8"))
    tree = outline(from_text(json.dumps(vector["graph"])))
    assert sorted(open_first(tree)) == vector["first"]
    assert sorted(open_first(tree, 12)) == vector["few"]
    for view in vector["views"]:
        seen = scene(tree, set(view["opened"]), set(view["unfolded"]), set(view["pictured"]))
        assert [[w.source, w.target, w.count, w.shape, w.far] for w in seen.wires] == view["scene"]["wires"]
        placed = layout(seen, view["direction"], view["wide"])
        flat = [v for rect in placed.boxes for v in (rect.x, rect.y, rect.width, rect.height)]
        assert flat == pytest.approx([v for rect in view["placed"]["boxes"] for v in rect], abs=1e-6)
        lines = [v for route in placed.routes for v in route]
        assert lines == pytest.approx([v for route in view["placed"]["routes"] for v in route], abs=1e-6)


def test_a_network_that_is_all_there_is_is_open_and_what_it_holds_is_as_the_budget_says():
    graph = graphs.wrapped(70)
    outer, net, first = (graph.groups.path.index(path) for path in ("outer", "outer.net", "outer.net.0"))
    assert open_first(graph) == {0, outer, net}
    assert first in open_first(graph, 300)
    two = graphs.Drawn("two")
    x = two.add("relu", "beside", two.add("conv", "beside"))
    for i in range(70):
        x = two.add("relu", f"net.{i}", two.add("conv" if i % 2 else "matmul", f"net.{i}", x))
    assert open_first(two.graph()) == {0, two.paths["beside"]}  # another group stands beside it: the budget counts


def loose(count: int) -> Graph:
    net = graphs.Drawn("loose")
    for i in range(count):
        net.add("x" * (1 + i * 7 % 20), "", label="y" * (i * 11 % 25))
    return net.graph()


@pytest.mark.parametrize("direction", ["down", "right"])
@pytest.mark.parametrize("count", [20, 90, 700])
def test_what_is_not_joined_stands_in_rows_a_little_wider_than_high(count: int, direction: Direction):
    placed = layout(scene(loose(count), {0}), direction)
    assert 1.2 < placed.width / placed.height < 1.9
    used = sum(rect.width * rect.height for rect in placed.boxes)
    spaced = sum((rect.width + SHELF) * (rect.height + SHELF) for rect in placed.boxes)
    assert placed.width * placed.height < 1.3 * spaced + 20000 < 4 * used + 40000


def test_rows_also_stand_in_an_open_group_and_are_read_in_order():
    graph = graphs.weights(12)
    every = set(range(len(graph.groups)))
    seen = scene(graph, every, every)
    placed = layout(seen)
    blocks = next(f for f, frame in enumerate(seen.frames) if frame.title.startswith("blocks"))
    assert 0.8 < placed.frames[blocks].width / placed.frames[blocks].height < 2.5
    inner = [rect for frame, rect in zip(seen.frames, placed.frames, strict=True) if frame.parent == blocks]
    assert len(inner) == 12
    assert [(r.y, r.x) for r in inner] == sorted((r.y, r.x) for r in inner)


def test_what_is_higher_than_all_others_has_a_row_of_its_own():
    places, (width, height) = shelves([(60, 40), (300, 6000), (60, 40), (60, 40)])
    assert [y for _, y in places] == [0, 40 + SHELF, 6040 + 2 * SHELF, 6040 + 2 * SHELF]
    assert (width, height) == (300, 6080 + 2 * SHELF)


def test_what_is_not_joined_takes_linear_time():
    steps = [layout(scene(loose(count), {0})).steps / count for count in (500, 1000, 2000, 4000)]
    assert max(steps) < 1.1 * min(steps)


def test_time_is_linear():
    """Twice the operations take twice the steps: with everything open, and with a mask that feeds every layer."""
    steps = []
    for operations in (500, 1000, 2000, 4000):
        graph = graphs.transformer(operations)
        every = range(len(graph.groups))
        steps.append(layout(scene(graph, set(every), set(every))).steps / len(graph.nodes))
    assert max(steps) < 1.1 * min(steps)


def test_the_whole_network_is_seen_in_about_sixty_boxes():
    for graph in (graphs.transformer(3000), graphs.residual(40), *NASTY.values()):
        opened = open_first(graph)
        assert len(scene(graph, opened).boxes) <= max(60, len(scene(graph, {0}).boxes))
        assert all(graph.groups.parent[group] in opened for group in opened - {0})
    assert len(scene(graphs.transformer(3000), open_first(graphs.transformer(3000))).boxes) > 30


@pytest.mark.parametrize("name", sorted(NASTY.keys() - {"outputs"}))
def test_with_everything_open_each_edge_is_one_wire(name: str):
    graph = NASTY[name]
    every = set(range(len(graph.groups)))
    seen = scene(graph, every, every)
    if len(graph.nodes):
        assert len(seen.boxes) == len(graph.nodes)  # a module with one operation is drawn as that
    edges = {(s, t) for s, t in zip(graph.edges.source, graph.edges.target, strict=True) if s != t}
    first = [outline(graph).inside(box.index)[0] if box.kind == "group" and len(graph.nodes) else box.index
             for box in seen.boxes]  # fmt: skip
    assert {(first[w.source], first[w.target]) for w in seen.wires} == edges


def test_alike_blocks_in_a_row_are_one_box_or_one_frame():
    graph = graphs.transformer(200)
    layers = graph.groups.path.index("layers")
    count = sum(parent == layers for parent in graph.groups.parent)
    (run,) = [box for box in scene(graph, {0, layers}).boxes if box.kind == "run"]
    assert (run.count, run.title) == (count, f"Block ×{count}")
    first = graph.groups.path.index("layers.0")
    opened = scene(graph, {0, layers, first})
    (frame,) = [frame for frame in opened.frames if frame.group == first]
    assert frame.count == count
    (head,) = [b for b, box in enumerate(opened.boxes) if box.title == "Head"]
    (last,) = [wire.source for wire in opened.wires if wire.target == head]
    assert opened.boxes[last].title == "Add"  # what the last of them gives stands for comes out of the first
    every = scene(graph, {0, layers}, {first})
    assert sum(box.title == "Block" for box in every.boxes) == count


def test_many_outputs_in_a_row_are_one_box():
    net = graphs.Drawn("many")
    x = net.add("relu", "", net.add("input", ""))
    outputs = [net.add("output", "", x) for _ in range(9)]
    seen = scene(net.graph(), {0})
    assert [(box.title, box.index, box.count) for box in seen.boxes][2:] == [("output ×9", outputs[0], 9)]
    assert [(wire.source, wire.target) for wire in seen.wires] == [(0, 1), (1, 2)]
    few = graphs.Drawn("few")
    few.add("output", "", few.add("input", ""), few.add("input", ""), few.add("input", ""))
    assert [box.count for box in scene(few.graph(), {0}).boxes] == [1, 1, 1, 1]


def test_blocks_beside_each_other_are_not_taken_for_a_row():
    titles = [box.title for box in scene(graphs.experts(3), {0, 1}).boxes]
    assert titles.count("Block") == 3
    assert "Block ×12" in [box.title for box in scene(graphs.experts(12), {0, 1}).boxes]


def test_opening_a_group_leaves_other_frames_as_they_are():
    graph = graphs.transformer(150)
    tree = outline(graph)
    path = graph.groups.path.index
    opened = {0, path("layers"), path("layers.0"), path("layers.0.norm1")}
    before = layout(scene(tree, opened))
    after = layout(scene(tree, opened | {path("layers.0.mlp")}))

    def shape(placed: Placed) -> list[tuple[float, float]]:
        (f,) = [f for f, frame in enumerate(placed.scene.frames) if frame.group == path("layers.0.norm1")]
        rects = [r for b, r in zip(placed.scene.boxes, placed.boxes, strict=True) if b.frame == f]
        return [(r.x - placed.frames[f].x, r.y - placed.frames[f].y) for r in rects]

    for a, b in zip(shape(before), shape(after), strict=True):
        assert a == pytest.approx(b)


def test_a_residual_runs_straight_at_the_side():
    graph = graphs.residual(2)
    every = set(range(len(graph.groups)))
    placed = layout(scene(graph, every, every))
    around = [
        corners(route)
        for wire, route in zip(placed.scene.wires, placed.routes, strict=True)
        if placed.scene.boxes[wire.target].title == "add" and placed.scene.boxes[wire.source].title == "relu"
    ]
    assert len(around) == 3
    for points in around:
        straight = max(b[1] - a[1] for a, b in pairwise(points) if a[0] == b[0])
        assert straight > 0.5 * (points[-1][1] - points[0][1])


def test_what_feeds_very_many_is_named_and_not_drawn():
    graph = graphs.transformer(1000)
    every = set(range(len(graph.groups)))
    far = [wire for wire in scene(graph, every, every).wires if wire.far]
    assert len(far) > 20
    assert {wire.source for wire in far} == {1}  # the mask
    assert not [wire for wire in scene(graphs.transformer(1000, masked=False), every, every).wires if wire.far]


def test_a_layout_depends_on_nothing_but_its_scene():
    seen = scene(NASTY["u"], open_first(NASTY["u"]))
    assert layout(seen) == layout(seen)
