"""Computing only what a local change of the input can change: exactly, in every operation, many changes at once.

The unchanged pass is computed once.  From then on each operation that keeps changes local runs on patches, one a
change, with as much of the unchanged map around them as it looks at; what follows an operation that mixes all
positions runs on whole values.  Nakandala, Kumar, Papakonstantinou 2019 (Krypton, doi:10.1145/3299869.3319874) do this
for networks that they know; here it is done for whatever the tape holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pellucid.core.incremental.layout import Layout, Way
from pellucid.core.incremental.local import Convolves, Shifts, Slides, Stays
from pellucid.core.incremental.places import Places, Span, cut, paste, with_margins
from pellucid.core.incremental.program import Node, Program
from pellucid.core.incremental.scaled import filled, spread
from pellucid.core.names import module_paths, named_arguments, named_weights
from pellucid.core.recording.step import Ref
from pellucid.core.recording.tape import Operation
from pellucid.core.structure import leaves, private, rebuilt

Weights = Mapping[int, tuple[Tensor, Tensor | None]]


class Unchanged:
    """What is needed of a pass on one sample, for the jobs in `layouts`; one forward pass."""

    def __init__(
        self, program: Program, layouts: list[Layout], model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        tape = program.tape
        kept = frozenset[int]().union(*(layout.kept for layout in layouts))
        weights, (given, named) = named_weights(model), private((args, kwargs))
        self._values: dict[int, Tensor] = {}
        self._margins: dict[tuple[Any, ...], Tensor] = {}
        for id in kept:
            value = tape.values[id]
            if value.origin in ("parameter", "buffer"):
                self._values[id] = weights[value.name].detach()
            elif value.origin == "constant":
                self._values[id] = tape.constants[id]
        inputs = [v.id for v in tape.values if v.origin == "input"]
        first = dict(zip(inputs, named_arguments(model, given, named).values(), strict=True))
        self._values.update({id: _laid(first[id], copy=True) for id in kept & first.keys()})
        written = any(op.mutates for op in tape.operations)

        def see(op: Operation, alive: Mapping[int, Tensor]) -> None:
            for id in op.outputs:
                if id in kept and id not in self._values:
                    self._values[id] = _laid(alive[id].detach(), copy=written)

        tape.replay(model, given, named, see=see)

    def __getitem__(self, id: int) -> Tensor:
        return self._values[id]

    def around(self, id: int, rule: Slides | Convolves) -> Tensor:
        """A map with the room around it that an operation looks at."""
        margin = rule.margin if isinstance(rule, Slides) else 0.0
        key = (id, margin, rule.rows.margins, rule.columns.margins)
        if key not in self._margins:
            self._margins[key] = with_margins(self._values[id], rule.rows, rule.columns, margin)
        return self._margins[key]


def _laid(v: Tensor, *, copy: bool) -> Tensor:
    laid = v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v
    return laid.clone() if copy and laid is v else laid


class Pass:
    """One pass over some of a job's changes; `which` says at which of the layout's starts they lie, on each axis."""

    def __init__(
        self,
        program: Program,
        layout: Layout,
        model: nn.Module,
        weights: Weights,
        unchanged: Unchanged,
        which: tuple[Tensor, Tensor],
    ) -> None:
        self.program, self.layout, self.weights, self.unchanged, self.which = program, layout, weights, unchanged, which
        self.modules = module_paths(model) if any(isinstance(n.function, str) for n in program.nodes) else {}
        self.alive: dict[int, Tensor] = {}
        self.wholes: dict[int, Tensor] = {}
        self.count = 0

    def run(self, patches: Tensor) -> Any:
        """The network's output, a row a change; `patches` is what the input becomes at the places."""
        source, self.count = self.program.source, len(patches)
        self.alive[source] = patches.contiguous(memory_format=torch.channels_last)
        if self.layout.at[source] is None:
            self.alive[source] = self._pasted(source, patches, self.layout.first)
        for node, way in zip(self.program.nodes, self.layout.ways, strict=True):
            if way.places is None:
                self._whole(node)
            else:
                self._local(node, way, way.places)
            for v in node.dies:
                self.alive.pop(v, None)
                self.wholes.pop(v, None)
        return rebuilt(self.program.tape.result, lambda ref: self._as_whole(ref.id), Ref, deep=True)

    def _local(self, node: Node, way: Way, here: Places) -> None:
        rule, first = node.rule, next((v for v in node.reads if v in self.alive), 0)
        if isinstance(rule, Stays):
            shape = self.program.tape.values[node.makes[0]].shape
            self._called(node, lambda id: self._operand(id, shape if rule.everywhere else None, here))
        elif isinstance(rule, Shifts):
            self.alive[node.makes[0]] = self.alive[first]
        elif isinstance(rule, Slides | Convolves):
            self.alive[node.makes[0]] = self._slid(node, rule, way, first)
        if way.widened:
            for v in node.makes:
                self.alive[v] = self._pasted(v, self.alive[v], here)

    def _slid(self, node: Node, rule: Slides | Convolves, way: Way, first: int) -> Tensor:
        v = self.alive[first]
        if way.looks is None:
            return self._convolved(node, rule, v, 0) if isinstance(rule, Convolves) else rule.apply(v)
        rows, columns = way.looks
        region = cut(self.unchanged.around(first, rule), (rows.region, columns.region), self.which)
        paste(region, v, (rows.offsets, columns.offsets), self.which)
        made = self._convolved(node, rule, region, 0) if isinstance(rule, Convolves) else rule.apply(region)
        return made[:, :, rows.skip :, columns.skip :][:, :, : rows.made.size, : columns.made.size]

    def _convolved(self, node: Node, rule: Convolves, v: Tensor, padding: Any) -> Tensor:
        weight, bias = self.weights[node.op.index]
        return functional.conv2d(v, weight, bias, rule.stride, padding, rule.dilation, rule.groups)

    def _operand(self, id: int, shape: tuple[int, ...] | None, here: Places) -> Tensor:
        """A value as an operation on patches takes it: the part of a map at the patches, or what broadcasts over it.

        `shape` is that of the map, None when what does not change is no map.
        """
        if id in self.alive:
            places = self.layout.at[id]
            assert places is not None  # noqa: S101 (the layout made sure)
            if places == here:
                return self.alive[id]
            inside = _within(places[0], here[0]), _within(places[1], here[1])
            return paste(cut(self.unchanged[id], here, self.which), self.alive[id], inside, self.which)
        v = self.unchanged[id]
        if shape is None or v.ndim == 0 or all(n == 1 for n in v.shape[-2:]):
            return v
        lone = v.view(*[1] * (4 - v.ndim), *v.shape)
        return cut(lone.expand(1, lone.shape[1], *shape[2:]), here, self.which)

    def _whole(self, node: Node) -> None:
        if isinstance(node.rule, Convolves):
            v = self._as_whole(next(i for i in node.reads if i in self.program.changed))
            self.alive[node.makes[0]] = self._convolved(node, node.rule, v, node.rule.padding)
            return
        plain = not (node.rule or node.op.pointwise or node.op.name in _ANY_ORDER)
        self._called(node, lambda id: self._as_whole(id).contiguous() if plain else self._as_whole(id))
        for id in node.makes:
            self.wholes.pop(id, None)

    def _as_whole(self, id: int) -> Tensor:
        """A value with a row for every change."""
        if id not in self.alive:
            return spread(self.program.batched, id, self.unchanged[id], self.count)
        places = self.layout.at[id]
        if places is None:
            return self.alive[id]
        if id not in self.wholes:
            self.wholes[id] = self._pasted(id, self.alive[id], places)
        return self.wholes[id]

    def _pasted(self, id: int, patches: Tensor, here: Places) -> Tensor:
        v = self.unchanged[id]
        many = v.permute(0, 2, 3, 1).repeat(self.count, 1, 1, 1)  # a copy, also for one change
        return paste(many.permute(0, 3, 1, 2), patches, here, self.which)

    def _called(self, node: Node, tensor: Any) -> None:
        """Run a node's own function; what it writes into is its own."""
        given: dict[int, Tensor] = {}

        def take(id: int) -> Tensor:
            if id not in given:
                given[id] = tensor(id)
                if any(id == old for _, old in node.writes) and self._seen_by_others(id, given[id]):
                    given[id] = given[id].clone()
            return given[id]

        function = self.modules[node.function] if isinstance(node.function, str) else node.function
        args, named = filled(node.args, take, self.count), filled(node.kwargs, take, self.count)
        if named.get("inplace") is False and node.reads[0] in node.dies:  # an activation of what nobody else reads
            named["inplace"] = not self._seen_by_others(node.reads[0], given[node.reads[0]])
        out = function(*args, **named)
        deep = isinstance(node.function, str)
        refs = leaves(node.result, Ref, deep=deep)
        self.alive.update({ref.id: v for ref, v in zip(refs, leaves(out, deep=deep), strict=True)})
        self.alive.update({new: given[old] for new, old in node.writes})

    def _seen_by_others(self, id: int, v: Tensor) -> bool:
        memory = v.untyped_storage().data_ptr()
        others: Iterator[Tensor] = (t for k, t in self.alive.items() if k != id)
        return id not in self.alive or any(t.untyped_storage().data_ptr() == memory for t in others)


def _within(span: Span, other: Span) -> Span:
    return Span(tuple(a - b for a, b in zip(span.starts, other.starts, strict=True)), span.size)


# these give the same numbers however a map lies in memory
_ANY_ORDER = frozenset({"adaptive_avg_pool2d", "adaptive_max_pool2d", "mean", "interpolate", "flatten", "sum", "amax"})
