"""A recorded pass run again, for what its layers hold and what they make of one input.

To tell layers apart that differ from those that only get other values, the second network is given the first one's
values at every layer that both have: then each layer, and what lies before it, is compared on the same input.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pellucid.architecture.compared.applied import applied
from pellucid.architecture.compared.layers import Layer, layers
from pellucid.architecture.compared.pairing import Known
from pellucid.architecture.given import Call
from pellucid.core.recording.step import Ref
from pellucid.core.recording.tape import Operation, Tape
from pellucid.core.site import Site
from pellucid.core.structure import leaves


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """A network's layers on one input: `values` are what they took and put out, `results` what the network put out."""

    tape: Tape
    known: tuple[Known, ...]
    values: dict[int, Tensor] = field(default_factory=dict)
    results: tuple[Tensor, ...] = ()

    def module(self, k: int) -> str:
        """The module that a layer runs in; of one that is no module's own, its operation."""
        op = self.tape.operations[self.known[k].layer.operations[0]]
        return str(Site(op.path, op.call) if op.path else op.site)

    def place(self, k: int) -> str:
        """Where a layer's values stand, after all that belongs to it: a module's output, if it is one."""
        op = self.tape.operations[self.known[k].layer.operations[-1]]
        put = self.known[k].layer.put
        is_module = any((c.path, c.call) == (op.path, op.call) and put in c.outputs[:1] for c in self.tape.calls)
        return str(Site(op.path, op.call) if is_module and op.path else op.site)

    def keeps_samples(self, k: int) -> bool:
        """Is the first axis of what a layer puts out the batch?"""
        batch = next((v.shape[:1] for v in self.tape.values if v.origin == "input" and v.shape), ())
        value = self.tape.values[self.known[k].layer.put]
        return "float" in value.dtype and value.shape[:1] == batch


def observed(tape: Tape, model: nn.Module, call: Call, *, keep: bool) -> Observed:
    """The layers of a recorded pass, their weights, and if they are to be kept their values."""
    found = layers(tape)
    kept = {v for layer in found for v in (layer.taken, layer.put)} if keep else set[int]()
    wanted: dict[int, set[int]] = {}
    for layer in found:
        held = {v for v in (*layer.weights, *(v for c in layer.after for v in c.values)) if v is not None}
        for index in layer.operations:
            wanted[index] = held & set(tape.operations[index].inputs)
    weights: dict[int, Tensor] = {}
    mine = dict[int, Tensor]()

    def see(op: Operation, values: Mapping[int, Tensor]) -> None:
        weights.update({v: values[v] for v in wanted.get(op.index, ())})
        mine.update({v: values[v].clone() for v in kept.intersection(op.outputs)})

    with torch.no_grad():
        out = tape.replay(model, call.args, call.kwargs, see=see)
    names = _Names(tape)
    known = []
    for layer in found:
        one = applied(layer, weights, names.of(layer))
        known.append(Known(layer, tape.operations[layer.operations[0]].path, one, one.print()))
    return Observed(tape, tuple(known), mine, tuple(leaves(out, deep=True)) if keep else ())


Apart = tuple[float | None, float | None]  # of what a layer took, and of what it put out


