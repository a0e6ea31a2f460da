"""From the names of tensors to a graph without edges: what a file of weights holds, whose architecture is unknown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pellucid.architecture.graph import ROOT, Family, Graph, shape_text
from pellucid.architecture.sources.draft import Draft, Row, Run

_SHOWN = 2  # tensors in a label
DEPTH = 32  # levels of names; what is nested deeper keeps its dots
_NUMBER, _LONG = re.compile(r"[0-9]+"), 19
_NORM = re.compile(r"(norm|bn|ln)\d*(_|$)|(^|_)(norm|bn|ln)", re.IGNORECASE)


class Named(NamedTuple):
    """A tensor as a file tells it; those of one `place` are one tensor under several names."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    place: object = None


@dataclass(slots=True)
class _Branch:
    """Names that begin alike: what lies under each next part, and the tensors that end here."""

    inner: dict[str, _Branch] = field(default_factory=dict)
    held: list[tuple[str, Named]] = field(default_factory=list)


def from_names(tensors: Iterable[Named], name: str, source: str = "") -> tuple[Graph, tuple[tuple[float, ...], ...]]:
    """The graph of tensors by their names, split at dots and slashes, and the bytes that nodes and groups take.

    Tensors that have nothing but tensors beside them, as weight and bias, are one node in the group that they share;
    others are a group each.  Numbers among names are put in order.  There are no operations, hence no edges and
    no shapes of outputs; labels are the shapes of the tensors.

    >>> filters = Named("conv.weight", (8, 3, 3, 3), "float32", 864)
    >>> found, _ = from_names([filters, Named("scale", (1,), "float32", 4)], "")
    >>> found.groups.path, found.nodes.label, found.groups.parameters
    (('', 'scale', 'conv'), ('1', '8x3x3x3'), (217, 1, 216))
    """
    root = _Branch()
    for tensor in tensors:
        *above, last = re.split(r"[./]", tensor.name, maxsplit=DEPTH)
        branch = root
        for part in above:
            inner = branch.inner.get(part)
            if inner is None:
                inner = branch.inner[part] = _Branch()
            branch = inner
        branch.held.append((last, tensor))
    draft = _Bytes(Draft(name, source))
    draft.draft.group(Run(-1, "", ""))
    draft.fill(root, ROOT, "")
    graph = draft.draft.finished()
    return graph, draft.sums(graph)


class _Bytes:
    """Fills a draft, and keeps what each node takes in the file."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.taken: list[int] = []
        self.places: dict[object, str] = {}  # those that were met, numbered

    def fill(self, branch: _Branch, group: int, path: str) -> None:
        """Add what lies under a group; its depth is bounded by that of the names."""
        if branch.held and not branch.inner and group != ROOT:
            self.node(branch.held, group, path)
            return
        held = dict(branch.held)
        for last, tensor in [(last, held[last]) for last in _in_order(held)]:
            where = f"{path}.{last}" if path else last
            self.node([("", tensor)], self.draft.group(Run(group, where, "")), where)
        for part in _in_order(branch.inner):
            where = f"{path}.{part}" if path else part
            self.fill(branch.inner[part], self.draft.group(Run(group, where, "")), where)

    def node(self, held: list[tuple[str, Named]], group: int, path: str) -> None:
        """One node for tensors that belong together, the largest first."""
        if len(held) > 1:
            held = sorted(held, key=lambda h: (-len(h[1].shape), h[0] != "weight"))
        words = [_word(last, t.shape) for last, t in held[:_SHOWN]]
        words += [f"{len(held) - _SHOWN} more"] if len(held) > _SHOWN else []
        weights, taken = dict[str, int](), 0
        for _, t in held:
            place = t.name if t.place is None else t.place
            known = self.places.get(place)
            if known is None:
                known = self.places[place] = str(len(self.places))
                taken += t.bytes
            weights[known] = math.prod(t.shape)
        first = held[0][1]
        op = ", ".join([last for last, _ in held if last]) or "tensor"
        family = _family(path, first.shape)
        self.draft.add(Row(op, group, None, first.dtype, weights, None, 0, ", ".join(words), path, family))
        self.taken.append(taken)

    def sums(self, graph: Graph) -> tuple[tuple[float, ...], ...]:
        """Bytes of nodes and of groups, a tensor of several names counted at its first."""
        groups = [0] * len(graph.groups)
        for group, size in zip(graph.nodes.group, self.taken, strict=True):
            groups[group] += size
        for group in range(len(groups) - 1, 0, -1):
            groups[graph.groups.parent[group]] += groups[group]
        return tuple(map(float, self.taken)), tuple(map(float, groups))


def _word(last: str, shape: tuple[int, ...]) -> str:
    """A tensor in a label: a weight by its shape alone, others with their name in front."""
    return shape_text(shape) if last in ("", "weight") or last.isdecimal() else f"{last} {shape_text(shape)}"


def _in_order(names: Iterable[str]) -> list[str]:
    """Names as they came; those that differ in numbers alone in the order of these, for files sort 10 before 2.

    >>> _in_order(["layer1", "layer10", "head", "layer2"])
    ['layer1', 'layer2', 'head', 'layer10']
    """
    found = list(names)
    if len(found) < 2:
        return found
    alike: dict[str, list[str]] = {}
    for name in found:
        alike.setdefault(_NUMBER.sub("0", name), []).append(name)
    waiting = {pattern: iter(sorted(held, key=_numbers)) for pattern, held in alike.items()}
    return [next(waiting[_NUMBER.sub("0", name)]) for name in found]


def _numbers(name: str) -> tuple[tuple[int, str], ...]:
    """The numbers in a name, for sorting; very long ones as they are written."""
    return tuple((int(n) if len(n) < _LONG else 0, n) for n in _NUMBER.findall(name))


def _family(path: str, shape: tuple[int, ...]) -> Family:
    """What tensors of this name and shape usually belong to: a guess, for the color alone."""
    last = path.rpartition(".")[2]
    if len(shape) >= 4:
        return "convolution"
    if _NORM.search(last) and len(shape) < 2:
        return "normalization"
    return "linear" if len(shape) == 2 else "other"
