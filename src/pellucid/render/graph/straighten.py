"""Columns: chains of vertices one below the other, made exactly straight where their rows have room for it."""

from __future__ import annotations

from itertools import pairwise

from pellucid.render.graph.level import Level

ROUNDS = 2  # the second finds the room that the first one made


def straighten(level: Level) -> None:
    """Move whole columns to one x; then the ports of a frame to where their wires come from or go to."""
    above, shift = _columns(level)
    below = [-1] * len(above)
    for v, u in enumerate(above):
        if u >= 0:
            below[u] = v
    for _ in range(ROUNDS):
        for row in level.rows:
            for v in row:
                if above[v] < 0 <= below[v]:
                    _straight(level, v, below, shift)
        level.steps += 2 * len(above)
    for edge in level.edges:
        if edge.bends or edge.lane:
            continue
        if edge.source < level.entries and below[edge.source] < 0:
            _move(level, edge.source, level.x[edge.target] + (edge.end or 0.0))
        elif edge.target >= len(level.constant) - level.exits and above[edge.target] < 0:
            _move(level, edge.target, level.x[edge.source] + (edge.start or 0.0))
    if level.entries and level.exits and below[level.entries - 1] < 0:
        _move(level, level.entries - 1, level.x[-level.exits])


def _columns(level: Level) -> tuple[list[int], list[float]]:
    """For each vertex the one that stands straight above it, if any, and how far beside its x that is."""
    above, shift = [-1] * len(level.rank), [0.0] * len(level.rank)
    leaving: dict[int, list[int]] = {}
    for e, edge in enumerate(level.edges):
        for u, v in pairwise(edge.bends):
            above[v] = u
        if not edge.bends and not edge.lane:
            leaving.setdefault(edge.source, []).append(e)
    for found in leaving.values():
        found.sort(key=lambda e: (level.place[level.edges[e].target], e))
        edge = level.edges[found[(len(found) - 1) // 2]]
        if edge.main:
            above[edge.target] = edge.source
            shift[edge.target] = level.anchor[edge.source] - level.anchor[edge.target]
    return above, shift


def _straight(level: Level, head: int, below: list[int], shift: list[float]) -> None:
    """Move a column, in as few straight pieces as the rows allow."""
    piece: list[int] = []
    beside: list[float] = []
    low, high, total, side, v = -float("inf"), float("inf"), 0.0, 0.0, head
    while v >= 0:
        side += shift[v] if v != head else 0.0
        least, most = _room(level, v)
        if max(low, least - side) > min(high, most - side):
            _put(level, piece, beside, low, high, total)
            piece, beside = [], []
            low, high, total, side = -float("inf"), float("inf"), 0.0, 0.0
        low, high = max(low, least - side), min(high, most - side)
        total += level.x[v] - side
        piece.append(v)
        beside.append(side)
        v = below[v]
    _put(level, piece, beside, low, high, total)


def _put(level: Level, piece: list[int], beside: list[float], low: float, high: float, total: float) -> None:
    x = min(max(total / len(piece), low), high)
    for v, side in zip(piece, beside, strict=True):
        level.x[v] = x + side


def _room(level: Level, v: int) -> tuple[float, float]:
    """How far a vertex can go to both sides before it touches its neighbors; at least where it is."""
    row, at, x = level.rows[level.rank[v]], level.place[v], level.x
    low, high = -float("inf"), float("inf")
    if at > 0:
        u = row[at - 1]
        low = min(x[v], x[u] + (level.width[u] + level.width[v]) / 2 + level.margin[u] + level.margin[v])
    if at + 1 < len(row):
        u = row[at + 1]
        high = max(x[v], x[u] - (level.width[u] + level.width[v]) / 2 - level.margin[u] - level.margin[v])
    return low, high


def _move(level: Level, v: int, to: float) -> None:
    low, high = _room(level, v)
    level.x[v] = min(max(to, low), high)
