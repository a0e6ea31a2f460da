"""Scores before a final softmax: probabilities have next to no gradient where a network is sure."""

from __future__ import annotations

from dataclasses import replace

from pellucid.doors.files import printable
from pellucid.doors.onnx.graph import Model, Value


def offered(model: Model) -> tuple[Model, str]:
    """The model with the input of its final softmax as a second output, and a sentence about it; or as it is, and ''.

    Only where the softmax makes the only output.
    """
    graph = model.graph
    if len(graph.outputs) != 1:
        return model, ""
    output = graph.outputs[0]
    last = next((node for node in graph.nodes if output.name in node.outputs), None)
    if last is None or last.op not in ("Softmax", "LogSoftmax") or last.domain or last.inputs[0] in graph.weights:
        return model, ""
    scores = replace(output, name=last.inputs[0]) if last.inputs[0] else Value("")
    if scores.name in {v.name for v in graph.inputs}:
        return model, ""
    note = (
        f"Output {printable(output.name)!r} is a softmax, whose gradients vanish where the network is sure; "
        f"the scores before it are there as pl.open(path, output={printable(scores.name)!r})."
    )
    return replace(model, graph=replace(graph, outputs=(output, scores))), note
