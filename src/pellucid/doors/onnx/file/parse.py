"""From the bytes of an ONNX file to a `Model`.  The onnx package decodes the protocol buffer; nothing in it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.file.guard import MOST_NODES
from pellucid.doors.onnx.file.scopes import Scopes, source
from pellucid.doors.onnx.file.stored import array, check, dense, few, raw
from pellucid.doors.onnx.graph import DTYPES, Dims, Function, Graph, Model, Node, Reference, Value, Weights

_DEEPEST = 40  # subgraphs in subgraphs
_NEWEST = 28  # operator set of the default domain that was read when this was written


def decoded(data: bytes, name: str) -> Any:
    """The protocol buffer of an ONNX file.  Raises `BadModel` when it is none."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx.onnx_ml_pb2 import ModelProto  # not from onnx itself, which a bare one has not

    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise BadModel(f"{name} is damaged or incomplete: it cannot be decoded.", "Copy or export it again.") from None
    if not proto.HasField("graph"):
        raise BadModel(f"{name} holds no graph.", "Is it an ONNX model? Copy or export it again.")
    return proto


def model(proto: Any, name: str = "", folder: Path | None = None, beside: Path | None = None) -> Model:
    """A decoded file as plain data.

    `folder` is where its external data lies, and has to; `beside` is where it may lie, and is looked for when asked.
    """
    if len(proto.graph.node) > MOST_NODES:
        raise BadModel(f"{name} has more than {MOST_NODES:,} operations.", "Open a smaller part of it.")
    opsets = {_domain(entry.domain): int(entry.version) for entry in proto.opset_import}
    if opsets.get("", 0) > _NEWEST:
        raise BadModel(
            f"{name or 'The model'} uses operator set {opsets['']}; Pellucid knows up to {_NEWEST}.",
            f"Export it again with opset_version={_NEWEST} or less.",
        )
    reader = _Reader(opsets, folder, beside)
    functions = [reader.function(f) for f in proto.functions]
    graph = reader.graph(proto.graph, 0)
    return Model(
        graph=graph,
        functions={(f.domain, f.name, f.overload): f for f in functions},
        opsets=opsets,
        producer=printable(f"{proto.producer_name} {proto.producer_version}".strip()),
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        kinds=reader.scopes.kinds,
        name=name or printable(graph.name),
    )


def function(proto: Any, defaults: Mapping[str, Any], opsets: Mapping[str, int]) -> Function:
    """A function of the standard as data; `defaults` are the messages of the attributes that it can do without."""
    reader = _Reader(dict(opsets), None)
    found = reader.function(proto)
    stated = {name: reader.attribute(a, 0) for name, a in defaults.items()}
    return replace(found, defaults={**stated, **found.defaults})


def _domain(text: str) -> str:
    return "" if text == "ai.onnx" else text


