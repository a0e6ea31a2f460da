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
WEIGHTY = (
    "attention",
    "recurrent",
    "convolution",
    "linear",
    "normalization",
    "pooling",
    "activation",
    "arithmetic",
    "shape",
    "other",
)  # families, the one that says most first
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
    if tree.graph.is_stretch(group):
        name = ""  # it has none of its own: its kind says what it holds
    elif count > 1:
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
        is_stretch = tree.graph.is_stretch(group)
        family = tree.layer(group) or (_main_family(tree, group) if is_stretch else GROUP)
        size = _amount(tree.size[group], "operation") if is_stretch else ""
        many = _amount(parameters, "parameter") if parameters else size
        lines += [line] if (line := fitting(_weights(tree, group)) or many) else []
    framed = f"{name} · {kind}" if known and name != kind else kind
    if said in CONTAINERS and count == 1 and name:
        kind, lines = name, [said, *lines[1:]]
    return Content(family, shortened(kind), tuple(lines), shortened(framed))


def _amount(number: int, what: str) -> str:
    return f"{amount(number)} {what}{'s' * (number != 1)}"


def _main_family(tree: Outline, group: int) -> str:
    """The family of what counts most in a stretch of operations, which has its color."""
    inside = {tree.graph.nodes.family[node] for node in tree.inside(group)}
    return next((family for family in WEIGHTY if family in inside), GROUP)


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
