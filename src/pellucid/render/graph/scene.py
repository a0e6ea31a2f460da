"""What is seen of a graph when some of its groups are open: boxes, the frames around them, and the wires between."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pellucid.architecture.graph import ROOT, Graph, shape_text
from pellucid.render.graph.boxes import group_box, node_box
from pellucid.render.graph.fanout import far_wires
from pellucid.render.graph.opening import open_first
from pellucid.render.graph.outline import Outline, outline

__all__ = ["Box", "Frame", "Kind", "Scene", "Wire", "open_first", "outline", "scene"]

Kind: TypeAlias = Literal["node", "group", "run"]


@dataclass(frozen=True, slots=True)
class Box:
    """A card: an operation, a closed group, or a run of `count` alike groups folded into one.

    `count` inputs or outputs of the network that stand together are one card too, with the `index` of the first.

    `index` is that of the operation, of the group, or of the first group of the run; `frame` the position of the frame
    around it.  `family` is "group" where more than one operation is inside.  `pictured`: room is left for a thumbnail.
    A `constant` stays beside what takes it.
    """

    kind: Kind
    index: int
    frame: int
    count: int
    family: str
    title: str
    lines: tuple[str, ...]
    width: float
    height: float
    pictured: bool
    constant: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """An open group, or the first of `count` alike ones that is open for all of them; frame 0 is the network."""

    group: int
    parent: int
    count: int
    title: str
    width: float


@dataclass(frozen=True, slots=True)
class Wire:
    """What flows from box to box: `count` tensors, the first of `shape`.

    A `far` wire is not drawn as a line but named at both ends: what feeds very many boxes, or flows backwards.
    """

    source: int
    target: int
    count: int
    shape: str
    far: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything to be drawn, without places."""

    boxes: tuple[Box, ...]
    frames: tuple[Frame, ...]
    wires: tuple[Wire, ...]


def scene(
    graph: Graph | Outline,
    opened: Collection[int],
    unfolded: Collection[int] = (),
    pictured: Collection[int] = (),
) -> Scene:
    """The boxes that are seen when the groups `opened` are open; a group in a closed one is not seen.

    Runs of alike groups are one box or, when their first group is open, one frame; those whose first group is in
    `unfolded` are shown one by one.  `pictured` are the items with a thumbnail (`i` an operation, `~g` a group).

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> two = Graph("two", "", nodes("relu", "tanh"), only_root("Net"), Edges((0,), (1,), ((1, 3),)))
    >>> [box.title for box in scene(two, {0}).boxes], scene(two, {0}).wires[0].shape
    (['relu', 'tanh'], '1x3')
    """
    view = _View(graph if isinstance(graph, Outline) else outline(graph), opened, unfolded, pictured)
    view.walk()
    wires = view.wires()
    far = far_wires(len(view.boxes), [(w[0], w[1]) for w in wires])
    placed = tuple(Wire(*wire, is_far) for wire, is_far in zip(wires, far, strict=True))
    return Scene(tuple(view.boxes), tuple(view.frames), placed)


