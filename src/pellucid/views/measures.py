"""The measures of explanations that there are, as a table for `pellucid checks`."""

from __future__ import annotations

from collections.abc import Iterable

from pellucid.core.measure import Measure
from pellucid.views.methods import default_of, plain
from pellucid.views.view import Heading, Stack, Table, Text, View

_GOOD = {"higher": "high is good", "lower": "low is good", "neither": "describes"}


def measures_view(found: Iterable[Measure[...]]) -> View:
    """All measures, by family: what each measures, which way is good, what it costs, its options and its paper."""
    families: dict[str, list[Measure[...]]] = {}
    for m in sorted(found, key=lambda m: (m.family, not m.place, m.place, m.name)):
        families.setdefault(m.family, []).append(m)
    parts: list[View] = [Heading("Measures of explanations", 1), Text("Those on the trust card come first.", "quiet")]
    for family, members in families.items():
        parts += [Heading(family.capitalize(), 2), *(_entry(m) for m in members)]
    return Stack(tuple(parts))


def _entry(m: Measure[...]) -> View:
    card = " On the trust card." if m.place else ""
    paper = f" {m.paper}." if m.paper else ""
    facts = f"{_GOOD[m.better].capitalize()}. Cost: {plain(m.cost)}.{card}{paper}"
    options = tuple((o.name, default_of(o), o.expected, o.doc) for o in m.options)
    table = (Table(("option", "default", "expected", "what it is"), options),) if options else ()
    return Stack((Heading(m.name, 3), Text(f"{m.title}. {plain(m.summary)}"), Text(facts, "quiet"), *table))
