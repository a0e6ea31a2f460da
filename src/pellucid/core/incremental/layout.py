"""Where the changes of one job lie on every map that they pass through, worked out before anything is computed.

From it follow what has to be kept of the unchanged pass, what the job costs, and how many changes fit into a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from pellucid.core.incremental.local import Convolves, Shifts, Slides, Stays
from pellucid.core.incremental.places import Look, Places, Span, look, union
from pellucid.core.incremental.program import Node, Program
from pellucid.core.recording.step import Ref
from pellucid.core.structure import leaves

# A patch that covers more of a map than this is not worth its own bookkeeping (measured: anything from 0.6 to 0.8).
_MOST = 0.7
# Reading or writing a byte takes about as long as this many operations of arithmetic (measured on one core).
_A_BYTE = 8


@dataclass(frozen=True, slots=True)
class Way:
    """How a node is computed: on patches at `places` when there are any (by `looks`, for sliding windows), else whole.

    `widened`: its output is then put into whole maps, because it covers most of them.
    """

    places: Places | None = None
    looks: tuple[Look, Look] | None = None
    widened: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Changes at `first` of the input: a way for each node, and where each value's patches lie (None: it is whole).

    `kept` are the values of the unchanged pass that are needed; `share` is the job's cost relative to whole passes;
    `bytes` what the largest operation takes for one change.
    """

    first: Places
    ways: tuple[Way, ...]
    at: Mapping[int, Places | None]
    kept: frozenset[int]
    share: float
    bytes: int


def layout(program: Program, places: Places) -> Layout:
    """Follow changes at `places` of the input through the network.

    >>> from torch import nn, zeros
    >>> from pellucid.core.incremental.program import program
    >>> made = program(nn.Conv2d(1, 1, 3), (zeros(1, 1, 8, 8),), {}, "input")
    >>> found = layout(made, (Span((3,), 1), Span((4,), 1)))
    >>> found.ways[0].places
    (Span(starts=(1,), size=3), Span(starts=(2,), size=3))
    """
    return _Making(program, places).made()


class _Making:
    def __init__(self, program: Program, places: Places) -> None:
        self.program, self.values = program, program.tape.values
        self.kept: set[int] = set()
        self.cost = self.whole = 0.0
        self.largest = 0
        narrow = not _covers(places, self.values[program.source].shape)
        if not narrow:
            self.kept.add(program.source)
        self.at: dict[int, Places | None] = {program.source: places if narrow else None}
        self.first = places

    def made(self) -> Layout:
        ways = tuple(map(self._way, self.program.nodes))
        results = [ref.id for ref in leaves(self.program.tape.result, Ref, deep=True)]
        self._need_whole(results)
        return Layout(self.first, ways, self.at, frozenset(self.kept), self.cost / max(self.whole, 1.0), self.largest)

    def _way(self, node: Node) -> Way:
        made = [v for v in node.makes if v in self.program.changed]
        given = [v for v in node.reads if v in self.program.changed]
        self.kept.update(v for v in node.reads if v not in self.program.changed)
        way = Way()
        if node.rule is not None and all(self.at[v] is not None for v in given):
            way = self._local(node, given, made)
        else:
            self._need_whole(given)
        if way.widened:
            self.kept.update(made)
        for v in made:
            self.at[v] = None if way.widened else way.places
        self._count(node, way, given, made)
        return way

    def _need_whole(self, ids: list[int]) -> None:
        self.kept.update(v for v in ids if self.at.get(v) is not None or v not in self.program.changed)

    def _local(self, node: Node, given: list[int], made: list[int]) -> Way:
        shape = self.values[made[0]].shape
        spots = [p for v in given if (p := self.at[v]) is not None]
        rule, (rows, columns) = node.rule, spots[0]
        if isinstance(rule, Shifts):
            places = _shifted(rows, rule.down), _shifted(columns, rule.right)
            return Way(places, widened=_covers(places, shape))
        if isinstance(rule, Stays):
            places = union(tuple(p[0] for p in spots), shape[2]), union(tuple(p[1] for p in spots), shape[3])
            self.kept.update(v for v, spot in zip(given, spots, strict=True) if spot != places)
            return Way(places, widened=_covers(places, shape))
        assert isinstance(rule, Slides | Convolves)  # noqa: S101 (there are no other rules)
        if pointed(rule):
            return Way((rows, columns), widened=_covers((rows, columns), shape))
        self.kept.add(given[0])
        looks = look(rule.rows, rows), look(rule.columns, columns)
        places = looks[0].made, looks[1].made
        return Way(places, looks, _covers(places, shape))

    def _count(self, node: Node, way: Way, given: list[int], made: list[int]) -> None:
        """What a node costs: arithmetic, and bytes read and written."""
        op = node.op
        if op.flops == 0 and all(v in op.inputs for v in op.outputs):
            return
        moved = sum(self.values[v].bytes for v in (*given, *made))
        self.whole += op.flops + _A_BYTE * moved
        if way.places is None:
            self.cost += op.flops + _A_BYTE * moved
            self.largest = max(self.largest, *(self.values[v].bytes for v in (*given, *made)))
            return
        share = _area(way.places) / prod(self.values[made[0]].shape[2:])
        used = [int(self.values[v].bytes * share) for v in made]
        if way.looks is not None:
            region = self.values[given[0]]
            area = way.looks[0].region.size * way.looks[1].region.size / prod(region.shape[2:])
            used += [int(region.bytes * area)] * 3  # cut, pasted into, read
        else:
            used += [int(self.values[v].bytes * share) for v in given]
        if way.widened:
            used += [2 * self.values[v].bytes for v in made]
        self.cost += op.flops * share + _A_BYTE * sum(used)
        self.largest = max(self.largest, *used)


def pointed(rule: Slides | Convolves) -> bool:
    """Does each output see the one input at its own place?"""
    return all(r.extent == 1 and r.step == 1 and r.pad == 0 for r in (rule.rows, rule.columns))


def _area(places: Places) -> int:
    return places[0].size * places[1].size


def _covers(places: Places, shape: tuple[int, ...]) -> bool:
    return _area(places) >= _MOST * prod(shape[2:])


def _shifted(span: Span, by: int) -> Span:
    return Span(tuple(start + by for start in span.starts), span.size)
