"""Differences that repeat from block to block as one: `blocks.0…23.attn.Slice`, 24 times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pellucid.architecture.compared.alignment import Alignment
from pellucid.architecture.graph import Graph

_INDEX = re.compile(r"(?<![^./])[0-9]+(?![^./#:])")  # a part of a path that is a number
_BLOCK = re.compile(r"(?<![^./])[0-9]+(?=[./][^./]+[./])")  # one that holds modules of its own, not a layer in a row
_FEW = 10  # numbers that are listed


@dataclass(frozen=True, slots=True)
class Folded:
    """`count` differences of one kind: their places (of each network), how they differ, and what they hold in all.

    `members` are their numbers among those that were folded.
    """

    places: tuple[str, ...]
    what: tuple[str, ...]
    count: int
    parameters: int
    members: tuple[int, ...]


def folded(
    rows: Iterable[tuple[tuple[str, ...], tuple[str, ...], int]], *, tensors: bool = False
) -> tuple[Folded, ...]:
    """Rows of places, what is said of them, and parameters: those that differ in the numbers of blocks alone as one.

    Those with the most parameters come first, then all others in their order.  Places that are `tensors` of layers
    which follow each other (`features.0.weight`) stay apart: only blocks of several layers repeat.

    >>> rows = [(("b.0.act",), (), 0), (("b.1.act",), (), 0), (("head",), (), 10), (("b.2.act",), (), 0)]
    >>> [(f.places, f.count) for f in folded(rows)]
    [(('head',), 1), (('b.0…2.act',), 3)]
    """
    given = list(rows)
    index = _BLOCK if tensors else _INDEX
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
    for k, (places, what, _) in enumerate(given):
        alike.setdefault((tuple(index.sub("*", place) for place in places), what), []).append(k)
    found = [
        Folded(
            tuple(_together([given[k][0][side] for k in members], index) for side in range(len(patterns))),
            what,
            len(members),
            sum(given[k][2] for k in members),
            tuple(members),
        )
        for (patterns, what), members in alike.items()
    ]
    return tuple(sorted(found, key=lambda f: (-f.parameters, f.members)))


@dataclass(frozen=True, slots=True)
class Repeats:
    """The differences of two graphs, folded, by how they differ."""

    changed: tuple[Folded, ...]
    added: tuple[Folded, ...]
    removed: tuple[Folded, ...]
    renamed: tuple[Folded, ...]


def repeats(parts: Alignment, a: Graph, b: Graph) -> Repeats:
    """What changed, was added, removed and renamed, folded; changed ones hold the parameters of the larger side."""
    left, right = _held(a), _held(b)
    larger = [max(left.get(c.site, 0), right.get(c.other, 0)) for c in parts.changed]
    return Repeats(
        folded(((c.site, c.other), c.what, held) for c, held in zip(parts.changed, larger, strict=True)),
        folded(((site,), (), right.get(site, 0)) for site in parts.added),
        folded(((site,), (), left.get(site, 0)) for site in parts.removed),
        folded(((old, new), (), left.get(old, 0)) for old, new in parts.renamed),
    )


def _held(graph: Graph) -> dict[str, int]:
    """How many parameters are read in each place."""
    return {graph.site_of(group): graph.groups.parameters[group] for group in range(len(graph.groups))}


def _together(places: Sequence[str], index: re.Pattern[str]) -> str:
    """Places that differ in numbers alone as one text: with the ranges that these fill, listed, or with stars."""
    if len(set(places)) == 1:
        return places[0]
    rows = [tuple(int(n) if len(n) < 19 else -1 for n in index.findall(place)) for place in places]
    columns = [sorted(set(column)) for column in zip(*rows, strict=True)]
    if math.prod(map(len, columns)) == len(set(rows)) and all(map(_is_range, columns)):
        texts = iter([f"{c[0]}…{c[-1]}" if len(c) > 1 else str(c[0]) for c in columns])
    elif len(places) <= _FEW:
        return _listed(places)
    else:
        texts = iter([str(column[0]) if len(column) == 1 else "*" for column in columns])
    return index.sub(lambda _: next(texts), places[0])


def _is_range(numbers: Sequence[int]) -> bool:
    return numbers[-1] - numbers[0] == len(numbers) - 1


def _listed(places: Sequence[str]) -> str:
    """What differs in brackets: `blocks.[1.1, 2.2].conv`."""
    parts = [place.split(".") for place in places]
    least = min(map(len, parts))
    start = next((k for k in range(least) if len({p[k] for p in parts}) > 1), least)
    end = next((k for k in range(least - start) if len({p[-1 - k] for p in parts}) > 1), least - start)
    inner = ", ".join(".".join(p[start : len(p) - end]) for p in parts)
    return ".".join([*parts[0][:start], f"[{inner}]", *parts[0][len(parts[0]) - end :]])
