"""Which wires are named at both ends rather than drawn: an attention mask that every layer reads, a shared constant."""

from __future__ import annotations

MANY, DEEP = 8, 12  # more consumers than this, and further down than this


def far_wires(boxes: int, wires: list[tuple[int, int]]) -> list[bool]:
    """Whether each wire is far: against the order of running, or deep down from a box with many consumers.

    >>> far_wires(2, [(0, 1), (1, 0)])
    [False, True]
    """
    fans = [0] * boxes
    depth = [0] * boxes
    for source, target in wires:  # sorted by source: every source is final when its wires come
        fans[source] += 1
        if source < target and depth[target] <= depth[source]:
            depth[target] = depth[source] + 1
    return [s > t or (fans[s] > MANY and depth[t] - depth[s] > DEEP) for s, t in wires]
