"""An ONNX model as plain data: values, weights, nodes, subgraphs, functions.  To hold it takes neither torch nor onnx.

`pellucid.doors.onnx.file.parse` fills it from a file; a map can be drawn from it, and `build` makes a module of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import Any, TypeAlias

_Data: TypeAlias = bytes  # `bytes` is a property of weights
Dims: TypeAlias = tuple[int | str | None, ...]  # a number, a name such as "batch", or not stated

# The numbers that a file writes for element types (onnx.proto), under the names that torch has for them.
DTYPES: Mapping[int, str] = {
    0: "undefined", 1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
    16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz",
    21: "uint4", 22: "int4", 23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip
BITS: Mapping[str, int] = {
    "uint2": 2, "int2": 2, "uint4": 4, "int4": 4, "float4_e2m1fn": 4, "bool": 8, "uint8": 8, "int8": 8,
    "float8_e4m3fn": 8, "float8_e4m3fnuz": 8, "float8_e5m2": 8, "float8_e5m2fnuz": 8, "float8_e8m0fnu": 8,
    "uint16": 16, "int16": 16, "float16": 16, "bfloat16": 16, "uint32": 32, "int32": 32, "float32": 32,
    "uint64": 64, "int64": 64, "float64": 64, "complex64": 64, "complex128": 128,
}  # fmt: skip
FEW = 32  # numbers that a shape, a list of axes or of sizes has at most
MOST = 64 << 20  # bytes that are looked through for what they are


@dataclass(frozen=True, slots=True)
class Value:
    """A named value and what the file says about its type; `shape` is None where it says nothing."""

    name: str
    dtype: str = "undefined"
    shape: Dims | None = None
    kind: str = "tensor"  # or "sequence", "optional", "map", "sparse"


@dataclass(frozen=True, slots=True)
class Weights:
    """A stored tensor.  Its numbers are read only when `array` is called, or `few` where there are only some.

    `constant`: it stands in a node of its own and not among the initializers.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], Any] = field(repr=False, compare=False)
    short: Callable[[], Sequence[float]] | None = field(default=None, repr=False, compare=False)
    raw: Callable[[], _Data] | None = field(default=None, repr=False, compare=False)
    constant: bool = False

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """What they take, in bytes; strings are counted as nothing."""
        return (self.count * BITS.get(self.dtype, 0) + 7) // 8

    @property
    def few(self) -> Sequence[float]:
        """Up to 32 numbers, without NumPy; nothing where they are more, or not here to be read."""
        return () if self.short is None or self.count > FEW else self.short()

    @property
    def stored(self) -> _Data:
        """Its numbers as the file holds them, lowest byte first; nothing where they are very many, or not here."""
        return b"" if self.raw is None or self.bytes > MOST else self.raw()

    def array(self) -> Any:
        """The numbers as a NumPy array (of `ml_dtypes` where NumPy has no such type)."""
        return self.load()


@dataclass(frozen=True, slots=True)
class Reference:
    """An attribute in a function's body whose value is the attribute `name` of whoever calls the function."""

    name: str


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.  An empty name among `inputs` or `outputs` stands for an optional one that is not there.

    `path` is the chain of modules that it stood in where it was exported, `source` the line of code that it came from.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""
    version: int = 0
    path: tuple[str, ...] = ()
    source: str = ""
    overload: str = ""

    @property
    def title(self) -> str:
        """The operator as a person would look it up: `Conv`, `com.microsoft::Attention`."""
        return f"{self.domain}::{self.op}" if self.domain else self.op

    @property
    def bodies(self) -> dict[str, Graph]:
        """The subgraphs among its attributes, by attribute."""
        return {key: value for key, value in self.attributes.items() if type(value) is Graph}


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in execution order, with what goes in and comes out.  `values` are the types that the file states."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    weights: Mapping[str, Weights]
    values: Mapping[str, Value]

    def walk(self) -> Iterator[Node]:
        """Every node, also those in subgraphs."""
        for node in self.nodes:
            yield node
            if node.attributes:
                for body in node.bodies.values():
                    yield from body.walk()


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a model brings along: nodes with formal inputs, outputs and attributes."""

    domain: str
    name: str
    overload: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    defaults: Mapping[str, Any]  # of its attributes
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A whole file.  `kinds` names the class of each module in the exporter's tree by its dotted path."""

    graph: Graph
    functions: Mapping[tuple[str, str, str], Function]
    opsets: Mapping[str, int]
    producer: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


def constant(node: Node) -> Weights | None:
    """The numbers that a node of its own holds, by the name of its output; None for texts and for what has no value.

    >>> constant(Node("Constant", (), ("two",), {"value_floats": (1.0, 2.0)}))
    Weights(name='two', dtype='float32', shape=(2,), constant=True)
    """
    key, value = next(iter(node.attributes.items()), ("", None))
    if isinstance(value, Weights):
        return replace(value, name=node.outputs[0], constant=True)
    values: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
    if not {int, float}.issuperset(map(type, values)):
        return None
    dtype = "float32" if "float" in key else "int64"
    shape = (len(values),) if isinstance(value, tuple) else ()
    return Weights(node.outputs[0], dtype, shape, partial(_array, value, dtype), lambda: values, constant=True)


def _array(value: Any, dtype: str) -> Any:
    import numpy as np

    return np.array(value, dtype)
