"""From a tape, the record of one forward pass, to a graph: what ran, in which module, and what it handed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pellucid.architecture.graph import ROOT, Graph
from pellucid.architecture.sources.draft import Draft, Row, Run
from pellucid.architecture.sources.labels import label
from pellucid.core.recording.step import Ref
from pellucid.core.recording.tape import ModuleCall, Operation, Tape, Value
from pellucid.core.structure import leaves, parts

PLAIN = "Module"  # the class of what has no class of its own
OPERATION = "Operation"  # of an exported program: a part of it, and no module of the network
Called = tuple[str, int]  # a module's path, and which of its runs


def from_tape(tape: Tape, name: str, source: str = "") -> Graph:
    """The graph of a recorded pass.

    Operations that handed their input back untouched are left out; what they handed on goes past them.  So are those
    that took nothing and whose output nobody read, such as zeros to begin with that were not needed.  A module that
    ran twice is two groups; one that ran in pieces is one.  Parameters that no operation was seen to read belong to the
    group of their module.

    >>> import torch
    >>> from pellucid.core.recording.record import record_module
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Dropout(), torch.nn.ReLU()).eval()
    >>> graph = from_tape(record_module(model, (torch.zeros(1, 2),), {}), "small")
    >>> graph.nodes.op, graph.groups.path, graph.groups.parameters
    (('input', 'linear', 'relu', 'output'), ('', '0', '2'), (9, 9, 0))
    """
    draft = Draft(name, source)
    kinds = {module.path: module.kind for module in tape.modules}
    groups = _groups(draft, tape, kinds)
    made: dict[int, int] = {}  # the node that put out a value
    _inputs(draft, tape, made)
    stored: set[int] = set()
    read = {v for op in tape.operations for v in op.inputs} | {ref.id for ref in leaves(tape.result, Ref, deep=True)}
    for op in tape.operations:
        if not op.idle and (op.inputs or op.mutates or not read.isdisjoint(op.outputs)):
            _operation(draft, tape, op, groups.get((op.path, op.call), ROOT), kinds, made, stored)
    _outputs(draft, tape, made)
    _idle_parameters(draft, tape, groups)
    return draft.finished()


def _groups(draft: Draft, tape: Tape, kinds: Mapping[str, str]) -> dict[Called, int]:
    """Every module call as a group, parents first, in the order of running; the pieces of one run are one group.

    The operations of an exported program are parts of it, but no modules.
    """
    inside: dict[Called | None, list[tuple[int, int, ModuleCall]]] = {}
    for order, call in enumerate(tape.calls):
        inside.setdefault(call.parent, []).append((call.first, order, call))
    found: dict[Called, int] = {}
    holders: dict[tuple[int, str], int] = {}
    begun: dict[tuple[int, str], int] = {}  # what runs in pieces, by the group around it
    ahead = [(-1, call) for *_, call in inside.get(None, [])]
    while ahead:
        parent, call = ahead.pop()
        here = (call.path, call.call)
        parent = _holder(draft, parent, call.path, kinds, holders)
        held = sorted(inside.get(here, []), key=lambda c: c[:2], reverse=True)
        lone = kinds.get(call.path) == OPERATION and not held and parent >= 0
        found[here] = parent if lone else begun.get((parent, call.path), -1)
        if found[here] < 0:
            found[here] = draft.group(Run(parent, call.path, _known(kinds.get(call.path, "")), call.call))
        if call.path in tape.pieces:
            begun[parent, call.path] = found[here]
        ahead.extend((found[here], child) for *_, child in held)
    return found


def _holder(draft: Draft, parent: int, path: str, kinds: Mapping[str, str], holders: dict[tuple[int, str], int]) -> int:
    """The group around a call: modules between it and the one that called it which only hold others (of an exported
    program) are groups too.
    """
    outer = draft.runs[parent].path if parent >= 0 else ""
    at = path.find(".", len(outer) + 1 if outer else 0)
    while at >= 0:
        holder = path[:at]
        if kinds.get(holder) == PLAIN:
            if (parent, holder) not in holders:
                holders[parent, holder] = draft.group(Run(parent, holder, ""))
            parent = holders[parent, holder]
        at = path.find(".", at + 1)
    return parent


def _known(kind: str) -> str:
    """The class of a module, where it says something: the operations of an exported program speak for themselves."""
    return "" if kind in (PLAIN, OPERATION) else kind


def _inputs(draft: Draft, tape: Tape, made: dict[int, int]) -> None:
    for value in tape.values:
        if value.origin == "input":
            made[value.id] = draft.add(Row("input", ROOT, value.shape, value.dtype, label=value.name))


def _outputs(draft: Draft, tape: Tape, made: dict[int, int]) -> None:
    """What the network hands back, by name; of what lies together in a container (a cache) one node with a count."""
    for name, refs in _by_name(tape.result).items():
        first = tape.values[refs[0].id]
        label = name if len(refs) == 1 else f"{name} ×{len(refs)}".lstrip()
        at = draft.add(Row("output", ROOT, first.shape, first.dtype, label=label))
        for ref in refs:
            if ref.id in made:
                draft.edge(made[ref.id], at, tape.values[ref.id].shape)


def _by_name(result: Any) -> dict[str, list[Ref]]:
    """The tensors of an output by the names on its first level; a bare tensor has none."""
    if isinstance(result, Ref):
        return {"": [result]}
    found = {name: leaves(value, Ref, deep=True) for name, value in parts(result, deep=True)}
    return {name: refs for name, refs in found.items() if refs}


def _operation(
    draft: Draft, tape: Tape, op: Operation, group: int, kinds: Mapping[str, str], made: dict[int, int],
    stored: set[int],
) -> None:  # fmt: skip
    values = [tape.values[v] for v in op.outputs]
    weights = {w.name: w.count for w in map(tape.values.__getitem__, op.inputs) if w.origin == "parameter"}
    stored.update(tape.values[v].storage for v in op.inputs)
    new = {v.storage: v.bytes for v in values if v.storage not in stored and v.origin == "operation"}
    stored.update(new)
    first: Value | None = values[0] if values else None
    at = draft.add(
        Row(
            kinds.get(op.path, "module") if op.name == "module" else op.name.rstrip("_").removeprefix("aten."),
            group,
            None if first is None else first.shape,
            "" if first is None else first.dtype,
            weights,
            op.flops,
            sum(new.values()),
            label(op, tape.steps[op.index], tape),
            str(op.site),
        )
    )
    for v in op.inputs:
        if v in made and made[v] != at:
            draft.edge(made[v], at, tape.values[v].shape)
    made.update(dict.fromkeys(op.outputs, at))


def _idle_parameters(draft: Draft, tape: Tape, groups: Mapping[Called, int]) -> None:
    read = {name for row in draft.rows for name in row.weights}
    for value in tape.values:
        if value.origin == "parameter" and value.name not in read:
            home = value.name.rpartition(".")[0]
            while home and (home, 0) not in groups:
                home = home.rpartition(".")[0]
            draft.idle.append((value.name, groups.get((home, 0), ROOT), value.count))


def unused(tape: Tape) -> int:
    """How many numbers stand in parameters that no operation of the pass read.

    What an opaque module (scripted code) reads is not seen, so its parameters count as used.
    """
    opaque = tuple(op.path for op in tape.operations if op.name == "module")
    read = {v for op in tape.operations for v in op.inputs}
    return sum(
        value.count
        for value in tape.values
        if value.origin == "parameter" and value.id not in read and not _inside(value.name, opaque)
    )


def _inside(name: str, paths: tuple[str, ...]) -> bool:
    return any(not path or name.startswith(path + ".") for path in paths)
