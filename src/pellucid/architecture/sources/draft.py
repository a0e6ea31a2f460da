"""A graph while it is being filled: rows are added in the order of running, sums and likenesses are made at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Any, NamedTuple, TypeVar

from pellucid.architecture.graph import ROOT, Edges, Family, Graph, Groups, Nodes, Shape
from pellucid.architecture.sources.alike import alike
from pellucid.architecture.sources.families import family_of

N = TypeVar("N", int, float)


class Row(NamedTuple):
    """One operation; `weights` are the parameters that it reads, by name, each with its size."""

    op: str
    group: int
    shape: Shape | None = None
    dtype: str = ""
    weights: Mapping[str, int] = {}
    flops: int | None = None
    bytes: int = 0
    label: str = ""
    site: str = ""
    family: Family | None = None


class Run(NamedTuple):
    """One group: a run of a module."""

    parent: int
    path: str
    kind: str
    call: int = 0


@dataclass(slots=True)
class Draft:
    """A graph that grows.  `idle` are parameters that no operation reads: name, group, size."""

    name: str
    source: str = ""
    rows: list[Row] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    edges: dict[tuple[int, int], Shape | None] = field(default_factory=dict)
    idle: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, row: Row) -> int:
        """One more operation; gives its number."""
        self.rows.append(row)
        return len(self.rows) - 1

    def group(self, run: Run) -> int:
        """One more group; gives its number."""
        self.runs.append(run)
        return len(self.runs) - 1

    def edge(self, source: int, target: int, shape: Shape | None) -> None:
        """What flows from one operation to another; of several values between two the first is drawn."""
        self.edges.setdefault((source, target), shape)

    def finished(self) -> Graph:
        """The graph.  Groups in which nothing ran (dropout at rest, identities) are left out."""
        runs, moved = _without_empty(self.runs, [r.group for r in self.rows])
        rows = [r._replace(group=moved[r.group]) for r in self.rows] if len(runs) < len(self.runs) else self.rows
        nodes = _columns(rows)
        pairs = tuple(self.edges)
        edges = Edges(tuple([s for s, _ in pairs]), tuple([t for _, t in pairs]), tuple(self.edges.values()))
        parent = tuple(run.parent for run in runs)
        used = [(name, r.group, size) for r in rows for name, size in r.weights.items()]
        idle = [(name, moved[group], size) for name, group, size in self.idle]
        groups = Groups(
            parent,
            tuple(run.path for run in runs),
            tuple(run.call for run in runs),
            tuple(run.kind for run in runs),
            _each_once(parent, [*used, *idle]),
            _known_sums(parent, [(r.group, r.flops) for r in rows]),
            sums(parent, [(r.group, r.bytes) for r in rows]),
            alike(parent, [run.kind for run in runs], nodes, edges),
        )
        return Graph(self.name, self.source, nodes, groups, edges)


def _columns(rows: Sequence[Row]) -> Nodes:
    columns = zip(*rows, strict=True) if rows else repeat(())
    op, group, shape, dtype, weights, flops, bytes_, label, site, family = islice(columns, len(Row._fields))
    families = tuple([known or family_of(name) for known, name in zip(family, op, strict=True)])
    parameters = tuple([sum(read.values()) for read in weights])
    return Nodes(op, families, group, shape, dtype, parameters, flops, bytes_, label, site)


def _without_empty(runs: Sequence[Run], filled: Iterable[int]) -> tuple[list[Run], list[int]]:
    """The groups that hold something, and where each old one went: itself, or the nearest one around it."""
    held = [False] * len(runs)
    for group in filled:
        held[group] = True
    for group in range(len(runs) - 1, 0, -1):
        held[runs[group].parent] |= held[group]
    if all(held):
        return list(runs), list(range(len(runs)))
    kept: list[Run] = []
    moved: list[int] = []
    for group, run in enumerate(runs):
        if held[group] or group == ROOT:
            moved.append(len(kept))
            kept.append(run._replace(parent=moved[run.parent] if run.parent >= 0 else -1))
        else:
            moved.append(moved[run.parent])
    return kept, moved


def sums(parent: Sequence[int], numbers: Iterable[tuple[int, N]]) -> tuple[N, ...]:
    """Numbers of groups added up over everything inside each of them."""
    found: list[Any] = [0] * len(parent)
    for group, value in numbers:
        found[group] += value
    for group in range(len(parent) - 1, 0, -1):
        found[parent[group]] += found[group]
    return tuple(found)


def _known_sums(parent: Sequence[int], numbers: Sequence[tuple[int, int | None]]) -> tuple[int | None, ...]:
    """Sums of what is known; None for a group in which nothing is."""
    known = sums(parent, [(group, int(value is not None)) for group, value in numbers])
    values = sums(parent, [(group, value or 0) for group, value in numbers])
    return tuple(value if n else None for value, n in zip(values, known, strict=True))


def _each_once(parent: Sequence[int], uses: Iterable[tuple[str, int, int]]) -> tuple[int, ...]:
    """Sizes of parameters over everything inside, one that is read at several places counted once in each group."""
    places: dict[str, set[int]] = defaultdict(set)
    sizes: dict[str, int] = {}
    for name, group, size in uses:
        sizes[name] = size
        while group >= 0 and group not in places[name]:
            places[name].add(group)
            group = parent[group]
    found = [0] * len(parent)
    for name, groups in places.items():
        for group in groups:
            found[group] += sizes[name]
    return tuple(found)
