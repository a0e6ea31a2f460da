"""Scores before a final softmax or sigmoid: probabilities have next to no gradient where a network is sure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pellucid.core.head import Head
from pellucid.doors.files import printable
from pellucid.doors.onnx.facing import channels_last
from pellucid.doors.onnx.graph import Graph, Model, Value


@dataclass(frozen=True, slots=True)
class Ending:
    """A model whose scores can be asked for: which output is meant (None: the only one), what it is, a sentence."""

    model: Model
    output: str | None = None
    head: Head | None = None
    note: str = ""


def offered(model: Model) -> Ending:
    """The model with the input of its final softmax, or of the sigmoid of its only score, as a second output.

    The softmax stays what is explained, the single score takes the place of its sigmoid.  Only where it makes the only
    output; any other model is as it is.
    """
    graph = model.graph
    if len(graph.outputs) != 1:
        return Ending(model)
    output, count = graph.outputs[0], _count(graph)
    whole = Ending(model, head=None if count is None else Head(count))
    last = next((node for node in graph.nodes if output.name in node.outputs), None)
    if last is None or last.domain or not last.inputs or last.inputs[0] in graph.weights:
        return whole
    single = last.op == "Sigmoid" and count == 1
    if not single and last.op not in ("Softmax", "LogSoftmax"):
        return whole
    scores = replace(output, name=last.inputs[0]) if last.inputs[0] else Value("")
    if scores.name in {v.name for v in graph.inputs}:
        return whole
    both = replace(model, graph=replace(graph, outputs=(output, scores)))
    said, before = (f"pl.open(path, output={printable(v.name)!r})" for v in (output, scores))
    if single:
        note = f"The sigmoid at the end is left out: the score before it is explained (its probability: {said})."
        return Ending(both, scores.name, Head(1, "logit"), note)
    note = (
        f"Output {printable(output.name)!r} is a softmax, whose gradients vanish where the network is sure; "
        f"the scores before it are there as {before}."
    )
    return Ending(both, output.name, whole.head, note)


def _count(graph: Graph) -> int | None:
    """How many scores the only output has by its shape, `[batch, scores]` or a map of them; None: not said."""
    (output,) = graph.outputs
    shape = output.shape or ()
    if len(shape) not in (2, 4):
        return None
    count = shape[-1 if output.name in channels_last(graph) else 1]
    return count if isinstance(count, int) and count > 0 else None
