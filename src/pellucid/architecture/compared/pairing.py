"""Which layers of two networks belong together, whatever names and order of running their formats gave them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from pellucid.architecture.compared.applied import Applied, alike
from pellucid.architecture.compared.layers import Layer

Key = Callable[["Known"], Hashable]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A layer, the module that it runs in, and its weights."""

    layer: Layer
    path: str
    applied: Applied
    print: tuple[float, float, float]


def pairs(a: Sequence[Known], b: Sequence[Known]) -> list[tuple[int, int]]:
    """Numbers of layers that belong together, in the order of the first.

    First those whose weights may be the same, then those of one shape in a module of one name, and last those of one
    shape in the same order between layers that are paired.
    """
    names = _classes(a, b)
    by_weights = _in_order(range(len(a)), range(len(b)), lambda k: names[0][k], lambda k: names[1][k])
    found = dict(by_weights) | _left_over(by_weights, names)
    there = defaultdict[Hashable, list[int]](list)
    for j in _without(range(len(b)), found.values()):
        there[_shape(b[j]), b[j].path].append(j)
    for i in _without(range(len(a)), found):
        if held := there[_shape(a[i]), a[i].path]:
            found[i] = held.pop(0)
    for left, right in _gaps(found, len(a), len(b)):
        found |= _in_order(left, right, lambda i: _shape(a[i]), lambda j: _shape(b[j]))
    return sorted(found.items())


def reshaped(a: Sequence[Known], b: Sequence[Known], left: Sequence[int], right: Sequence[int]) -> dict[int, int]:
    """Of layers that have no partner, those of one kind in the same order, whose weights have other shapes."""
    return _in_order(left, right, lambda i: _kind(a[i]), lambda j: _kind(b[j]))


def _shape(k: Known) -> Hashable:
    return k.layer.kind, k.layer.shape, k.layer.groups


def _kind(k: Known) -> Hashable:
    return k.layer.kind, len(k.layer.shape)


def _classes(a: Sequence[Known], b: Sequence[Known]) -> tuple[list[int], list[int]]:
    """A number for each layer: one for all that may hold the same weights."""
    first: dict[Hashable, list[tuple[Known, int]]] = defaultdict(list)
    count = 0
    found: tuple[list[int], list[int]] = ([], [])
    for side, known in zip(found, (a, b), strict=True):
        for k in known:
            held = first[_shape(k)]
            number = next((n for o, n in held if alike(o.applied, k.applied, (o.print, k.print))), None)
            if number is None:
                number, count = count, count + 1
                held.append((k, number))
            side.append(number)
    return found


def _left_over(found: dict[int, int], names: tuple[list[int], list[int]]) -> dict[int, int]:
    """Layers of the same weights that run in another order."""
    there = defaultdict[int, list[int]](list)
    for j in _without(range(len(names[1])), found.values()):
        there[names[1][j]].append(j)
    return {i: there[names[0][i]].pop(0) for i in _without(range(len(names[0])), found) if there[names[0][i]]}


def _without(numbers: Iterable[int], known: Iterable[int]) -> list[int]:
    taken = set(known)
    return [n for n in numbers if n not in taken]


def _in_order(
    left: Sequence[int], right: Sequence[int], one: Callable[[int], Hashable], two: Callable[[int], Hashable]
) -> dict[int, int]:
    matcher = SequenceMatcher(None, [one(i) for i in left], [two(j) for j in right], autojunk=False)
    return {left[m.a + k]: right[m.b + k] for m in matcher.get_matching_blocks() for k in range(m.size)}


def _gaps(found: dict[int, int], left: int, right: int) -> list[tuple[list[int], list[int]]]:
    """What is not paired yet, between layers that are paired in order."""
    kept = [(-1, -1)]
    for i, j in sorted(found.items()):
        if j > kept[-1][1]:
            kept.append((i, j))
    kept.append((left, right))
    gaps = [
        (_without(range(i + 1, k), found), _without(range(j + 1, m), found.values()))
        for (i, j), (k, m) in pairwise(kept)
    ]
    return [gap for gap in gaps if all(gap)]
