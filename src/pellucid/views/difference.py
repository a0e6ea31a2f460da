"""The report on two networks: what was added, removed, changed or renamed, whose weights moved, whose values agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.compared.difference import Difference
from pellucid.architecture.compared.folding import Folded, folded
from pellucid.architecture.compared.layerwise import one_place
from pellucid.architecture.overlay import Measure, Overlay
from pellucid.views.architecture import short
from pellucid.views.graph import Map
from pellucid.views.number import count, number
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
    if found.layers:
        views += _layers(found, most, still)
    elif found.weights:
        views += _weights(found, most, still)
    if found.similarity.numel():
        views += _similarity(found)
    sides = ((a, found.a, changes(found, second=False)), (b, found.b, changes(found, second=True)))
    maps = [part for name, m, by in sides for part in (Heading(name, 2), _map(name, m, by))]
    return Stack((*views, *(maps if still else [Fold("Both maps", Stack(tuple(maps)))])))


def _map(name: str, found: Architecture, by: Measure) -> Map:
    drawn = replace(found, overlay=Overlay({"change": by})).folded()
    return Map(drawn.graph, None, drawn.overlay.measures["change"], alt=f"The map of {name}")


def changes(found: Difference, *, second: bool) -> Measure:
    """How much of each part is another one: 1 for what was added, removed or changed, else how far its weights moved.

    A weight that moved by its own length, or farther, counts as 1; a group has the largest change inside.
    """
    graph = (found.b if second else found.a).graph
    p, side = found.parts, int(second)
    whole = {*(p.added if second else p.removed), *((c.other if second else c.site) for c in p.changed)}
    moved: dict[str, float] = {}
    for layer in found.layers:
        place = (layer.other if second else layer.site).partition(":")[0].partition("#")[0]
        moved[place] = 0.0 if layer.rounded else min(1.0, 1.0 if layer.weights is None else layer.weights)
    for w in () if found.layers else found.weights:
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
    return Measure("Change", "", nodes, tuple(groups), "share", "largest")


def _names(found: Difference) -> tuple[str, str]:
    a, b = found.a.graph.name, found.b.graph.name
    return (a, b) if a != b else (f"{a} (first)", f"{b} (second)")


def _lead(found: Difference) -> str:
    p = found.parts
    if found.layers:
        return _layers_lead(found)
    groups = ((p.added, "added"), (p.removed, "removed"), (p.changed, "changed"), (p.renamed, "renamed"))
    said = [f"{len(items)} {word}" for items, word in groups if items]
    structure = f"{', '.join(said)}, {len(p.same)} the same" if said else f"the same structure ({len(p.same)} parts)"
    moved = sum(w.largest > 0 or w.bad > 0 for w in found.weights)
    weights = f"; {moved} of {count(len(found.weights), 'shared weight')} differ" if found.weights else ""
    return f"Modules: {structure}{weights}."


def _layers_lead(found: Difference) -> str:
    """What layers have in common, in one sentence: their number, what is folded into them, weights and values."""
    p, layers = found.parts, found.layers
    groups = ((p.added, "added"), (p.removed, "removed"), (p.changed, "changed"))
    said = [f"{len(items)} {word}" for items, word in groups if items]
    same = count(len(p.same) + len(p.renamed), "layer")
    sentence = [f"Layers: {', '.join(said)}, {same} alike" if said else f"Layers: the same structure ({same})"]
    for side, name in zip(("first", "second"), _names(found), strict=True):
        if folded_in := sum(layer.folded == side for layer in layers):
            sentence.append(f"normalization folded into {folded_in} of {name}")
    moved = sum(not layer.rounded for layer in layers)
    rounded = max((layer.weights or 0.0 for layer in layers if layer.rounded), default=0.0)
    within = f"the same but for rounding ({number(rounded)})" if rounded else "the same"
    sentence.append(f"weights of {moved} differ" if moved else f"weights {within}")
    values = [layer.values for layer in layers if layer.rounded and layer.values is not None]
    if values and not said:
        near = f" but for rounding ({number(max(values))})" if max(values) else ""
        sentence.append(f"given the same input each puts out the same{near}")
    return "; ".join(sentence) + "."


def _totals(found: Difference) -> View:
    """What both have in all, side by side."""
    a, b = found.a.totals, found.b.totals
    of_files = bool(a.tensors and b.tensors)
    more = {"FLOPs a pass": (a.more_flops, b.more_flops), "activations": (a.more_bytes, b.more_bytes)}
    rows: list[tuple[str, Sequence[float | None], str]] = [
        ("numbers" if of_files else "parameters", (a.parameters, b.parameters), ""),
        ("stored" if of_files else "taken by parameters", (a.parameter_bytes, b.parameter_bytes), "B"),
        ("FLOPs a pass", (a.flops, b.flops), ""),
        ("activations", (a.activation_bytes, b.activation_bytes), "B"),
        ("operations", (a.operations, b.operations), ""),
        ("modules", (a.modules, b.modules), ""),
        ("tensors", (a.tensors, b.tensors), ""),
    ]
    left_out = ("FLOPs a pass", "activations", "operations", "modules") if of_files else ()
    shown = tuple(
        (name, *("at least " * m + _size(v, unit) for v, m in zip(both, more.get(name, (False, False)), strict=True)))
        for name, both, unit in rows
        if any(both) and name not in left_out
    )
    return Table(("in all", *_names(found)), shown)


def _size(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{short(value)}{unit}".strip() if unit or value >= 10000 else number(value)


def _structure(found: Difference, most: int) -> list[View]:
    """What differs, once where it repeats; what holds the most parameters first."""
    known = found.folded
    tables = (
        ("Changed", known.changed, ("module", "now", "how")),
        ("Added", known.added, ("module",)),
        ("Removed", known.removed, ("module",)),
        ("Renamed", known.renamed, ("module", "now")),
    )[: 3 if found.layers else 4]  # layers are listed with their names
    out: list[View] = []
    for title, folds, columns in tables:
        times = any(f.count > 1 for f in folds)
        held = any(f.parameters for f in folds)
        rows = [_row(f, len(columns), times, held) for f in folds]
        heads = (columns[0], *(("times",) if times else ()), *columns[1:], *(("parameters",) if held else ()))
        if rows:
            out.append(_cut(title, *_without_empty(heads, rows), most))
    return out


def _row(f: Folded, columns: int, times: bool, held: bool) -> tuple[Cell, ...]:
    place, *now = f.places
    said = [place, *("" if text == place else text for text in now), "; ".join(f.what)][:columns]
    said[1:1] = [f"×{f.count}" if f.count > 1 else ""] if times else []
    return (*said, short(f.parameters).strip() if f.parameters else "") if held else tuple(said)


def _cut(title: str, columns: tuple[str, ...], rows: Sequence[tuple[Cell, ...]], most: int) -> Table:
    left_out = len(rows) - most
    return Table(columns, tuple(rows[:most]), f"{title} (the first {most} of {len(rows)})" if left_out > 0 else title)


def _layers(found: Difference, most: int, still: bool) -> list[View]:
    """The layers of both, those whose weights differ first, alike blocks together; then every weight as applied."""
    rows = [
        ((pair.site, pair.other), (pair.folded, "" if pair.rounded else pair.site), pair.parameters)
        for pair in found.layers
    ]
    lines: list[tuple[bool, tuple[Cell, ...]]] = []
    for f in folded(rows):
        held = [found.layers[k] for k in f.members]
        side, differs = f.what
        values = [pair.values for pair in held if pair.values is not None]
        lines.append((not differs, (
            f.places[0], f"×{f.count}" if f.count > 1 else "", "" if one_place(*f.places) else f.places[1],
            f"in the {side}" if side else "", _furthest(pair.weights for pair in held), max(values, default=None),
        )))  # fmt: skip
    lines.sort(key=lambda line: line[0])
    columns = ("layer", "times", "now", "norm. folded in", "weights differ by", "values by")
    shown = [row for _, row in lines]
    told = (
        "Weights as they are applied: with normalization folded in. Values: what a layer puts out, after both networks "
        "were given the same ones up to it. Relative differences; of several layers the largest."
    )
    table = _cut("Layer by layer", *_without_empty(columns, shown), most)
    return [table, Text(told, "quiet"), *([] if still else [Fold("Every weight", _every(found, "", most))])]


def _weights(found: Difference, most: int, still: bool) -> list[View]:
    """How far weights moved: those of alike blocks together, by the one that moved most; then every one."""
    folds = folded((((w.name, w.other), (), 0) for w in found.weights), tensors=True)
    if len(folds) == len(found.weights):
        return [_every(found, "Weights, the most changed first", most)]
    groups = [[found.weights[k] for k in f.members] for f in folds]
    rows: list[tuple[Cell, ...]] = [
        (f.places[0], f"×{f.count}" if f.count > 1 else "", f.places[1] if f.places[1] != f.places[0] else "",
         _furthest(w.relative for w in moved), _furthest((w.cosine for w in moved), least=True),
         max(w.largest for w in moved))
        for f, moved in zip(folds, groups, strict=True)
    ]  # fmt: skip
    columns = ("weight", "times", "now", "relative change", "cosine", "largest change")
    table = _cut("Weights, the most changed first; of several the most changed", *_without_empty(columns, rows), most)
    return [table] if still else [table, Fold("Every weight", _every(found, "", most))]


def _every(found: Difference, title: str, most: int) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (w.name, w.other if w.other != w.name else "", w.relative, w.cosine, w.largest) for w in found.weights
    ]
    columns = ("weight", "now", "relative change", "cosine", "largest change")
    return _cut(title, *_without_empty(columns, rows), most)


def _without_empty(
    columns: tuple[str, ...], rows: Sequence[tuple[Cell, ...]]
) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """The columns in which anything stands."""
    kept = [k for k in range(len(columns)) if any(row[k] != "" for row in rows)]
    return tuple(columns[k] for k in kept), [tuple(row[k] for k in kept) for row in rows]


def _furthest(values: Iterable[float | None], *, least: bool = False) -> float | None:
    known = [v for v in values if v is not None]
    return (min if least else max)(known) if known else None


def _similarity(found: Difference) -> list[View]:
    values = found.similarity.numpy()
    caption = (
        f"Rows are modules of {_names(found)[0]} from first to last, columns those of {_names(found)[1]}. "
        f"Linear CKA without bias over {count(found.samples, 'sample')} (Kornblith et al., 2019; Nguyen et al., 2021): "
        "1 where values are the same up to rotation and scale, about 0 where they have nothing in common."
    )
    heat = Heat(values, (0.0, 1.0), False, "How alike activations are", caption, alt=caption, smooth=False)
    pairs = dict(layer.places for layer in found.layers) or dict(found.parts.pairs)
    there = {site: j for j, site in enumerate(found.sites_b)}
    rows = tuple(
        (site, pairs[site], float(values[i, there[pairs[site]]]), found.apart.get((site, pairs[site])))
        for i, site in enumerate(found.sites_a)
        if pairs.get(site) in there
    )
    closest = tuple((site, *_closest(values[i], found.sites_b)) for i, site in enumerate(found.sites_a))
    columns = ("module", "now", "CKA", "relative difference")
    table = Table(columns, rows[:FEW], "Place by place; relative: how far values of one shape are apart")
    both = Columns((heat, table)) if rows else heat
    return [both, Fold("What each is most like", Table(("module", "most like", "CKA"), closest))]


def _closest(row: Sequence[float], sites: Sequence[str]) -> tuple[str, float | None]:
    known = [(float(v), site) for v, site in zip(row, sites, strict=True) if v == v]
    if not known:
        return "", None
    value, site = max(known, key=lambda k: k[0])
    return site, value
