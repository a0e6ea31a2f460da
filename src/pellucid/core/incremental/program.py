"""What a change of one input sets in motion: the operations on a tape that depend on it, for any number of samples.

Batch normalization behind a convolution that nobody else reads becomes part of the convolution's weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.incremental.local import Convolves, Rule, rule_for
from pellucid.core.incremental.scaled import Unfit, scaled
from pellucid.core.names import named_arguments, named_weights
from pellucid.core.recording.batched import Batched, different, tape_of_two
from pellucid.core.recording.record import record_module
from pellucid.core.recording.step import Ref, Step
from pellucid.core.recording.tape import Operation, Tape
from pellucid.core.structure import leaves, private, rebuilt


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch normalization by the numbers of its statistics and weights."""

    mean: int
    variance: int
    weight: int | None
    bias: int | None
    epsilon: float


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: `reads` and `makes` are numbers of values, `dies` those that nobody reads afterwards.

    `writes` are (new, old) of tensors that it writes into; `norm` is what was folded into a convolution.
    """

    op: Operation
    function: Callable[..., Any] | str
    args: Any
    kwargs: Any
    result: Any
    writes: tuple[tuple[int, int], ...]
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    rule: Rule | None
    norm: Norm | None = None
    dies: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """The nodes that depend on the input `source`, and the values that do (`changed`)."""

    batched: Batched
    source: int
    nodes: tuple[Node, ...]
    changed: frozenset[int]

    @property
    def tape(self) -> Tape:
        """The pass on one sample."""
        return self.batched.one


def program(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str) -> Program:
    """Record a network on one sample and say what depends on its input `name`; costs three forward passes.

    Raises `Unfit` when the network cannot be computed from its tape.
    """
    twice = rebuilt(private((args, dict(kwargs))), lambda v: v.expand(2, *v.shape[1:]).contiguous(), deep=True)
    one = record_module(model, args, kwargs, keep_values=False)
    two = tape_of_two(model, one, *twice)
    if one.data_dependent:
        raise Unfit("the network looks at numbers while it runs, so that another picture may take another way")
    if why := different(one, two):
        raise Unfit(why)
    names = list(named_arguments(model, args, kwargs))
    sources = [v.id for v in one.values if v.origin == "input"]
    source = dict(zip(names, sources, strict=False)).get(name)
    if source is None or Batched(one, two).axis(source) != 0:
        raise Unfit(f"the network does not take {name!r} as it is")
    changed = _changed(one, source)
    nodes = [_node(one, two, op, changed) for op in one.operations if _runs(one, op, changed)]
    return Program(Batched(one, two), source, tuple(_with_ends(one, _folded(one, nodes))), changed)


def _changed(tape: Tape, source: int) -> frozenset[int]:
    """The values that depend on the numbers of an input."""
    changed = {source}
    for op in tape.operations:
        if changed.intersection(op.inputs):
            changed.update(v for v in op.outputs if tape.values[v].varies)
    return frozenset(changed)


def _runs(tape: Tape, op: Operation, changed: frozenset[int]) -> bool:
    made = [v for v in op.outputs if v in changed and v not in op.inputs]
    return bool(made) and tape.steps[op.index].function is not None


def _node(one: Tape, two: Tape, op: Operation, changed: frozenset[int]) -> Node:
    step, other = one.steps[op.index], two.steps[op.index]
    refs = tuple(dict.fromkeys(ref.id for ref in leaves((step.args, dict(step.kwargs)), Ref)))
    if any(old not in refs for _, old in step.renames):
        raise Unfit(f"{op.name} in {op.path or 'the network'} writes into memory that is seen through several views")
    function = step.function
    assert function is not None  # noqa: S101 (`_runs` asked)
    rule = rule_for(one, op, changed) if callable(function) and len(step.renames) <= 1 else None
    return Node(
        op,
        function,
        scaled(step.args, other.args, op.name),
        scaled(dict(step.kwargs), dict(other.kwargs), op.name),
        step.result,
        step.renames,
        refs,
        tuple(dict.fromkeys((*(ref.id for ref in leaves(step.result, Ref, deep=True)), *(n for n, _ in step.renames)))),
        rule,
    )


def _folded(tape: Tape, nodes: list[Node]) -> list[Node]:
    """Convolutions with the batch normalization behind them in one node."""
    readers = Counter(v for node in nodes for v in node.reads)
    readers.update(ref.id for ref in leaves(tape.result, Ref, deep=True))
    found: list[Node] = []
    for node in nodes:
        conv = next((n for n in reversed(found) if n.makes == node.reads[:1]), None)
        norm = _norm(tape.steps[node.op.index]) if node.op.name == "batch_norm" else None
        if conv is None or norm is None or not isinstance(conv.rule, Convolves) or readers[node.reads[0]] != 1:
            found.append(node)
            continue
        if conv.norm is not None or conv.writes or node.writes:
            found.append(node)
            continue
        place = found.index(conv)
        found[place] = replace(conv, result=node.result, makes=node.makes, norm=norm)
    return found


def _norm(step: Step) -> Norm | None:
    """Batch normalization at rest: (input, mean, variance, weight, bias, training, momentum, eps)."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = dict(zip(names, step.args, strict=False)) | dict(step.kwargs)
    ids = {k: v.id for k, v in given.items() if isinstance(v, Ref)}
    if given.get("training", False) or "running_mean" not in ids or "running_var" not in ids:
        return None
    return Norm(ids["running_mean"], ids["running_var"], ids.get("weight"), ids.get("bias"), given.get("eps", 1e-5))


