"""How much of the input each operation sees, as a measure of the map."""

from __future__ import annotations

from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Measure
from pellucid.architecture.overlays.places import last_nodes, nodes_by_operation, spread
from pellucid.core.errors import BadInput
from pellucid.core.recording.receptive_field import ReceptiveField, receptive_fields
from pellucid.core.recording.tape import Tape


def fields(tape: Tape, graph: Graph) -> dict[str, Measure]:
    """The receptive field of every operation, in input pixels along its longest axis; nothing without positions.

    Where an operation sees the whole input, that is its field: the input's longest side.

    >>> import torch
    >>> from pellucid.architecture.sources.from_tape import from_tape
    >>> from pellucid.core.recording.record import record_module
    >>> tape = record_module(torch.nn.Conv2d(1, 1, 3), (torch.zeros(1, 1, 8, 8),), {})
    >>> fields(tape, from_tape(tape, "one"))["field"].nodes
    (None, 3.0, None)
    """
    start = next((v for v in tape.values if v.origin == "input" and len(v.shape) >= 3 and "float" in v.dtype), None)
    if start is None:
        return {}
    try:
        known = receptive_fields(tape)
    except BadInput:
        return {}
    side = max(start.shape[2:])
    found: dict[int, float] = {}
    for index, node in nodes_by_operation(tape, graph).items():
        seen = [known[v] for v in tape.operations[index].outputs if v in known]
        if seen:
            found[node] = _longest(seen[0], side)
    nodes, groups = spread(found, graph, last_nodes(tape, graph))
    return {"field": Measure("Receptive field", "px", nodes, groups, "log")}


def _longest(seen: ReceptiveField, side: int) -> float:
    return float(max((side if size is None else min(size, side)) for size in seen.size))
