"""Which parts of two graphs belong together: the same, changed, renamed, added or removed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from pellucid.architecture.graph import ROOT, Graph, shape_text
from pellucid.core.counts import count

Key = tuple[str, int]  # a module's path and run


@dataclass(frozen=True, slots=True)
class Part:
    """A group that directly holds operations: where it is, what it is called, what runs in it and on which sizes."""

    site: str
    kind: str
    inside: tuple[tuple[str, str, int], ...]  # operation, label, parameters
    output: str


@dataclass(frozen=True, slots=True)
class Change:
    """A part of one network and the one that stands for it, as `other`, in the second; `what` says how they differ."""

    site: str
    other: str
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Parts of two networks: `same` and `renamed` are pairs of sites, the others sites (of their own network)."""

    same: tuple[tuple[str, str], ...]
    renamed: tuple[tuple[str, str], ...]
    changed: tuple[Change, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Sites that belong together."""
        return (*self.same, *self.renamed, *((c.site, c.other) for c in self.changed))


def parts(graph: Graph) -> tuple[Part, ...]:
    """The groups of a graph that directly hold operations, in the order of running."""
    held: dict[int, list[int]] = {}
    for node, group in enumerate(graph.nodes.group):
        if graph.nodes.family[node] != "io":
            held.setdefault(group, []).append(node)
    n = graph.nodes
    return tuple(
        Part(
            graph.site_of(group),
            graph.groups.kind[group] if group != ROOT else "",
            tuple((n.op[i], n.label[i], n.parameters[i]) for i in nodes),
            shape_text(n.shape[nodes[-1]]),
        )
        for group, nodes in held.items()
    )


def align(a: Graph, b: Graph) -> Alignment:
    """Match the parts of two graphs: first those of the same place and inside, then those of the same inside in the
    same order (renamed), then those of the same place and those of the same kind in the same order (changed).  What is
    left was removed or added.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> one = Graph("one", "", nodes("relu"), only_root("Net"), Edges())
    >>> align(one, Graph("two", "", nodes("tanh"), only_root("Net"), Edges())).changed
    (Change(site='', other='', what=('operation relu, now tanh',)),)
    """
    left, right = parts(a), parts(b)
    there = {p.site: p for p in right}
    same = tuple((p.site, p.site) for p in left if p.site in there and _look(p) == _look(there[p.site]))
    known = {site for site, _ in same}
    old, new = ([p for p in side if p.site not in known] for side in (left, right))
    renamed = [(p.site, q.site) for p, q in _in_order(old, new, _look)]
    gone, come = {a for a, _ in renamed}, {b for _, b in renamed}
    old, new = [p for p in old if p.site not in gone], [p for p in new if p.site not in come]
    here = {p.site: p for p in new}
    pairs = [(p, here[p.site]) for p in old if p.site in here]
    placed = {p.site for p, _ in pairs}
    old, new = ([p for p in side if p.site not in placed] for side in (old, new))
    pairs += _in_order(old, new, _kind)
    changed = tuple(Change(p.site, q.site, tuple(_differences(p, q))) for p, q in pairs)
    gone, come = {p.site for p, _ in pairs}, {q.site for _, q in pairs}
    left_over = tuple(p.site for p in old if p.site not in gone)
    return Alignment(same, tuple(renamed), changed, left_over, tuple(p.site for p in new if p.site not in come))


def _look(p: Part) -> Hashable:
    return p.kind, p.inside


def _kind(p: Part) -> Hashable:
    return p.kind, tuple(op for op, _, _ in p.inside)


def _in_order(old: Sequence[Part], new: Sequence[Part], look: Callable[[Part], Hashable]) -> list[tuple[Part, Part]]:
    matcher = SequenceMatcher(None, [look(p) for p in old], [look(p) for p in new], autojunk=False)
    return [(old[block.a + i], new[block.b + i]) for block in matcher.get_matching_blocks() for i in range(block.size)]


def _differences(old: Part, new: Part) -> list[str]:
    said = []
    if old.kind != new.kind:
        said.append(f"{old.kind}, now {new.kind}")
    if len(old.inside) != len(new.inside):
        said.append(f"{count(len(old.inside), 'operation')}, now {len(new.inside)}")
    else:
        for (op, label, _), (new_op, new_label, _) in zip(old.inside, new.inside, strict=True):
            if op != new_op:
                said.append(f"operation {op}, now {new_op}")
            elif label != new_label:
                said.append(f"{op} {label or 'plain'}, now {new_label or 'plain'}")
    before, now = (sum(held for *_, held in side.inside) for side in (old, new))
    if not said and before != now:
        said.append(f"{before} parameters, now {now}")
    if old.output != new.output:
        said.append(f"output {old.output or 'unknown'}, now {new.output or 'unknown'}")
    return said