def forced(
    a: Observed, b: Observed, model: nn.Module, call: Call, pairs: Sequence[tuple[int, int]]
) -> tuple[dict[int, Apart], tuple[float | None, ...]]:
    """How far the second network's layers are from the first one's, by the number of the pair, and what it puts out.

    At every such place it goes on with the first one's values.  Distances are relative; None where shapes do not fit,
    and of what a layer took where that is an input of the network.
    """
    takes, puts = defaultdict[int, list[int]](list), dict[int, int]()
    for n, (_, j) in enumerate(pairs):
        takes[b.known[j].layer.taken].append(n)
        puts[b.known[j].layer.put] = n
    took, put = dict[int, float | None](), dict[int, float | None]()

    def see(op: Operation, values: Mapping[int, Tensor]) -> Mapping[int, Tensor]:
        changed: dict[int, Tensor] = {}
        for v in () if op.idle else op.outputs:
            here = values.get(v)
            if here is None or not here.is_floating_point():
                continue
            if (n := puts.get(v)) is not None:
                one, two = (side.known[k].layer for side, k in zip((a, b), pairs[n], strict=True))
                theirs = _laid_out(a.values[one.put], one, here, two)
                put[n] = None if theirs is None else distance(theirs, here)
                here = changed[v] = here if theirs is None else theirs
            for n in takes.get(v, ()):
                theirs = a.values.get(a.known[pairs[n][0]].layer.taken)
                took[n] = None if theirs is None else _apart(theirs, here)
                if took[n] is not None and theirs is not None:
                    here = changed[v] = theirs.reshape(here.shape).to(here.dtype, copy=True)
        return changed

    with torch.no_grad():
        out = b.tape.replay(model, call.args, call.kwargs, see=see)
    apart = {n: (took.get(n), put.get(n)) for n in range(len(pairs))}
    return apart, tuple(_apart(v, w) for v, w in zip(a.results, leaves(out, deep=True), strict=False))


def distance(v: Tensor, w: Tensor) -> float:
    """‖w − v‖ / ‖v‖ of values of one shape; where v is zero, 0 if w is too, else infinite."""
    one, two = v.double(), w.double()
    apart, size = float((two - one).norm()), float(one.norm())
    return apart / size if size else (0.0 if not apart else float("inf"))


def _apart(v: Tensor, w: Tensor) -> float | None:
    """The distance of what may be laid out in more or fewer axes before the last."""
    same = v.shape == w.shape or (v.numel() == w.numel() and v.shape[-1:] == w.shape[-1:])
    return distance(v.reshape(w.shape), w) if same and v.numel() else None


def _laid_out(v: Tensor, of: Layer, like: Tensor, by: Layer) -> Tensor | None:
    """A layer's values as the other network has them: channels along its axis, places in the same order."""
    if v.ndim == 0 or like.ndim == 0 or v.numel() != like.numel():
        return None
    v, there = v.movedim(of.axis, -1), like.movedim(by.axis, -1)
    if v.shape[-1] != there.shape[-1]:
        return None
    return v.reshape(there.shape).movedim(-1, by.axis).to(like.dtype, copy=True)


class _Names:
    """The parameters that values are made of."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def of(self, layer: Layer) -> tuple[str, str]:
        """The names of a layer's weight and of what it adds."""
        weight, *rest = (*layer.weights, *(v for c in layer.after for v in c.values))
        last = next((v for v in reversed((weight, *rest)) if v is not None), None)
        op = self.tape.operations[layer.operations[0]]
        home = op.path or str(op.site).lstrip(":")
        bias = layer.weights[1] if len(layer.weights) > 1 and not layer.after else last
        return self._name(weight) or home, (self._name(bias) if bias != weight else "") or f"{home}.bias"

    def _name(self, v: int | None) -> str:
        """The first parameter that a constant is computed from."""
        seen = set[int]()
        while v is not None and v not in seen:
            seen.add(v)
            value = self.tape.values[v]
            if value.name:
                return value.name
            op = None if value.operation is None else self.tape.operations[value.operation]
            v = next(iter(op.inputs), None) if op is not None else None
        return ""


def between(tape: Tape, starts: Sequence[int], stops: frozenset[int]) -> list[int]:
    """The operations that values depend on, back to other values where the search stops."""
    found, ahead, seen = set[int](), list(starts), set[int]()
    while ahead:
        v = ahead.pop()
        if v in seen or v in stops:
            continue
        seen.add(v)
        made = tape.values[v].operation
        if made is not None and tape.values[v].varies:
            found.add(made)
            ahead += tape.operations[made].inputs
    return sorted(found)


def results(tape: Tape) -> list[int]:
    """The values that a network hands back."""
    return [ref.id for ref in leaves(tape.result, Ref, deep=True)]
