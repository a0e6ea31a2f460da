"""Numbers laid over a graph, one column a measure, for every node and group, and small pictures of activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from pellucid.architecture.graph import Graph

Number: TypeAlias = float | None
Scale: TypeAlias = Literal["log", "linear", "share"]
Joined: TypeAlias = Literal["output", "mean", "largest"]


_SUMS = frozenset({"Parameters", "Floating-point operations", "Memory of activations", "Time", "Stored", "Numbers"})


@dataclass(frozen=True, slots=True)
class Measure:
    """One number a node and a group, None where there is none.  `scale` says how it is drawn: shares are 0 to 1.

    `joined` says what the number of a group is where numbers do not add up: that of what leaves it, or the mean or the
    largest of all inside.
    """

    title: str
    unit: str
    nodes: tuple[Number, ...]
    groups: tuple[Number, ...]
    scale: Scale = "linear"
    joined: Joined = "output"

    @property
    def adds(self) -> bool:
        """Do the numbers of parts add up to that of the whole?"""
        return self.title in _SUMS

    def together(self, members: Sequence[int], *, groups: bool) -> float | None:
        """The number of several nodes or groups: the sum where numbers add up, else the mean; None where none has one.

        >>> Measure("Time", "s", (1.0, None, 3.0), ()).together((0, 1, 2), groups=False)
        4.0
        """
        column = self.groups if groups else self.nodes
        known = [value for k in members if (value := column[k]) is not None]
        return sum(known) / (1 if self.adds else len(known)) if known else None

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest number there is; 0 and 1 where there is none, and for shares."""
        found = [v for v in (*self.nodes, *self.groups) if v is not None]
        return (0.0, 1.0) if self.scale == "share" or not found else (min(found), max(found))


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """Channels of an activation as small pictures, those first that vary most from place to place.

    `pixels` are bytes, picture after picture, row after row, [count, height, width]: 0 is `low`, 255 is `high`; where
    `signed`, 128 is zero.  `channels` are their numbers.
    """

    height: int
    width: int
    channels: tuple[int, ...]
    low: float
    high: float
    signed: bool
    pixels: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Overlay:
    """Measures by name ("flops", "time", "zeros", ...), and thumbnails by node."""

    measures: Mapping[str, Measure] = field(default_factory=dict)
    pictures: Mapping[int, Thumbnail] = field(default_factory=dict)

    def with_measures(self, more: Mapping[str, Measure]) -> Overlay:
        """The same with more measures."""
        return replace(self, measures={**self.measures, **more})


def of_structure(graph: Graph) -> Overlay:
    """What a graph itself can be colored by: parameters, FLOPs and memory.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> list(of_structure(Graph("one", "", nodes("relu"), only_root("Net"), Edges())).measures)
    ['parameters', 'memory']
    """
    nodes, groups = graph.nodes, graph.groups
    found = {
        "parameters": Measure("Parameters", "", _floats(nodes.parameters), _floats(groups.parameters), "log"),
        "flops": Measure("Floating-point operations", "", _floats(nodes.flops), _floats(groups.flops), "log"),
        "memory": Measure("Memory of activations", "B", _floats(nodes.bytes), _floats(groups.bytes), "log"),
    }
    return Overlay({name: m for name, m in found.items() if any(v is not None for v in (*m.nodes, *m.groups))})


def _floats(column: tuple[int | None, ...]) -> tuple[Number, ...]:
    return tuple(None if v is None else float(v) for v in column)
