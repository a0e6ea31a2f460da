"""The shapes of values in between, which most files leave out, by the standard's own inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pellucid.doors.onnx.graph import Model, Value
from pellucid.doors.onnx.parse import value

_SMALL = 1024  # numbers of a weight that may say something about shapes


def inferred(proto: Any) -> dict[str, Any]:
    """`[dtype, sizes, kind]` of as many values as can be inferred, by name; nothing where that fails.

    Only the graph and small weights are looked at, so that it costs no second copy of large ones.
    """
    from onnx.shape_inference import infer_shapes

    try:
        found = infer_shapes(_light(proto), data_prop=True)
    except Exception:  # the inference is there for the picture only: what it cannot do is left out
        return {}
    types = map(value, (*found.graph.value_info, *found.graph.output))
    return {v.name: [v.dtype, v.shape, v.kind] for v in types if v.shape is not None}


def with_shapes(model: Model, known: Mapping[str, Any]) -> Model:
    """The model with types that were inferred; those that the file states stay."""
    types = {name: Value(name, dtype, tuple(sizes), kind) for name, (dtype, sizes, kind) in known.items()}
    graph = model.graph
    stated = tuple(v if v.shape is not None else types.get(v.name, v) for v in graph.outputs)
    return replace(model, graph=replace(graph, values={**types, **graph.values}, outputs=stated))


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
