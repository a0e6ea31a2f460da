"""Two networks compared layer by layer, where their files are written in operations of different kinds.

A layer is what was learned (`layers`).  What lies between layers is compared by what it computes: two networks that are
written in other operations, but put out the same values at every layer, are the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from pellucid.architecture.compared.alignment import Alignment, Change
from pellucid.architecture.compared.applied import changes, relative
from pellucid.architecture.compared.observed import Apart, Observed, between, forced, observed, results
from pellucid.architecture.compared.pairing import pairs, reshaped
from pellucid.architecture.compared.weight_change import WeightChange
from pellucid.architecture.given import Call
from pellucid.architecture.sources.labels import label
from pellucid.core.recording.tape import Tape

Side = Literal["", "first", "second"]
_NAMED = {"multiply": "mul", "true_divide": "div", "divide": "div", "subtract": "sub", "concat": "cat"}
_MOVES = frozenset(
    {"reshape", "view", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "to", "expand",
     "getitem", "narrow", "select", "split", "chunk", "unbind", "movedim", "module", "item", "clone", "swapaxes",
     "unflatten", "float", "type"}
)  # fmt: skip
_SHOWN = 3
OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class LayerPair:
    """A layer that both networks have: the module (or operation) that it is in either.

    `folded` says in which network its normalization is folded into its weights, where the other has it apart; `places`
    are the sites of its values, after all that belongs to it.  `weights` is the relative difference of the weights as
    they are applied, None where it is infinite; `rounded`: rounding explains it.  `values` is that of what it puts
    out after both were given the same values at the layers before; None where the two are not laid out alike.
    `parameters` are the numbers in its weights.
    """

    site: str
    other: str
    kind: str
    folded: Side
    weights: float | None
    rounded: bool
    values: float | None
    parameters: int
    places: tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Layerwise:
    """Layers of two networks: how they are aligned, their weights, and those whose samples are kept apart."""

    parts: Alignment
    pairs: tuple[LayerPair, ...]
    weights: tuple[WeightChange, ...]
    places: tuple[tuple[str, str], ...]
    otherwise: int

    @property
    def folded(self) -> int:
        """How many layers have a normalization folded in that the other network has apart."""
        return sum(bool(pair.folded) for pair in self.pairs)


def layerwise(left: tuple[Tape, nn.Module, Call], right: tuple[Tape, nn.Module, Call]) -> Layerwise | None:
    """The layers of two recorded passes on the same input; None where no layer of one belongs to one of the other."""
    a, b = observed(*left, keep=True), observed(*right, keep=False)
    found = pairs(a.known, b.known)
    return _Comparing(a, b, found, *forced(a, b, right[1], right[2], found)).done() if found else None


def one_place(site: str, other: str) -> bool:
    """Is it one place, whose operation a file gives a name of its own?

    >>> one_place("mlp.fc1", "mlp.fc1.MatMul"), one_place("mlp.fc1", "mlp.fc10")
    (True, False)
    """
    return site == other or other.startswith(site + ".") or site.startswith(other + ".")


class _Comparing:
    def __init__(
        self, a: Observed, b: Observed, found: list[tuple[int, int]], apart: dict[int, Apart],
        outputs: Sequence[float | None],
    ) -> None:  # fmt: skip
        self.a, self.b, self.found, self.apart, self.outputs = a, b, found, apart, outputs
        self.stops = [frozenset(side.known[pair[k]].layer.put for pair in found) for k, side in ((0, a), (1, b))]
        self.near = max(_rounding(side.tape) for side in (a, b))
        self.lone = [
            {
                index: n
                for n, known in enumerate(side.known)
                if n not in {p[k] for p in found}
                for index in known.layer.operations
            }
            for k, side in ((0, a), (1, b))
        ]
        self.missing: list[set[int]] = [set(), set()]  # layers without a partner, where values differ

    def done(self) -> Layerwise:
        same, renamed, changed = list[tuple[str, str]](), list[tuple[str, str]](), list[Change]()
        made, weights = list[LayerPair](), list[WeightChange]()
        for n, (i, j) in enumerate(self.found):
            one, two = self.a.known[i], self.b.known[j]
            moved = changes(one.applied, two.applied)
            weights += moved
            site, other = self.a.module(i), self.b.module(j)
            made.append(self._pair(n, relative(moved)))
            if what := tuple(self._differences(n, relative(moved))):
                changed.append(Change(site, other, what))
            else:
                (same if one_place(site, other) else renamed).append((site, other))
        changed += self._ends()
        held = [sorted(side) for side in self.missing]
        others = reshaped(self.a.known, self.b.known, held[0], held[1])
        for i, j in others.items():
            shapes = [_x(side.known[n].layer.shape) for side, n in ((self.a, i), (self.b, j))]
            changed.append(Change(self.a.module(i), self.b.module(j), (f"weights {shapes[0]}, now {shapes[1]}",)))
        gone = tuple(self.a.module(i) for i in held[0] if i not in others)
        come = tuple(self.b.module(j) for j in held[1] if j not in others.values())
        places = tuple(
            (self.a.place(i), self.b.place(j))
            for i, j in self.found
            if self.a.keeps_samples(i) and self.b.keeps_samples(j)
        )
        otherwise = sum(len(set(lone.values())) for lone in self.lone) - sum(map(len, self.missing))
        parts = Alignment(tuple(same), tuple(renamed), tuple(changed), gone, come)
        return Layerwise(parts, tuple(made), tuple(weights), places, otherwise)

    def _pair(self, n: int, weights: float) -> LayerPair:
        i, j = self.found[n]
        one, two = self.a.known[i].layer, self.b.known[j].layer
        folded: Side = "" if one.normalized == two.normalized else "second" if one.normalized else "first"
        near = max(self.a.known[i].applied.tolerance, self.b.known[j].applied.tolerance)
        values = self.apart.get(n, (None, None))[1]
        return LayerPair(
            self.a.module(i),
            self.b.module(j),
            one.kind,
            folded,
            weights if math.isfinite(weights) else None,
            weights <= near,
            values if values is None or math.isfinite(values) else None,
            math.prod(one.shape),
            (self.a.place(i), self.b.place(j)),
        )

    def _differences(self, n: int, moved: float) -> Iterator[str]:
        """How a layer differs from its partner, and what lies before it; weights of one shape aside."""
        i, j = self.found[n]
        one, two = self.a.known[i], self.b.known[j]
        took, put = self.apart.get(n, (None, None))
        same = moved <= max(one.applied.tolerance, two.applied.tolerance)
        labels = _of(self.a.tape, one.layer.operations[:1]), _of(self.b.tape, two.layer.operations[:1])
        fed_apart = took is not None and took > self.near
        apart = put > self.near if put is not None else None
        if labels[0] != labels[1] and not fed_apart and (apart is None or (apart and same)):
            yield _apart(*labels)
        elif took is not None and not fed_apart and apart and same:
            yield "other values from the same input"
        elif fed_apart or (took is None and apart and same):
            yield from self._before(one.layer.taken, two.layer.taken)

    def _ends(self) -> Iterator[Change]:
        """What was put out, after the last layers."""
        ends = zip(results(self.a.tape), results(self.b.tape), self.outputs, strict=False)
        for one, two, apart in ends:
            layers_put_out = one in self.stops[0] and two in self.stops[1]
            if layers_put_out or (apart is not None and apart <= self.near):
                continue
            if said := tuple(self._before(one, two)):
                yield Change(OUTPUT, OUTPUT, said)

    def _before(self, one: int, two: int) -> Iterator[str]:
        """Which operations lie before a value, in one network but not in the other."""
        counts, lone = list[Counter[str]](), set[int]()
        for k, (side, v) in enumerate(((self.a, one), (self.b, two))):
            inside = between(side.tape, [v], self.stops[k])
            lone = {index for index in inside if index in self.lone[k]} or lone
            self.missing[k] |= {self.lone[k][index] for index in inside if index in self.lone[k]}
            counts.append(Counter(_of(side.tape, [index for index in inside if index not in self.lone[k]])))
        gone, come = counts[0] - counts[1], counts[1] - counts[0]
        if gone and come:
            yield f"before it {_listed(gone)}, now {_listed(come)}"
        elif gone or come:
            yield f"before it {_listed(gone)} no more" if gone else f"before it also {_listed(come)}"
        elif not lone:
            yield "before it other values"


def _of(tape: Tape, indices: Sequence[int]) -> list[str]:
    """Operations in words, those that only move values left out."""
    found = []
    for index in indices:
        op = tape.operations[index]
        name = op.name.rstrip("_").removeprefix("aten.")
        name = _NAMED.get(name, name)
        said = label(op, tape.steps[index], tape)
        if name in ("hardtanh", "clamp", "clip") and said == "from 0, to 6":
            name, said = "relu6", ""
        elif name == "hardtanh" and said:
            name = "clamp"
        if name not in _MOVES and not op.idle:
            found.append(f"{name} {said}".strip())
    return found


def _apart(one: Sequence[str], two: Sequence[str]) -> str:
    """How an operation differs from another, without what they have in common.

    >>> _apart(["conv2d 8x3x3x3, stride 2"], ["conv2d 8x3x3x3, padding 1"])
    'conv2d stride 2, now padding 1'
    """
    name, _, here = " ".join(one).partition(" ")
    other, _, there = " ".join(two).partition(" ")
    left, right = here.split(", "), there.split(", ")
    gone = ", ".join(part for part in left if part not in right) or "plain"
    come = ", ".join(part for part in right if part not in left) or "plain"
    return f"{name} {gone}, now {come if name == other else f'{other} {come}'}"


def _listed(counts: Counter[str]) -> str:
    said = [f"{name} ×{count}" if count > 1 else name for name, count in counts.items()]
    more = len(said) - _SHOWN
    return ", ".join(said[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _rounding(tape: Tape) -> float:
    """The largest relative difference of values that rounding explains: for single precision 2e-5."""
    types = {getattr(torch, v.dtype, None) for v in tape.values if "float" in v.dtype and v.varies}
    known = [torch.finfo(t).eps for t in types if isinstance(t, torch.dtype)]
    return float(max(known, default=torch.finfo(torch.float32).eps) ** (2 / 3))


def _x(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
