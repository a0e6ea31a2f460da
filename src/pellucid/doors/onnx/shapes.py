"""The shapes of values in between, which most files leave out, by the standard's own inference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pellucid.doors.onnx.folded import Row, folded
from pellucid.doors.onnx.graph import DTYPES, Model, Value
from pellucid.doors.onnx.parse import value

_SMALL = 1024  # numbers of a weight that may say something about shapes
_ROUNDS = 6  # until nothing more follows
_WHOLE = 16 << 20  # bytes of a file that is not worth being made lighter first


def inferred(proto: Any, data: bytes) -> dict[str, Value]:
    """The types of as many values as can be inferred, by name; nothing where that fails.

    `data` are the bytes that `proto` was decoded from.  Of large files only the graph and small weights are looked at,
    so that it costs no second copy of large ones.
    """
    beside = any(w.data_location for w in proto.graph.initializer)
    whole = len(data) <= _WHOLE and not beside
    return _inferred(proto, data if whole else _light(proto).SerializeToString())


def _inferred(proto: Any, data: bytes) -> dict[str, Value]:
    from onnx.onnx_cpp2py_export import shape_inference

    try:
        found = shape_inference.infer_shapes(data, False, False, True)
    except Exception:  # the inference is there for the picture only: what it cannot do is left out
        return {}
    graph = type(proto).FromString(found).graph
    return {v.name: v for v in _read([*graph.value_info, *graph.output]) if v.shape is not None}


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
    light, found, done = _one_sample(_light(proto), batch), dict[str, Value](), dict[str, Value]()
    for _ in range(_ROUNDS):
        found = _inferred(proto, light.SerializeToString())
        sizes = {v.name: v.shape for v in (*found.values(), *map(value, light.graph.input)) if v.shape is not None}
        new = {name: row for name, row in folded(graph, sizes).items() if name not in done and name in found}
        if not new:
            break
        done.update({name: replace(found[name], shape=row.shape) for name, row in new.items()})
        _replaced(light, new, found)
    follows = {**found, **done}
    return {**known, **{name: v for name, v in follows.items() if not _told(known.get(name), batch)}}


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


def _read(protos: Iterable[Any]) -> Iterator[Value]:
    """The values; a type that many of them have is read once."""
    known: dict[bytes, Value] = {}
    for proto in protos:
        written = proto.type.SerializeToString()
        like = known.get(written)
        if like is None:
            like = known[written] = value(proto)
        yield Value(proto.name, like.dtype, like.shape, like.kind)


def with_shapes(model: Model, known: Mapping[str, Value]) -> Model:
    """The model with types that were found; those that it states of inputs and outputs stay."""
    graph = model.graph
    stated = tuple(v if v.shape is not None else known.get(v.name, v) for v in graph.outputs)
    return replace(model, graph=replace(graph, values={**graph.values, **known}, outputs=stated))


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
