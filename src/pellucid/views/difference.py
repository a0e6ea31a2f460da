"""The report on two networks: what was added, removed, changed or renamed, whose weights moved, whose values agree."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.architecture.difference import Difference
from pellucid.architecture.overlay import Measure
from pellucid.views.architecture import totals_words
from pellucid.views.graph import Map
from pellucid.views.number import count
from pellucid.views.view import Cell, Columns, Fold, Heading, Heat, Stack, Table, Text, View

FEW, MANY = 24, 1000


def difference_view(found: Difference, *, still: bool = False) -> View:
    """The report; `still` is what fits on one picture."""
    a, b = _names(found)
    most = FEW if still else MANY
    views: list[View] = [
        Heading(f"From {a} to {b}", 1), Text(_lead(found), "lead"), *(Text(n, "quiet") for n in found.notes),
        _totals(found),
    ]  # fmt: skip
    views += _structure(found, most)
    if found.weights:
        views.append(_weights(found, most))
    if found.similarity.numel():
        views += _similarity(found)
    sides = ((a, found.a, changes(found, second=False)), (b, found.b, changes(found, second=True)))
    maps = Columns(
        tuple(Stack((Heading(name, 3), Map(m.graph, None, by, alt=f"The map of {name}"))) for name, m, by in sides)
    )
    return Stack((*views, maps if still else Fold("Both maps", maps)))


def changes(found: Difference, *, second: bool) -> Measure:
    """How much of each part is another one: 1 for what was added, removed or changed, else how far its weights moved.

    A weight that moved by its own length, or farther, counts as 1; a group has the largest change inside.
    """
    graph = (found.b if second else found.a).graph
    p, side = found.parts, int(second)
    whole = {*(p.added if second else p.removed), *((c.other if second else c.site) for c in p.changed)}
    moved: dict[str, float] = {}
    for w in found.weights:
        name = (w.other if second else w.name).replace("/", ".")
        for place in (name, name.rpartition(".")[0]):  # in a file a lone tensor is a part of its own
            moved[place] = max(moved.get(place, 0.0), min(1.0, 1.0 if w.relative is None else w.relative))
    known = {pair[side] for pair in p.pairs} | whole
    groups: list[float] = []
    for group in range(len(graph.groups)):
        site = graph.site_of(group)
        groups.append(1.0 if site in whole else moved.get(graph.groups.path[group], 0.0) if site in known else 0.0)
    places = zip(graph.nodes.group, graph.nodes.family, strict=True)
    nodes = tuple(None if family == "io" else groups[group] for group, family in places)
    for group in range(len(groups) - 1, 0, -1):
        parent = graph.groups.parent[group]
        groups[parent] = max(groups[parent], groups[group])
    return Measure("Change", "", nodes, tuple(groups), "share")


def _names(found: Difference) -> tuple[str, str]:
    a, b = found.a.graph.name, found.b.graph.name
    return (a, b) if a != b else (f"{a} (first)", f"{b} (second)")


def _lead(found: Difference) -> str:
    p = found.parts
    groups = ((p.added, "added"), (p.removed, "removed"), (p.changed, "changed"), (p.renamed, "renamed"))
    said = [f"{len(items)} {word}" for items, word in groups if items]
    structure = f"{', '.join(said)}, {len(p.same)} the same" if said else f"the same structure ({len(p.same)} parts)"
    moved = sum(w.largest > 0 or w.bad > 0 for w in found.weights)
    weights = f"; {moved} of {count(len(found.weights), 'shared weight')} differ" if found.weights else ""
    return f"Modules: {structure}{weights}."


def _totals(found: Difference) -> View:
    both = zip(_names(found), (found.a, found.b), strict=True)
    rows = tuple((name, totals_words(m.totals)) for name, m in both)
    return Table(("network", "in all"), rows)


def _structure(found: Difference, most: int) -> list[View]:
    p = found.parts
    tables: tuple[tuple[str, tuple[str, ...], Sequence[tuple[Cell, ...]]], ...] = (
        ("Changed", ("module", "now", "how"), [(c.site, c.other, "; ".join(c.what)) for c in p.changed]),
        ("Added", ("module",), [(site,) for site in p.added]),
        ("Removed", ("module",), [(site,) for site in p.removed]),
        ("Renamed", ("module", "now"), list(p.renamed)),
    )
    return [_cut(title, columns, rows, most) for title, columns, rows in tables if rows]


def _cut(title: str, columns: tuple[str, ...], rows: Sequence[tuple[Cell, ...]], most: int) -> Table:
    left_out = len(rows) - most
    return Table(columns, tuple(rows[:most]), f"{title} (the first {most} of {len(rows)})" if left_out > 0 else title)


def _weights(found: Difference, most: int) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (w.name, w.other if w.other != w.name else "", w.relative, w.cosine, w.largest) for w in found.weights
    ]
    columns = ("weight", "now", "relative change", "cosine", "largest change")
    return _cut("Weights, the most changed first", columns, rows, most)


def _similarity(found: Difference) -> list[View]:
    values = found.similarity.numpy()
    caption = (
        f"Rows are modules of {_names(found)[0]} from first to last, columns those of {_names(found)[1]}. "
        f"Linear CKA without bias over {count(found.samples, 'sample')} (Kornblith et al., 2019; Nguyen et al., 2021): "
        "1 where values are the same up to rotation and scale, about 0 where they have nothing in common."
    )
    heat = Heat(values, (0.0, 1.0), False, "How alike activations are", caption, alt=caption, smooth=False)
    pairs = dict(found.parts.pairs)
    there = {site: j for j, site in enumerate(found.sites_b)}
    rows = tuple(
        (site, pairs[site], float(values[i, there[pairs[site]]]))
        for i, site in enumerate(found.sites_a)
        if pairs.get(site) in there
    )
    closest = tuple((site, *_closest(values[i], found.sites_b)) for i, site in enumerate(found.sites_a))
    table = Table(("module", "now", "CKA"), rows[:FEW], "Module by module")
    both = Columns((heat, table)) if rows else heat
    return [both, Fold("What each is most like", Table(("module", "most like", "CKA"), closest))]


def _closest(row: Sequence[float], sites: Sequence[str]) -> tuple[str, float | None]:
    known = [(float(v), site) for v, site in zip(row, sites, strict=True) if v == v]
    if not known:
        return "", None
    value, site = max(known, key=lambda k: k[0])
    return site, value
