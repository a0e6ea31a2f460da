"""How strongly the top score depends on what each operation puts out: the norm of its gradient there."""

from __future__ import annotations

import torch

from pellucid.architecture.given import Call
from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Measure
from pellucid.architecture.overlays.places import last_nodes, nodes_by_operation, spread
from pellucid.core.errors import PellucidError
from pellucid.core.names import named_arguments
from pellucid.core.network import Network
from pellucid.core.recording.tape import Tape
from pellucid.core.score import Score
from pellucid.core.target import logit


def gradients(net: Network, tape: Tape, call: Call, graph: Graph) -> tuple[dict[str, Measure], str]:
    """The norm of the gradient of each sample's top score, by operation, the root of the mean square over samples.

    Only of networks that put out one row of scores a sample; of others nothing, with a sentence that says why.
    """
    x = {k: v.detach() for k, v in named_arguments(net.model, call.args, call.kwargs).items()}
    nodes = nodes_by_operation(tape, graph)
    sites = {node: tape.operations[index].site for index, node in nodes.items() if _flows(tape, index)}
    try:
        with torch.enable_grad():
            f = Score(net, logit(0))
            outputs = f.outputs(x)
            if outputs.ndim != 2:
                return {}, f"No gradients: the output {tuple(outputs.shape)} has no top class."
            f = Score(net, logit(tuple(int(i) for i in outputs.argmax(1))))
            seen = f.watch(x, *sites.values())
    except (PellucidError, RuntimeError) as error:
        why = error.what if isinstance(error, PellucidError) else type(error).__name__
        return {}, f"No gradients: {why}"
    found = {node: _norm(seen[site].grad) for node, site in sites.items()}
    columns = spread(found, graph, last_nodes(tape, graph))
    return {"gradient": Measure("Gradient of the top score", "", *columns, "log")}, ""


def _norm(grad: torch.Tensor) -> float:
    return float(grad.double().square().sum().div(len(grad)).sqrt())


def _flows(tape: Tape, index: int) -> bool:
    """Is it a value that gradients reach: a floating one that depends on the input, sample by sample?"""
    op = tape.operations[index]
    if not op.outputs or op.hidden:
        return False
    value = tape.values[op.outputs[0]]
    batch = next(v.shape[0] for v in tape.values if v.origin == "input")
    return value.varies and value.dtype.startswith(("float", "bfloat")) and value.shape[:1] == (batch,)
