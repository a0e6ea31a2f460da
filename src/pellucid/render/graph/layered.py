"""The places of everything in a scene: our own layered layout, frame by frame from the inside out, in linear time.

Ranks by longest paths, bends where edges pass ranks, barycenters for the order (after Sugiyama, Tagawa and Toda, 1981),
least squares for the x; wires run in the gaps between ranks and never through a box.  What is not joined is arranged
piece by piece, and the pieces stand in rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pellucid.render.graph.align import align
from pellucid.render.graph.compound import Part, parts
from pellucid.render.graph.lanes import lanes
from pellucid.render.graph.level import Edge, Level, bend, rank
from pellucid.render.graph.order import order, ports
from pellucid.render.graph.pieces import Piece, pieces
from pellucid.render.graph.scene import Frame, Scene
from pellucid.render.graph.shelves import WIDE, Size, spread

Direction: TypeAlias = Literal["down", "right"]
GAP = {"down": 30.0, "right": 44.0}  # between ranks
PORT_GAP = 14.0  # between the ports of a frame and what is next to them
TITLE = 24.0  # room for the title of a frame
PAD = 14.0
MARGIN = 24.0  # around the whole
NEAR = 1e-6  # closer than this is the same place


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A scene with places: a rectangle for each box and frame, and for each wire its corners x0, y0, x1, y1, ...

    Far wires have no corners.  `steps` counts elementary steps of the work.
    """

    scene: Scene
    direction: Direction
    boxes: tuple[Rect, ...]
    frames: tuple[Rect, ...]
    routes: tuple[tuple[float, ...], ...]
    width: float
    height: float
    steps: int


@dataclass(slots=True)
class _Inside:
    """A frame that is arranged: its size as seen along and across the ranks, and its ports from its middle.

    `x` and `y` are the middles of the vertices of its level.
    """

    level: Level
    x: list[float]
    y: list[float]
    across: float
    along: float
    anchor: float
    entry: dict[int, float]
    exit: dict[int, float]
    routes: list[list[float]]


def layout(scene: Scene, direction: Direction = "down", wide: float = WIDE) -> Placed:
    """Place a scene, from top to bottom ("down") or from left to right ("right").

    What is not joined stands in rows that are together about `wide` times as wide as high.

    >>> from pellucid.architecture.graph import Edges, Graph, nodes, only_root
    >>> from pellucid.render.graph.scene import scene
    >>> two = Graph("two", "", nodes("relu", "tanh"), only_root("Net"), Edges((0,), (1,), (None,)))
    >>> [(box.x, box.y) for box in layout(scene(two, {0})).boxes]
    [(24.0, 24.0), (24.0, 76.0)]
    """
    divided, ways = parts(scene)
    inside: list[_Inside | None] = [None] * len(divided)
    for f in range(len(divided) - 1, -1, -1):
        inside[f] = _arranged(scene, f, divided[f], inside, direction, wide)
    done = [one for one in inside if one is not None]
    boxes, frames = _absolute(scene, divided, done)
    routes = [_joined(way, done, frames) for way in ways]
    steps = sum(one.level.steps for one in done) + len(scene.boxes) + sum(map(len, ways))
    if direction == "right":
        boxes, frames = [_turned(b) for b in boxes], [_turned(f) for f in frames]
        routes = [[v for k in range(0, len(r), 2) for v in (r[k + 1], r[k])] for r in routes]
    whole = frames[0]
    lines = tuple(map(tuple, routes))
    return Placed(scene, direction, tuple(boxes), tuple(frames), lines, whole.width, whole.height, steps)


def _turned(rect: Rect) -> Rect:
    return Rect(rect.y, rect.x, rect.height, rect.width)


def _arranged(
    scene: Scene, f: int, part: Part, inside: list[_Inside | None], direction: Direction, wide: float
) -> _Inside:
    level = _level(scene, part, inside, direction)
    held = pieces(level)
    sizes = [_settled(piece.level, direction) for piece in held]
    level.steps += len(sizes)
    places, size = spread(sizes, bool(level.entries or level.exits), direction == "down", wide)
    return _framed(level, list(zip(held, places, strict=True)), size, part, scene.frames[f] if f else None, direction)


def _settled(level: Level, direction: Direction) -> Size:
    """Arrange what is joined, from (0, 0) on; gives its size across and along."""
    if len(level.constant) == 1 and len(level.items) == 1:
        level.rank, level.x, level.y = [0], [level.width[0] / 2], [level.height[0] / 2]
        level.steps += 1
        return level.width[0], level.height[0]
    rank(level)
    bend(level)
    order(level)
    ports(level)
    align(level)
    lanes(level)
    low = min(x - w / 2 for x, w in zip(level.x, level.width, strict=True))
    high = max(x + w / 2 for x, w in zip(level.x, level.width, strict=True))
    high = max([high, *(edge.across for edge in level.edges if edge.lane)])
    level.x = [x - low for x in level.x]
    for edge in level.edges:
        edge.across -= low
    return high - low, _rows(level, direction)


def _level(scene: Scene, part: Part, inside: list[_Inside | None], direction: Direction) -> Level:
    entries, items, exits = len(part.entries), part.items, len(part.exits)
    width, height, anchor = [0.0] * entries, [0.0] * entries, [0.0] * entries
    for item in items:
        inner = inside[~item] if item < 0 else None
        anchor.append(inner.anchor if inner else 0.0)
        if inner:
            width.append(inner.across)
            height.append(inner.along)
        else:
            box = scene.boxes[item]
            width.append(box.width if direction == "down" else box.height)
            height.append(box.height if direction == "down" else box.width)
    constant = [item >= 0 and scene.boxes[item].constant for item in items]
    edges = []
    for hop in part.hops:
        start: float | None = 0.0
        end: float | None = 0.0
        if hop.source is not None and (inner := _frame_at(items, hop.source, inside)):
            start = inner.exit[hop.key]
        if hop.target is not None:
            into = _frame_at(items, hop.target, inside)
            end = into.entry[hop.key] if into else None
        source = part.entries[hop.key] if hop.source is None else entries + hop.source
        target = entries + len(items) + part.exits[hop.key] if hop.target is None else entries + hop.target
        edges.append(Edge(source, target, start, end))
    width += [0.0] * exits
    height += [0.0] * exits
    anchor += [0.0] * exits
    return Level(entries, exits, width, height, anchor, [False] * entries + constant + [False] * exits, edges)


