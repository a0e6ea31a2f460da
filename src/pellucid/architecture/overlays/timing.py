"""How long each operation takes, measured by running the recorded pass again, operation by operation."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pellucid.architecture.given import Call
from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Measure
from pellucid.architecture.overlays.places import nodes_by_operation
from pellucid.architecture.sources.draft import sums
from pellucid.core.recording.tape import Operation, Tape

REPEATS = 5


def timed(tape: Tape, model: nn.Module, call: Call, graph: Graph, repeats: int = REPEATS) -> dict[str, Measure]:
    """Seconds of each operation: the median of `repeats` runs after one to warm up; a group's is the sum of its own.

    What Python does between operations is not counted, and on a GPU each operation is waited for, so that the sum is
    not the time of a whole pass.
    """
    nodes = nodes_by_operation(tape, graph)
    spent: dict[int, list[float]] = defaultdict(list)
    gpu = any(p.is_cuda for p in model.parameters())
    since = 0.0

    def begin() -> None:
        nonlocal since
        since = time.perf_counter()

    def see(op: Operation, _: Mapping[int, Tensor]) -> None:
        nonlocal since
        if gpu:
            torch.cuda.synchronize()
        spent[op.index].append(time.perf_counter() - since)
        begin()

    for _ in range(repeats + 1):
        with torch.no_grad():
            tape.replay(model, call.args, call.kwargs, see=see, begin=begin)
    found: list[float] = [0.0] * len(graph.nodes)
    for index, node in nodes.items():
        found[node] = statistics.median(spent[index][1:])
    of_groups = sums(graph.groups.parent, zip(graph.nodes.group, found, strict=True))
    ran = set(nodes.values())
    shown = tuple(v if node in ran else None for node, v in enumerate(found))
    return {"time": Measure("Time", "s", shown, of_groups, "log")}
