"""The shapes of values in between, which most files leave out, by the standard's own inference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pellucid.doors.onnx.graph import Model
from pellucid.doors.onnx.parse import value

_SMALL = 1024  # numbers of a weight that may say something about shapes


def with_shapes(model: Model, proto: Any) -> Model:
    """The model with the types of as many values as can be inferred; as it is where that fails.

    Only the graph and small weights are looked at, so that it costs no second copy of large ones.
    """
    from onnx.shape_inference import infer_shapes

    try:
        inferred = infer_shapes(_light(proto), data_prop=True)
    except Exception:  # the inference is there for the picture only: what it cannot do is left out
        return model
    known = {v.name: value(v) for v in inferred.graph.value_info}
    outputs = {v.name: value(v) for v in inferred.graph.output}
    graph = model.graph
    stated = tuple(v if v.shape is not None else outputs.get(v.name, v) for v in graph.outputs)
    return replace(model, graph=replace(graph, values={**known, **graph.values}, outputs=stated))


def _light(proto: Any) -> Any:
    """The same model without the numbers of large weights."""
    light = type(proto)(ir_version=proto.ir_version)
    light.opset_import.extend(proto.opset_import)
    light.functions.extend(proto.functions)
    light.graph.name = proto.graph.name
    for field in ("node", "input", "output", "value_info"):
        getattr(light.graph, field).extend(getattr(proto.graph, field))
    for w in proto.graph.initializer:
        count = 1
        for d in w.dims:
            count *= d
        if count <= _SMALL and w.data_location == 0:
            light.graph.initializer.append(w)
        else:
            light.graph.initializer.add(name=w.name, data_type=w.data_type, dims=w.dims)
    return light
