"""One level of a layout: the items of one frame, the ports in its borders, their ranks, and places for long edges.

Vertices are numbered: first the ports where edges enter, then the items in order of running, then the ports where they
leave, then a *bend* for each rank that an edge passes.  Everything runs down here; `layered` turns it to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

LONGEST_CHAIN = 16  # an edge over more ranks runs in a lane at the side instead of through every rank
BEND = 2.0  # the width that an edge takes in a rank
BOX_MARGIN, BEND_MARGIN = 10.0, 5.0
DIRECT, AROUND, ALONG = 4.0, 1.0, 8.0  # how straight an edge wants to be: between items, at its ends, on its way


@dataclass(slots=True)
class Edge:
    """An edge of one level: from one vertex to another, where it leaves and enters them, and its bends."""

    source: int
    target: int
    start: float | None  # distance of its port from the middle of the vertex; None: not decided yet
    end: float | None
    bends: list[int] = field(default_factory=list)
    lane: bool = False
    main: bool = False  # of those that come from the row above, the one that its target should stand under
    across: float = 0.0  # where its lane runs


@dataclass(slots=True)
class Level:
    """What is to be arranged, and after `arranged` the places: `x` and `y` are middles."""

    entries: int
    exits: int
    width: list[float]
    height: list[float]
    anchor: list[float]  # what stands straight below each other: the middle of a box, the main entry of a frame
    constant: list[bool]  # items that nothing flows into and that stay with their consumer
    edges: list[Edge]
    rank: list[int] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    place: list[int] = field(default_factory=list)  # position in the row
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    top: list[float] = field(default_factory=list)  # of each row
    bottom: list[float] = field(default_factory=list)
    steps: int = 0  # elementary steps taken, for the test that time is linear

    @property
    def items(self) -> range:
        """The vertices that are neither ports nor bends."""
        return range(self.entries, len(self.constant) - self.exits)


@dataclass(frozen=True, slots=True)
class Links:
    """For each vertex its neighbors in the row above (or below): which, how strongly, and the shift that is straight.

    An edge is straight when the vertex stands at the neighbor's x plus `shift`.
    """

    first: list[int]
    other: list[int]
    weight: list[float]
    shift: list[float]


def rank(level: Level) -> None:
    """Longest-path ranks; what depends on constants only comes as late as it can."""
    count = len(level.constant)
    into: list[list[int]] = [[] for _ in range(count)]
    out: list[list[int]] = [[] for _ in range(count)]
    for edge in level.edges:
        into[edge.target].append(edge.source)
        out[edge.source].append(edge.target)
    ranks = [0] * count
    floating = list(level.constant)
    first = 1 if level.entries else 0
    for v in level.items:
        ranks[v] = first
        for u in into[v]:
            ranks[v] = max(ranks[v], ranks[u] + 1)
        if into[v]:
            floating[v] = all(floating[u] for u in into[v])
    last = max((ranks[v] for v in level.items), default=0) + 1
    for v in range(count - level.exits, count):
        ranks[v] = last
    for v in reversed(level.items):
        if out[v] and (floating[v] or not into[v]):
            ranks[v] = min(ranks[w] for w in out[v]) - 1
    level.rank = ranks
    level.steps += count + 2 * len(level.edges)


def bend(level: Level) -> None:
    """Give every edge that passes ranks its bends, or a lane when it passes many; and fill the rows."""
    count = len(level.constant)
    ranks, edges = level.rank, level.edges
    for edge in edges:
        span = ranks[edge.target] - ranks[edge.source]
        edge.lane = span > LONGEST_CHAIN
        if not edge.lane:
            for r in range(ranks[edge.source] + 1, ranks[edge.target]):
                edge.bends.append(len(ranks))
                ranks.append(r)
    bends = len(ranks) - count
    level.width += [BEND] * bends
    level.height += [0.0] * bends
    level.anchor += [0.0] * bends
    ports = [BEND_MARGIN] * level.entries, [BEND_MARGIN] * level.exits
    level.margin = ports[0] + [BOX_MARGIN] * len(level.items) + ports[1] + [BEND_MARGIN] * bends
    level.rows = [[] for _ in range(max(ranks, default=-1) + 1)]
    level.place = [0] * len(ranks)
    for v, r in enumerate(ranks):
        level.place[v] = len(level.rows[r])
        level.rows[r].append(v)
    level.steps += len(ranks)


def links(level: Level, down: bool) -> Links:
    """The neighbors in the row above (`down`: as seen going down), or in the row below."""
    here: list[int] = []
    there: list[int] = []
    weight: list[float] = []
    shift: list[float] = []
    for edge in level.edges:
        if edge.lane:
            continue
        chain = [edge.source, *edge.bends, edge.target]
        for i in range(len(chain) - 1):
            start = shift_at(level, edge, True) if i == 0 else 0.0
            end = shift_at(level, edge, False) if i == len(chain) - 2 else 0.0
            here.append(chain[i + 1] if down else chain[i])
            there.append(chain[i] if down else chain[i + 1])
            weight.append(_weight(edge, i))
            shift.append(start - end if down else end - start)
    level.steps += len(here)
    return _grouped(len(level.rank), here, there, weight, shift)


def shift_at(level: Level, edge: Edge, leaving: bool) -> float:
    """Where an edge should meet its vertex, from the middle: its port, or the anchor where it is the main edge.

    Ports of main edges would make a staircase of frames whose wires leave further right than they enter.
    """
    if edge.main:
        return level.anchor[edge.source if leaving else edge.target]
    return (edge.start if leaving else edge.end) or 0.0


def _weight(edge: Edge, step: int) -> float:
    if edge.main:
        return DIRECT
    return ALONG if 0 < step < len(edge.bends) else AROUND


def _grouped(
    count: int, here: Sequence[int], there: Sequence[int], weight: Sequence[float], shift: Sequence[float]
) -> Links:
    first = [0] * (count + 1)
    for v in here:
        first[v + 1] += 1
    for v in range(count):
        first[v + 1] += first[v]
    at = first[:-1]
    found = Links(first, [0] * len(here), [0.0] * len(here), [0.0] * len(here))
    for k, v in enumerate(here):
        to = at[v]
        at[v] = to + 1
        found.other[to], found.weight[to], found.shift[to] = there[k], weight[k], shift[k]
    return found
