"""The order of the vertices in each row: barycenters, swept down and up; then where edges enter each box."""

from __future__ import annotations

from pellucid.render.graph.level import Level, Links, links

SWEEPS = 4
APART, EDGE = 14.0, 10.0  # the distance of edges that enter one box, and of the outermost from its corner


def order(level: Level) -> None:
    """Put the vertices of each row where their neighbors are."""
    above, below = links(level, down=True), links(level, down=False)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in level.rows if down else reversed(level.rows):
            if len(row) > 1:
                _sort(level, row, above if down else below)
            level.steps += len(row)


def _sort(level: Level, row: list[int], near: Links) -> None:
    place, width = level.place, level.width
    wish: dict[int, float] = {}
    for v in row:
        total, count = 0.0, 0
        for k in range(near.first[v], near.first[v + 1]):
            u = near.other[k]
            total += place[u] + near.shift[k] / (width[u] + width[v])
            count += 1
        wish[v] = total / count if count else float(place[v])
        level.steps += count
    row.sort(key=lambda v: (wish[v], place[v]))
    for i, v in enumerate(row):
        place[v] = i


def ports(level: Level) -> None:
    """Edges enter a box side by side in the order in which they come; the main one enters amid."""
    entering: dict[int, list[int]] = {}
    for e, edge in enumerate(level.edges):
        entering.setdefault(edge.target, []).append(e)
    for v, found in entering.items():
        found.sort(key=lambda e: (level.edges[e].lane, level.place[_last(level, e)], e))
        main = _main(level, found)
        if main >= 0:
            level.edges[found[main]].main = True
        amid = main if main >= 0 else (len(found) - 1) // 2
        step = min(APART, (level.width[v] / 2 - EDGE) / max(amid, len(found) - 1 - amid, 1))
        for i, e in enumerate(found):
            if level.edges[e].end is None:
                level.edges[e].end = (i - amid) * step


def _last(level: Level, e: int) -> int:
    """The vertex from which an edge comes into the row of its target."""
    edge = level.edges[e]
    return edge.bends[-1] if edge.bends else edge.source


def _main(level: Level, found: list[int]) -> int:
    """The middle one of those that come from the row above, -1 for none; of two the larger item, or the later one."""
    near = [i for i, e in enumerate(found) if not level.edges[e].bends and not level.edges[e].lane]
    if not near:
        return -1
    left, right = near[(len(near) - 1) // 2], near[len(near) // 2]
    a, b = level.edges[found[left]].source, level.edges[found[right]].source
    return left if (level.height[a], a) > (level.height[b], b) else right