class _View:
    """One walk through the hierarchy."""

    def __init__(
        self, tree: Outline, opened: Collection[int], unfolded: Collection[int], pictured: Collection[int]
    ) -> None:
        self.tree, self.opened, self.unfolded, self.pictured = tree, opened, unfolded, pictured
        self.boxes: list[Box] = []
        self.frames: list[Frame] = []
        self.of_node = [-1] * len(tree.graph.nodes)  # an operation's own box
        self.of_group = [-1] * len(tree.graph.groups)  # the box of a closed group
        self.shadow = [-1] * len(tree.graph.groups)  # a group not drawn, as the first of its run stands for it
        self.stands_for = list(range(len(tree.graph.nodes)))

    def walk(self) -> None:
        groups = self.tree.graph.groups
        self.frames.append(Frame(ROOT, -1, 1, "", 0.0))
        waiting = [(item, 0) for item in reversed(self.tree.items[ROOT])]
        while waiting:
            item, frame = waiting.pop()
            if item >= 0:
                self._node(item, frame)
                continue
            group = ~item
            count = self._count(group)
            if count and group in self.opened and self.tree.opens(group):
                inner = self._open(group, frame, count)
                waiting.extend((i, inner) for i in reversed(self.tree.items[group]))
            elif count:
                self._close(group, frame, count)
        for group in range(1, len(groups)):
            above = groups.parent[group]
            if self.of_group[group] < 0:
                self.of_group[group] = self.of_group[above]
            if self.shadow[group] < 0:
                self.shadow[group] = self.shadow[above]

    def _node(self, node: int, frame: int) -> None:
        count = self.tree.together[node]
        self.of_node[node] = len(self.boxes) if count else len(self.boxes) - 1
        if count:
            self._add("node", node, frame, count)

    def _count(self, group: int) -> int:
        """How many groups this one stands for; 0 when another stands for it."""
        leader = self.tree.leader[group]
        run = self.tree.run.get(leader, ())
        if not run or leader in self.unfolded:
            return 1
        return len(run) if group == leader else 0

    def _add(self, kind: Kind, index: int, frame: int, count: int) -> None:
        item = index if kind == "node" else ~index
        pictured = item in self.pictured
        graph = self.tree.graph
        constant = kind == "node" and graph.nodes.op[index].lower() == "constant"
        content = node_box(graph, index, count) if kind == "node" else group_box(self.tree, index, count)
        family, title, lines, width, height = content.sized(pictured)
        box = Box(kind, index, frame, count, family, title, lines, width, height, pictured, constant)
        self.boxes.append(box)

    def _close(self, group: int, frame: int, count: int) -> None:
        for member in self.tree.run[group] if count > 1 else (group,):
            self.of_group[member] = len(self.boxes)
        self._add("run" if count > 1 else "group", group, frame, count)

    def _open(self, group: int, frame: int, count: int) -> int:
        content = group_box(self.tree, group, count)
        self.frames.append(Frame(group, frame, count, content.framed, content.framed_width))
        if count > 1:
            models = self.tree.inside(group)
            for member in self.tree.run[group][1:]:
                self.shadow[member] = member
                for node, model in zip(self.tree.inside(member), models, strict=True):
                    self.stands_for[node] = model
        return len(self.frames) - 1

    def _box(self, node: int) -> int:
        """The box in which an operation is seen."""
        while self.stands_for[node] != node:
            node = self.stands_for[node]
        own = self.of_node[node]
        return own if own >= 0 else self.of_group[self.tree.graph.nodes.group[node]]

    def wires(self) -> list[tuple[int, int, int, str]]:
        """Edges between the boxes in which their ends are seen, those between the same two merged."""
        graph = self.tree.graph
        source, target, group = graph.edges.source, graph.edges.target, graph.nodes.group
        merged: dict[tuple[int, int], list[int]] = {}
        for edge in self.tree.order:
            start, end = source[edge], target[edge]
            hidden = self.shadow[group[start]]
            if (hidden >= 0 and hidden == self.shadow[group[end]]) or self._repeats(*self.tree.ends[edge]):
                continue
            key = (self._box(start), self._box(end))
            if key[0] == key[1]:
                continue
            known = merged.setdefault(key, [edge, -1, 0])
            if known[1] != self.stands_for[start]:
                known[1] = self.stands_for[start]
                known[2] += 1
        texts = ((k, count, shape_text(graph.edges.shape[edge])) for k, (edge, _, count) in sorted(merged.items()))
        return [(*key, count, text) for key, count, text in texts]

    def _repeats(self, start: int, end: int) -> bool:
        """Does an edge lead from one group of a folded run to another, which are drawn as one?"""
        if start >= 0 or end >= 0:
            return False
        leader = self.tree.leader[~start]
        return leader == self.tree.leader[~end] and len(self.tree.run.get(leader, ())) > 1 and not self._single(leader)

    def _single(self, leader: int) -> bool:
        return leader in self.unfolded