def _with_ends(tape: Tape, nodes: list[Node]) -> Iterator[Node]:
    """Each node with the values that die behind it."""
    last = {v: i for i, node in enumerate(nodes) for v in (*node.reads, *node.makes)}
    kept = {ref.id for ref in leaves(tape.result, Ref, deep=True)}
    for i, node in enumerate(nodes):
        yield replace(node, dies=tuple(v for v in {*node.reads, *node.makes} if last[v] == i and v not in kept))


def weights(program: Program, model: nn.Module) -> dict[int, tuple[Tensor, Tensor | None]]:
    """Weight and bias of every convolution by the index of its operation: normalization inside, channels last.

    Raises `Unfit` when a weight is no parameter but computed.
    """
    named = named_weights(model)

    def value(id: int | None) -> Tensor | None:
        if id is None:
            return None
        known = program.tape.values[id]
        if known.origin == "constant":
            return program.tape.constants[id]
        if known.name not in named or known.origin == "operation":
            raise Unfit("a convolution's weights are computed while the network runs")
        return named[known.name].detach()

    found: dict[int, tuple[Tensor, Tensor | None]] = {}
    for node in program.nodes:
        if isinstance(node.rule, Convolves):
            weight, bias = value(node.rule.weight), value(node.rule.bias)
            assert weight is not None  # noqa: S101 (a convolution has one)
            if node.norm is not None:
                weight, bias = _inside(weight, bias, node.norm, value)
            found[node.op.index] = weight.contiguous(memory_format=torch.channels_last), bias
    return found


def _inside(
    weight: Tensor, bias: Tensor | None, norm: Norm, value: Callable[[int | None], Tensor | None]
) -> tuple[Tensor, Tensor]:
    """Weights that convolve and normalize at once; the factors are worked out in double precision."""
    mean, variance, scale, shift = (
        None if v is None else v.double() for v in map(value, (norm.mean, norm.variance, norm.weight, norm.bias))
    )
    assert mean is not None and variance is not None  # noqa: S101 (`_norm` asked)
    factor = (variance + norm.epsilon).rsqrt() * (1.0 if scale is None else scale)
    offset = ((0.0 if bias is None else bias.double()) - mean) * factor + (0.0 if shift is None else shift)
    return weight * factor.to(weight.dtype).view(-1, 1, 1, 1), offset.to(weight.dtype)
