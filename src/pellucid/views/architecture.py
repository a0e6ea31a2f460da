"""The report on a network's map: its totals in words, the map, the tree, and what is dead or saturated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Measure, Overlay
from pellucid.architecture.totals import Totals
from pellucid.architecture.tree import Line, tree
from pellucid.views.graph import Map
from pellucid.views.number import count, number, percent
from pellucid.views.view import Cell, Fold, Heading, Stack, Table, Text, View

MOST_LINES, MOST_FINDINGS = 2000, 12
UNITS = ("", "k", "M", "G", "T", "P")


def architecture_view(found: Architecture) -> View:
    """The whole report."""
    top = (*head(found), _map(found))
    more = (Fold("Operations by kind", _kinds(found.graph)), *activity(found), Fold("What this says", _legend(found)))
    said = metadata_fold(found.metadata)
    return Stack((*top, tree_table(found), *said, *(() if found.totals.tensors else more)))


def metadata_fold(metadata: Mapping[str, str]) -> tuple[View, ...]:
    """What a file says about itself, as a table to be opened; nothing where it says nothing."""
    rows = tuple(list(metadata.items())[:MOST_LINES])
    return (Fold("What the file says about itself", Table(("key", "value"), rows)),) if rows else ()


def architecture_figure(found: Architecture) -> View:
    """What fits on one picture: the totals and the map."""
    return Stack((*head(found), _map(found)))


def head(found: Architecture) -> tuple[View, ...]:
    """Title, totals, and what is to be known of how the map came about."""
    name = found.graph.name or "A network"
    notes = tuple(Text(note, "quiet") for note in found.notes)
    return (Heading(f"The map of {name}", 1), Text(totals_words(found.totals), "lead"), *notes)


def _map(found: Architecture) -> Map:
    found = found.folded()
    measure = found.overlay.measures.get(found.color) if found.color else None
    alt = f"The map of {found.graph.name}: {totals_words(found.totals)}"
    return Map(found.graph, found.depth, measure, found.overlay.pictures, alt=alt)


def totals_words(t: Totals) -> str:
    """The totals as a sentence.

    >>> totals_words(Totals(4652008, 0, 18608032, 770375104, 88481324, 148, 207, 148))
    '4.65 M parameters (18.6 MB), 770 MFLOP a pass, 88.5 MB of activations, 148 operations in 207 modules.'
    """
    if t.tensors:
        size = f"({short(t.parameter_bytes or 0)}B)"
        return f"{_many(t.parameters, 'number')} {size} in {count(t.tensors, 'tensor')}."
    parts = [_many(t.parameters, "parameter")]
    if t.parameter_bytes:
        parts[0] += f" ({short(t.parameter_bytes)}B)"
    if t.flops is not None:
        lack = f" (those of {count(t.unknown_flops, 'operation')} are not known)" if t.more_flops else ""
        parts.append(f"{'at least ' * t.more_flops}{short(t.flops)}FLOP a pass{lack}")
    if t.activation_bytes:
        parts.append(f"{'at least ' * t.more_bytes}{short(t.activation_bytes)}B of activations")
    parts.append(f"{count(t.operations, 'operation')} in {count(t.modules, 'module')}")
    words = ", ".join(parts) + "."
    were = "was" if t.unused == 1 else "were"
    return words + (f" {_many(t.unused, 'parameter')} {were} not used in this pass." if t.unused else "")


def _many(n: int, thing: str) -> str:
    return f"{short(n).strip()} {thing}{'s' * (n != 1)}"


def short(value: float) -> str:
    """A count in three digits with its power of thousand, ready for a unit.

    >>> short(999), short(25_557_032), short(0)
    ('999 ', '25.6 M', '0 ')
    """
    power = 0
    while abs(value) >= 999.5 and power < len(UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{number(value)} {UNITS[power]}"


def tree_table(found: Architecture) -> Table:
    """Modules and what they cost, as deep as some sixty lines go, or as the map is opened."""
    found = found.folded()
    lines = tree(found.graph, found.depth)
    measure = found.overlay.measures.get(found.color)
    extra = found.color and found.color not in ("parameters", "flops", "stored") and measure is not None
    rows: list[tuple[Cell, ...]] = []
    for line in lines[:MOST_LINES]:
        cells = _row(line)
        if extra and measure is not None:
            cells = (*cells, _measured(line, measure))
        rows.append(cells)
    columns: tuple[str, ...] = ("name", "kind", "output", "parameters", "FLOPs")
    if found.totals.tensors:
        columns, rows = ("name", "shapes", "numbers", "stored"), [_stored(found, line) for line in lines[:MOST_LINES]]
    left_out = len(lines) - MOST_LINES
    caption = f"The first {MOST_LINES} of {count(len(lines), 'line')}" if left_out > 0 else ""
    if extra and measure is not None:
        columns = (*columns, measure.title.lower())
    return Table(columns, tuple(rows), caption)


def _measured(line: Line, measure: Measure) -> str:
    """The number of a line: of several alike modules the sum where numbers add up, else the mean."""
    members = line.members if line.node is None else (line.node,)
    value = measure.together(members, groups=line.node is None)
    return "–" if value is None else _amount(value, measure.scale, measure.unit)


def _stored(found: Architecture, line: Line) -> tuple[Cell, ...]:
    """A line of a file of weights: name, shapes, how many numbers, and what they take there."""
    name, kind, _, numbers, _ = _row(line)
    sizes = found.overlay.measures["stored"].groups
    return name, kind, numbers, f"{short(sum(sizes[group] or 0 for group in line.members))}B"


def _row(line: Line) -> tuple[Cell, ...]:
    bars = "".join("   " if last else "│  " for last in line.last[:-1])
    branch = "" if line.depth == 1 else ("└─ " if line.last[-1] else "├─ ")
    kind = (line.kind + (f"  ×{line.count}" if line.count > 1 else "")).strip()
    flops = f"{'≥ ' * line.more_flops}{short(line.flops).strip()}" if line.flops else ""
    flops = "–" if line.flops is None or (line.more_flops and not line.flops) else flops
    parameters = short(line.parameters).strip() if line.parameters else ""
    return (bars[3:] + branch + line.name if bars else branch + line.name, kind, line.shape, parameters, flops)


def _amount(value: float, scale: str, unit: str) -> str:
    if scale == "share":
        return percent(value)
    if unit == "s":
        return f"{number(value * 1000)} ms"
    return (f"{number(value)} {unit}" if abs(value) < 1000 else f"{short(value)}{unit}").strip()


def _kinds(graph: Graph) -> Table:
    nodes = graph.nodes
    seen = Counter(zip(nodes.family, nodes.op, strict=True))
    flops: Counter[tuple[str, str]] = Counter()
    parameters: Counter[tuple[str, str]] = Counter()
    for family, op, f, p in zip(nodes.family, nodes.op, nodes.flops, nodes.parameters, strict=True):
        flops[family, op] += f or 0
        parameters[family, op] += p
    ordered = sorted(seen, key=lambda key: (-flops[key], -seen[key], key))
    rows = tuple((op, family, seen[family, op], short(parameters[family, op]).strip(), short(flops[family, op]).strip())
                 for family, op in ordered if family != "io")  # fmt: skip
    return Table(("operation", "family", "times", "parameters", "FLOPs"), rows)


def activity(found: Architecture) -> tuple[Fold, ...]:
    """What is dead, saturated or out of range on this input, the worst first."""
    overlay, nodes = found.overlay, found.graph.nodes
    if "zeros" not in overlay.measures:
        return ()
    seen = [i for i, zeros in enumerate(overlay.measures["zeros"].nodes) if zeros is not None]
    worst = sorted(seen, key=lambda i: -_trouble(overlay, i))[:MOST_FINDINGS]
    rows = tuple(
        (nodes.site[i], nodes.op[i], *(_share(overlay, name, i) for name in ("zeros", "dead", "saturated")),
         *(overlay.measures[name].nodes[i] for name in ("low", "high")))
        for i in worst
    )  # fmt: skip
    columns = ("site", "operation", "zeros", "dead units", "saturated", "smallest", "largest")
    table = Table(columns, rows, "The largest shares of dead and saturated units")
    return (Fold("What happened on this input", Stack((table, Text(_ACTIVE, "quiet")))),)


_ACTIVE = (
    "A dead unit is zero at every place of every sample: on one input that is no fault, on many it is. Saturated "
    "values lie within a hundredth of an end of a bounded activation, where its slope is next to nothing."
)


def _share(overlay: Overlay, name: str, node: int) -> str:
    value = overlay.measures[name].nodes[node] if name in overlay.measures else None
    return "" if value is None else percent(value)


def _trouble(overlay: Overlay, node: int) -> float:
    found = (overlay.measures[n].nodes[node] for n in ("dead", "saturated") if n in overlay.measures)
    return max((v for v in found if v is not None), default=0.0)


def _legend(found: Architecture) -> View:
    said = [
        "A box is an operation, or a module that is closed; a frame is a module that is open. The bar on top has the "
        "color of the family of operations. ×12 means that twelve modules of the same inside follow each other and "
        "are drawn once.",
        "FLOPs count products that dominate a network (convolutions, matrix products, attention), two a multiply-add; "
        "elementwise work counts as nothing. Memory of activations is what all outputs together take, views left out: "
        "what a pass needs at one time is less.",
    ]
    if "field" in found.overlay.measures:
        said.append("A receptive field is the part of the input that one value can depend on, never too small.")
    return Stack(tuple(Text(text, "quiet") for text in said))
