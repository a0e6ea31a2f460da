"""What a box says and how large it is: a title, and at most two lines under it."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.architecture.graph import Graph
from pellucid.render.graph.lettering import BOLD, LINE, TITLE, amount, fitting, shortened, units
from pellucid.render.graph.outline import Outline

SIDE = 10  # points between text and the edge of a box
NARROWEST = 64
BAR, ROW, FOOT = 22, 15, 6  # heights of the title's bar, of a line, and below the last line
PICTURE = 52  # the height of a thumbnail with its margins
GROUP = "group"
CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict"})  # classes that say nothing: the name says more


@dataclass(frozen=True, slots=True)
class Content:
    """The text of a box."""

    family: str
    title: str
    lines: tuple[str, ...]
    framed: str = ""

    def sized(self, pictured: bool) -> tuple[str, str, tuple[str, ...], float, float]:
        """Family, title, lines, width and height."""
        width = _bold(self.title)
        for line in self.lines:
            width = max(width, _points(units(line) * LINE))
        height = BAR + (ROW * len(self.lines) + FOOT if self.lines else 0) + (PICTURE if pictured else 0)
        return self.family, self.title, self.lines, float(max(width + 2 * SIDE, NARROWEST)), float(height)

    @property
    def framed_width(self) -> float:
        """The least width of a frame: that of its title."""
        return float(_bold(self.framed) + 2 * SIDE)


def _points(thousandths: int) -> int:
    return -(-thousandths // 1000)


def _bold(text: str) -> int:
    return _points(units(text) * TITLE * BOLD // 100)


def node_box(graph: Graph, node: int, count: int) -> Content:
    """The box of an operation, or of `count` inputs or outputs."""
    label = graph.nodes.label[node]
    if count > 1:
        return Content(graph.nodes.family[node], shortened(f"{graph.nodes.op[node]} ×{count}"), ())
    return Content(graph.nodes.family[node], shortened(graph.nodes.op[node]), (fitting(label),) if label else ())


def group_box(tree: Outline, group: int, count: int) -> Content:
    """The box of a closed group, or of a run of `count` alike ones, and the title of its frame."""
    groups = tree.graph.groups
    name = groups.path[group].rpartition(".")[2]
    members = tree.run[group] if count > 1 else (group,)
    if count > 1:
        name = f"{name} … {groups.path[members[-1]].rpartition('.')[2]}"
    said = _kind(tree, group)
    kind = (said or name) + (f" ×{count}" if count > 1 else "")
    parameters = sum(groups.parameters[member] for member in members)
    known = bool(name and (groups.kind[group] or said not in ("", name)))  # of what has no kind the name is the title
    family, lines = GROUP, [shortened(name)] if known else []
    if tree.size[group] == 1:
        (only,) = tree.inside(group)
        family = tree.layer(group) or tree.graph.nodes.family[only]
        lines += [fitting(label)] if (label := tree.graph.nodes.label[only]) else []
    else:
        family, label = tree.layer(group) or GROUP, _weights(tree, group)
        many = f"{amount(parameters)} parameter{'s' * (parameters != 1)}" if parameters else ""
        lines += [line] if (line := fitting(label) or many) else []
    framed = f"{name} · {kind}" if known and name != kind else kind
    if said in CONTAINERS and count == 1 and name:
        kind, lines = name, [said, *lines[1:]]
    return Content(family, shortened(kind), tuple(lines), shortened(framed))


def _weights(tree: Outline, group: int) -> str:
    """The label of the one operation of a layer that reads weights, such as a convolution that pads first."""
    nodes = tree.graph.nodes
    found = [node for node in tree.inside(group) if nodes.parameters[node]] if tree.layer(group) else []
    return nodes.label[found[0]] if len(found) == 1 else ""


def _kind(tree: Outline, group: int) -> str:
    """The class of a group; where only names are known, the operation that it is, unless nothing ran."""
    kind = tree.graph.groups.kind[group]
    if kind or tree.size[group] != 1 or not len(tree.graph.edges):
        return kind
    return tree.graph.nodes.op[tree.inside(group)[0]]