def _frame_at(items: list[int], slot: int, inside: list[_Inside | None]) -> _Inside | None:
    return inside[~items[slot]] if items[slot] < 0 else None


def _framed(
    level: Level, held: list[tuple[Piece, Size]], size: Size, part: Part, frame: Frame | None, direction: Direction
) -> _Inside:
    """Put every piece in its place, and a border around everything."""
    before, after, left, right = _pads(frame, direction)
    title = frame.width if frame else 0.0
    across = size[0] + left + right
    spare = max(title - across, 0.0) / 2 if direction == "down" else 0.0
    across += 2 * spare
    along = before + size[1] + after
    along = max(along, title) if direction == "right" else along
    count = len(level.constant)
    found = _Inside(level, [0.0] * count, [0.0] * count, across, along, 0.0, {}, {}, [[]] * len(level.edges))
    for piece, (x, y) in held:
        _put(found, piece, left + spare + x, before + y)
    middle = across / 2
    found.entry = {key: found.x[k] - middle for key, k in part.entries.items()}
    found.exit = {key: found.x[count - level.exits + k] - middle for key, k in part.exits.items()}
    ports = found.entry or found.exit
    found.anchor = ports[max(ports)] if ports else 0.0
    return found


def _put(inside: _Inside, piece: Piece, x: float, y: float) -> None:
    """Move a piece to its place, and find the ways of its edges there."""
    own = piece.level
    for k, v in enumerate(piece.vertices):
        inside.x[v], inside.y[v] = own.x[k] + x, own.y[k] + y
    for edge, e in zip(own.edges, piece.edges, strict=True):
        inside.routes[e] = [v + (y if i % 2 else x) for i, v in enumerate(_route(own, edge))]
    if own is not inside.level:
        inside.level.steps += own.steps


def _pads(frame: Frame | None, direction: Direction) -> tuple[float, float, float, float]:
    """Room in a frame before the first row, after the last, and at both sides."""
    if frame is None:
        return MARGIN, MARGIN, MARGIN, MARGIN
    if direction == "down":
        return TITLE + PAD / 2, PAD, PAD, PAD
    return PAD, PAD, TITLE + PAD / 2, PAD


def _rows(level: Level, direction: Direction) -> float:
    """The y of every vertex; gives the lower end of the last row."""
    level.y = [0.0] * len(level.rank)
    at = 0.0
    last = len(level.rows) - 1
    for r, row in enumerate(level.rows):
        if r:
            port = (r == 1 and level.entries) or (r == last and level.exits)
            at += PORT_GAP if port else GAP[direction]
        tall = max((level.height[v] for v in row), default=0.0)
        level.top.append(at)
        level.bottom.append(at + tall)
        for v in row:
            level.y[v] = at + tall / 2
        at += tall
    return at


def _route(level: Level, edge: Edge) -> list[float]:
    """The corners of an edge: straight down beside boxes, sideways only in the gaps between rows."""
    u, v = edge.source, edge.target
    begin, end = level.x[u] + (edge.start or 0.0), level.x[v] + (edge.end or 0.0)
    first, last = level.rank[u], level.rank[v]
    found = [begin, level.y[u] + level.height[u] / 2, begin, level.bottom[first]]
    if edge.lane:
        found += [edge.across, level.top[first + 1], edge.across, level.bottom[last - 1]]
    for w in edge.bends:
        found += [level.x[w], level.top[level.rank[w]], level.x[w], level.bottom[level.rank[w]]]
    return [*found, end, level.top[last], end, level.y[v] - level.height[v] / 2]


def _absolute(scene: Scene, divided: list[Part], inside: list[_Inside]) -> tuple[list[Rect], list[Rect]]:
    boxes = [Rect(0.0, 0.0, 0.0, 0.0)] * len(scene.boxes)
    frames = [Rect(0.0, 0.0, 0.0, 0.0)] * len(scene.frames)
    frames[0] = Rect(0.0, 0.0, inside[0].across, inside[0].along)
    for f, part in enumerate(divided):
        one, around = inside[f], frames[f]
        for slot, item in enumerate(part.items):
            v = one.level.entries + slot
            width, height = one.level.width[v], one.level.height[v]
            rect = Rect(around.x + one.x[v] - width / 2, around.y + one.y[v] - height / 2, width, height)
            if item < 0:
                frames[~item] = rect
            else:
                boxes[item] = rect
    return boxes, frames


def _joined(way: list[tuple[int, int]], inside: list[_Inside], frames: list[Rect]) -> list[float]:
    """The corners of a wire through all its frames, without those that lie on a straight line."""
    found: list[float] = []
    for f, hop in way:
        around, route = frames[f], inside[f].routes[hop]
        for k in range(0, len(route), 2):
            x, y = around.x + route[k], around.y + route[k + 1]
            if found and abs(x - found[-2]) < NEAR:
                x = found[-2]
            if found and x == found[-2] and abs(y - found[-1]) < NEAR:
                continue
            if len(found) > 3 and x == found[-2] == found[-4]:
                found[-1] = y
            else:
                found += [x, y]
    return found
