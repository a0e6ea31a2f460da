"""A level taken apart into what is joined: each piece is arranged by itself, and all of them are put on shelves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.render.graph.level import Edge, Level


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a level as a level of its own: which vertices and edges of the whole it holds, in their order."""

    level: Level
    vertices: Sequence[int]
    edges: Sequence[int]


def pieces(level: Level) -> list[Piece]:
    """The pieces in the order of their first items; everything that ports lead to is one piece, and the first."""
    count = len(level.constant)
    near: list[list[int]] = [[] for _ in range(count)]
    for edge in level.edges:
        near[edge.source].append(edge.target)
        near[edge.target].append(edge.source)
    level.steps += count + 2 * len(level.edges)
    of = [-1] * count
    found = 0
    ports = [*range(level.entries), *range(count - level.exits, count)]
    if ports:
        _spread(ports, 0, of, near)
        found = 1
    for v in level.items:
        if of[v] < 0:
            _spread([v], found, of, near)
            found += 1
    if found <= 1:
        return [Piece(level, range(count), range(len(level.edges)))] if found else []
    return _copied(level, of, found)


def _spread(waiting: list[int], piece: int, of: list[int], near: list[list[int]]) -> None:
    """Give a number to everything that can be reached."""
    for v in waiting:
        of[v] = piece
    while waiting:
        for u in near[waiting.pop()]:
            if of[u] < 0:
                of[u] = piece
                waiting.append(u)


def _copied(level: Level, of: list[int], found: int) -> list[Piece]:
    vertices: list[list[int]] = [[] for _ in range(found)]
    edges: list[list[int]] = [[] for _ in range(found)]
    local = [0] * len(of)
    for v, piece in enumerate(of):
        local[v] = len(vertices[piece])
        vertices[piece].append(v)
    for e, edge in enumerate(level.edges):
        edges[of[edge.source]].append(e)
    return [
        Piece(_part(level, held, [level.edges[e] for e in chosen], local, k == 0), held, chosen)
        for k, (held, chosen) in enumerate(zip(vertices, edges, strict=True))
    ]


def _part(level: Level, held: list[int], edges: list[Edge], local: list[int], first: bool) -> Level:
    own = [Edge(local[e.source], local[e.target], e.start, e.end) for e in edges]
    columns = (level.width, level.height, level.anchor)
    width, height, anchor = ([column[v] for v in held] for column in columns)
    entries, exits = (level.entries, level.exits) if first else (0, 0)
    return Level(entries, exits, width, height, anchor, [level.constant[v] for v in held], own)
