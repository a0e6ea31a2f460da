"""Shapes that follow where a file computes them: the standard's inference and plain arithmetic take turns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pellucid.doors.onnx.file.parse import value
from pellucid.doors.onnx.graph import DTYPES, Model, Value
from pellucid.doors.onnx.shapes.folded import Row, folded
from pellucid.doors.onnx.shapes.inferred import lightened, types_in

_ROUNDS = 100  # at most, until nothing more follows
_WORK = 100_000  # nodes that are looked at, over all rounds


def followed(proto: Any, model: Model, known: Mapping[str, Value]) -> dict[str, Value]:
    """What is known, and what follows where a file computes shapes, with a batch that only has a name as one sample.

    The inference and the arithmetic take turns.  It is as it was for files with other free axes: nothing follows there.
    """
    graph = model.graph
    known = {**known, **graph.values}
    free = {size for v in graph.inputs for size in v.shape or (None,) if not isinstance(size, int)}
    batch = {v.shape[0] for v in graph.inputs if v.shape and v.shape[0] is not None}
    if not free <= batch or all(_told(known.get(n), batch) for node in graph.nodes for n in node.outputs if n):
        return known
    light, found, done = _one_sample(lightened(proto), batch), dict[str, Value](), dict[str, Value]()
    for _ in range(min(_ROUNDS, 1 + _WORK // len(graph.nodes))):
        found = _inferred(light)
        sizes = {v.name: v.shape for v in (*found.values(), *map(value, light.graph.input)) if v.shape is not None}
        new = {name: row for name, row in folded(graph, sizes).items() if name not in done and name in found}
        if not new:
            break
        done.update({name: replace(found[name], shape=row.shape) for name, row in new.items()})
        _replaced(light, new, found)
    follows = {**found, **done}
    return {
        **known,
        **{name: v for name, v in follows.items() if _told(v, batch) and not _told(known.get(name), batch)},
    }


def _inferred(light: Any) -> dict[str, Value]:
    from onnx.onnx_cpp2py_export import shape_inference

    try:
        found = shape_inference.infer_shapes(light.SerializeToString(), False, False, True)
    except Exception:  # it is there for the picture only: what it cannot do is left out
        return {}
    return types_in(type(light).FromString(found).graph)


def _told(value: Value | None, names: Collection[object]) -> bool:
    """Are all sizes numbers, or names that stand at an input?"""
    return value is not None and value.shape is not None and all(isinstance(n, int) or n in names for n in value.shape)


def _one_sample(light: Any, batch: Collection[object]) -> Any:
    del light.graph.value_info[:]
    for v in (*light.graph.input, *light.graph.output):
        for size in v.type.tensor_type.shape.dim:
            if size.dim_param in batch:
                size.dim_value = 1
    return light


def _replaced(light: Any, rows: Mapping[str, Row], types: Mapping[str, Value]) -> None:
    """Stored tensors in place of the nodes that compute them."""
    kept = [node for node in light.graph.node if not any(name in rows for name in node.output)]
    del light.graph.node[:]
    light.graph.node.extend(kept)
    codes = {name: code for code, name in DTYPES.items()}
    for name, row in rows.items():
        w = light.graph.initializer.add(name=name, data_type=codes[types[name].dtype])
        w.dims.extend(row.shape)
        if types[name].dtype == "int64":
            w.int64_data.extend(map(int, row.numbers))
        elif types[name].dtype == "float32":
            w.float_data.extend(row.numbers)
        else:
            w.int32_data.extend(map(int, row.numbers))