class _Reader:
    """Turns messages into data, with what they share: the operator sets in force and the scopes met so far."""

    def __init__(self, opsets: dict[str, int], folder: Path | None, beside: Path | None = None) -> None:
        self.opsets, self.folder, self.beside, self.scopes = opsets, folder, folder or beside, Scopes()

    def graph(self, proto: Any, depth: int) -> Graph:
        if depth > _DEEPEST:
            raise BadModel(f"Subgraphs are nested more than {_DEEPEST} deep.", "Export the model again.")
        stored = [*map(self.weights, proto.initializer), *map(self.sparse, proto.sparse_initializer)]
        weights = {w.name: w for w in stored}
        if len(weights) != len(stored):
            twice = next(w.name for i, w in enumerate(stored) if any(w.name == v.name for v in stored[:i]))
            raise BadModel(f"Two weights are named {printable(twice)!r}.", "Export the model again.")
        values = {v.name: value(v) for v in proto.value_info}
        return Graph(
            name=proto.name,
            inputs=tuple(value(v) for v in proto.input),
            outputs=tuple(value(v) for v in proto.output),
            nodes=tuple([self.node(n, depth) for n in proto.node]),
            weights=weights,
            values=values,
        )

    def function(self, proto: Any) -> Function:
        outer, self.opsets = self.opsets, self.opsets | {_domain(e.domain): e.version for e in proto.opset_import}
        nodes = tuple([self.node(n, 0) for n in proto.node])
        self.opsets = outer
        defaults = {a.name: self.attribute(a, 0) for a in proto.attribute_proto}
        inputs, outputs = tuple(proto.input), tuple(proto.output)
        return Function(_domain(proto.domain), proto.name, proto.overload, inputs, outputs, defaults, nodes)

    def node(self, proto: Any, depth: int) -> Node:
        op, domain, name, overload = proto.op_type, _domain(proto.domain), proto.name, proto.overload
        inputs, outputs = tuple(proto.input), tuple(proto.output)
        _refuse_bytes(op, domain, name, overload, *inputs, *outputs)
        metadata = {entry.key: entry.value for entry in proto.metadata_props} if proto.metadata_props else {}
        stated = proto.attribute
        return Node(
            op,
            inputs,
            outputs,
            {a.name: self.attribute(a, depth) for a in stated} if stated else {},
            name,
            domain,
            self.opsets.get(domain, 1),
            self.scopes.path(name, metadata, inputs),
            source(metadata) if metadata else "",
            overload,
        )

    def attribute(self, proto: Any, depth: int) -> Any:
        """An attribute's value: int, float, str, tuples of them, `Weights`, `Graph`, `Value` or a `Reference`."""
        _refuse_bytes(proto.name)
        if proto.ref_attr_name:
            return Reference(proto.ref_attr_name)
        kind = proto.type
        if kind in _PLAIN:
            return _PLAIN[kind](proto)
        if kind == 4:
            return self.weights(proto.t, constant=True)
        if kind == 5:
            return self.graph(proto.g, depth + 1)
        if kind == 9:
            return tuple(map(self.weights, proto.tensors))
        if kind == 10:
            return tuple(self.graph(g, depth + 1) for g in proto.graphs)
        if kind == 11:
            return self.sparse(proto.sparse_tensor)
        raise BadModel(f"Attribute {printable(proto.name)!r} is of no known kind ({kind}).", "Export the model again.")

    def weights(self, proto: Any, *, constant: bool = False) -> Weights:
        shape, dtype = tuple(proto.dims), DTYPES.get(proto.data_type, "undefined")
        _refuse_bytes(proto.name)
        if self.folder is not None:
            check(proto, self.folder)
        load, short = partial(array, proto, self.folder), partial(few, proto, dtype)
        return Weights(proto.name, dtype, shape, load, short, partial(raw, proto, dtype, self.beside), constant)

    def sparse(self, proto: Any) -> Weights:
        dtype = DTYPES.get(proto.values.data_type, "undefined")
        return Weights(proto.values.name, dtype, tuple(proto.dims), partial(dense, proto, self.folder))


def _refuse_bytes(*names: object) -> None:
    """Names that are no text come as bytes: a sign of damage."""
    if not _TEXTS.issuperset(map(type, names)):
        raise BadModel("The file is damaged: a name in it is no text.", "Copy or export it again.")


_TEXTS = {str}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# By the numbers of AttributeProto.AttributeType.
_PLAIN: dict[int, Callable[[Any], Any]] = {
    1: lambda a: a.f,
    2: lambda a: a.i,
    3: lambda a: _text(a.s),
    6: lambda a: tuple(a.floats),
    7: lambda a: tuple(a.ints),
    8: lambda a: tuple(map(_text, a.strings)),
    13: lambda a: _typed("", a.tp),
    14: lambda a: tuple(_typed("", t) for t in a.type_protos),
}


def value(proto: Any) -> Value:
    """The name and the type of an input, an output or a value in between."""
    return _typed(proto.name, proto.type) if proto.HasField("type") else Value(proto.name)


def _typed(name: str, proto: Any) -> Value:
    _refuse_bytes(name)
    kind = proto.WhichOneof("value") or ""
    if kind in ("tensor_type", "sparse_tensor_type"):
        inner = getattr(proto, kind)
        shape = _dims(inner.shape) if inner.HasField("shape") else None
        return Value(name, DTYPES.get(inner.elem_type, "undefined"), shape, kind.partition("_")[0])
    if kind in ("sequence_type", "optional_type"):
        inside = _typed("", getattr(proto, kind).elem_type)
        return Value(name, inside.dtype, inside.shape, kind.partition("_")[0])
    return Value(name, kind=kind.partition("_")[0] or "tensor")


def _dims(proto: Any) -> Dims:
    kinds = [None if d.dim_value < 0 else d.WhichOneof("value") for d in proto.dim]  # some write -1: unknown
    return tuple(None if kind is None else getattr(d, kind) for d, kind in zip(proto.dim, kinds, strict=True))
