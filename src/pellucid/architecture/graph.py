"""The graph of a network as plain columns: whatever was opened, a tape, a file or a mere tree of modules fills it.

Nothing here knows torch.  A table of fifty thousand operations is read, checked and written in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pellucid.core.errors import BadInput

Shape: TypeAlias = tuple[int | str, ...]
Family: TypeAlias = Literal[
    "convolution", "linear", "attention", "activation", "normalization", "pooling", "shape", "arithmetic",
    "recurrent", "other", "io",
]  # fmt: skip
ROOT = 0


@dataclass(frozen=True, slots=True)
class Nodes:
    """Operations in the order of running, column by column.

    `group` is the innermost group that an operation lies in, `shape` that of its first output (None: unknown; names
    are allowed for what differs from run to run), `flops` two a multiply-add (None: unknown), `bytes` the memory that
    its outputs take anew (a view takes none), `label` a second line for a reader, `site` its address.
    """

    op: tuple[str, ...] = ()
    family: tuple[Family, ...] = ()
    group: tuple[int, ...] = ()
    shape: tuple[Shape | None, ...] = ()
    dtype: tuple[str, ...] = ()
    parameters: tuple[int, ...] = ()
    flops: tuple[int | None, ...] = ()
    bytes: tuple[int, ...] = ()
    label: tuple[str, ...] = ()
    site: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.op)


@dataclass(frozen=True, slots=True)
class Groups:
    """Runs of modules; group 0 is the network, a parent stands before its children.

    `call` counts the runs of one module, so that a module that runs twice is two groups with one path.  Numbers are
    sums over everything inside, a parameter that is used twice counted once.  `alike` is the first group with the same
    inside, itself where it is the first.
    """

    parent: tuple[int, ...]
    path: tuple[str, ...]
    call: tuple[int, ...]
    kind: tuple[str, ...]
    parameters: tuple[int, ...]
    flops: tuple[int | None, ...]
    bytes: tuple[int, ...]
    alike: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.parent)


@dataclass(frozen=True, slots=True)
class Edges:
    """What flows from one operation to another; each pair stands here once."""

    source: tuple[int, ...] = ()
    target: tuple[int, ...] = ()
    shape: tuple[Shape | None, ...] = ()

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, slots=True)
class Graph:
    """A network's operations, the modules they run in, and what flows between them.

    Raises `BadInput` when the columns do not fit together.

    >>> graph = Graph("two", "", nodes("relu", "tanh"), only_root("two", 2), Edges((0,), (1,), ((1, 3),)))
    >>> len(graph.nodes), graph.groups.path, shape_text(graph.edges.shape[0])
    (2, ('',), '1x3')
    """

    name: str
    source: str
    nodes: Nodes
    groups: Groups
    edges: Edges

    def __post_init__(self) -> None:
        for what, table in (("node", self.nodes), ("group", self.groups), ("edge", self.edges)):
            lengths = {len(getattr(table, column)) for column in table.__slots__}
            if len(lengths) > 1:
                raise BadInput(f"The columns of the {what}s have {', '.join(map(str, sorted(lengths)))} entries.")
        groups, count = self.groups, len(self.nodes)
        if not groups.parent or groups.parent[ROOT] != -1:
            raise BadInput("Group 0 of a graph is the network itself, and has no parent (-1).")
        _within("group of a node", self.nodes.group, 0, [len(groups)] * count)
        _within("parent of a group", groups.parent[1:], 0, range(1, len(groups)))
        _within("likeness of a group", groups.alike, 0, range(1, len(groups) + 1))
        _within("source of an edge", self.edges.source, 0, [count] * len(self.edges))
        _within("target of an edge", self.edges.target, 0, [count] * len(self.edges))

    @property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The groups directly inside each group."""
        found: list[list[int]] = [[] for _ in self.groups.parent]
        for group, parent in enumerate(self.groups.parent):
            if parent >= 0:
                found[parent].append(group)
        return tuple(map(tuple, found))

    @property
    def depths(self) -> tuple[int, ...]:
        """How many groups each group lies in."""
        found: list[int] = []
        for parent in self.groups.parent:
            found.append(found[parent] + 1 if parent >= 0 else 0)
        return tuple(found)

    @property
    def flowing(self) -> tuple[bool, ...]:
        """Which operations anything of an input flows into; where nothing does, which read anything."""
        found = [op == "input" for op in self.nodes.op]
        for source, target in zip(self.edges.source, self.edges.target, strict=True):
            if found[source]:
                found[target] = True
        if sum(found) == self.nodes.op.count("input"):
            for target in self.edges.target:
                found[target] = True
        return tuple(found)

    def ancestors(self, group: int) -> list[int]:
        """A group and all that it lies in, the innermost first."""
        found = []
        while group >= 0:
            found.append(group)
            group = self.groups.parent[group]
        return found

    def is_stretch(self, group: int) -> bool:
        """Is it no module, but a stretch of a long list of operations in one, whose path and run it has?"""
        parent, g = self.groups.parent[group], self.groups
        return parent >= 0 and g.path[group] == g.path[parent] and g.call[group] == g.call[parent]

    def site_of(self, group: int) -> str:
        """The address of what a group puts out."""
        call = self.groups.call[group]
        return self.groups.path[group] + (f"#{call}" if call else "")


def _within(what: str, numbers: Sequence[int], low: int, ends: Sequence[int]) -> None:
    for number, end in zip(numbers, ends, strict=True):
        if not low <= number < end:
            raise BadInput(f"The {what} is {number}, expected {low} to {end - 1}.")


def shape_text(shape: Shape | None) -> str:
    """A shape as it is drawn; empty where it is unknown.  A size that is a formula and no plain name is "?".

    >>> shape_text((1, 3, "height", 224)), shape_text(()), shape_text(None)
    ('1x3xheightx224', 'scalar', '')
    >>> shape_text(("batch", 16, "floor(height/2 - 1/2) + 1"))
    'batchx16x?'
    """
    if shape is None:
        return ""
    return "x".join("?" if isinstance(n, str) and not n.isidentifier() else str(n) for n in shape) or "scalar"


def nodes(*ops: str) -> Nodes:
    """Operations of which nothing but the name is known, all in the network itself.

    >>> nodes("relu").family
    ('other',)
    """
    n = len(ops)
    other: Family = "other"
    return Nodes(
        ops, (other,) * n, (ROOT,) * n, (None,) * n, ("",) * n, (0,) * n, (None,) * n, (0,) * n, ("",) * n, ("",) * n
    )


def only_root(kind: str, flops: int | None = None) -> Groups:
    """The groups of a network without any modules.

    >>> len(only_root("Net"))
    1
    """
    return Groups((-1,), ("",), (0,), (kind,), (0,), (flops,), (0,), (0,))
