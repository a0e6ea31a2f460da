"""The shapes of values in between, which most files leave out, by the standard's own inference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Thread
from typing import Any

from pellucid.doors.onnx.file.parse import value
from pellucid.doors.onnx.graph import Model, Value

_SMALL = 1024  # numbers of a weight that may say something about shapes
_WHOLE = 16 << 20  # bytes of a file that is not worth being made lighter first


@contextmanager
def inferring(proto: Any, data: bytes) -> Iterator[Callable[[], dict[str, Value]]]:
    """The types of as many values as can be inferred, by name; nothing where that fails.

    The inference is at work while the block runs, in a thread: it is C++ that lets Python go on.  What is given waits
    for it.  `data` are the bytes that `proto` was decoded from.  Of large files only the graph and small weights are
    looked at, so that it costs no second copy of large ones.
    """
    found: list[bytes] = []
    thread = Thread(target=_infer, args=(proto, data, found))
    thread.start()

    def types() -> dict[str, Value]:
        thread.join()
        return types_in(type(proto).FromString(found[0] if found else b"").graph)

    try:
        yield types
    finally:
        thread.join()


def types_in(graph: Any) -> dict[str, Value]:
    """The types that a graph's message states of values in between and of outputs, by name, where it tells shapes."""
    return {v.name: v for v in _read([*graph.value_info, *graph.output]) if v.shape is not None}


def _infer(proto: Any, data: bytes, found: list[bytes]) -> None:
    from onnx.onnx_cpp2py_export import shape_inference

    beside = any(w.data_location for w in proto.graph.initializer)
    whole = len(data) <= _WHOLE and not beside
    with suppress(Exception):  # it is there for the picture only: what it cannot do is left out
        looked = data if whole else lightened(proto).SerializeToString()
        found.append(shape_inference.infer_shapes(looked, False, False, True))


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


def freed(proto: Any) -> bool:
    """Take sizes below 0, by which some exporters mean free ones, out of a model's message: were there any?

    The first of an input is its batch and gets that name.  The inference would reckon with them as with numbers.
    """
    found = False
    graph = proto.graph
    for values, name in ((graph.input, "batch"), (graph.value_info, ""), (graph.output, "")):
        for v in values:
            for axis, size in enumerate(v.type.tensor_type.shape.dim):
                if size.dim_value < 0:
                    found = True
                    size.ClearField("dim_value")
                    if name and axis == 0:
                        size.dim_param = name
    return found


def lightened(proto: Any) -> Any:
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
