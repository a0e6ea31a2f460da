"""An imported model as torch modules: one for every operation, in the tree of modules that the exporter wrote down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from pellucid.core.counts import count
from pellucid.core.errors import BadInput, BadModel, PellucidError
from pellucid.core.facing import channels_last, channels_second, refuse_unturned
from pellucid.core.tensors import by_name
from pellucid.doors.files import printable
from pellucid.doors.onnx.graph import Dims, Value
from pellucid.doors.onnx.running.plans import Plan
from pellucid.doors.onnx.running.registry import Operator
from pellucid.doors.onnx.running.values import refuse_misfit, samples

Part: TypeAlias = int | str | None  # which value an argument is: a given one by number, a weight by name, or none


@dataclass(frozen=True, slots=True)
class Kind:
    """What a node is: operator, domain, operator set, attributes; `quiet` when it only computes with shapes."""

    op: str
    domain: str = ""
    version: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    wanted: tuple[bool, ...] = (True,)
    name: str = ""
    source: str = ""
    quiet: bool = False
    explicit: int = 0  # how many inputs it has before the captured ones
    stated: tuple[str, ...] = ()  # the types that the file states for its inputs; "" where it does not
    one: bool = False  # was the model exported for one sample at a time?
    shapes: tuple[int, ...] = ()  # inputs that are shapes, axes, sizes: handed over as Python's numbers


class Node(nn.Module):
    """One operation.  Its weights are its own parameters and buffers; `forward` takes the other inputs in order."""

    kind: Kind
    operator: Operator
    parts: tuple[Part, ...]
    fixed: dict[str, Any]  # shapes and the like: small, read on the CPU
    levels: dict[str, int]  # buffers of learned whole numbers: how many lie in each entry
    plain: bool

    def __init__(self, kind: Kind, operator: Operator, parts: Sequence[Part]) -> None:
        super().__init__()
        plain = all(part == i for i, part in enumerate(parts))
        # Past nn.Module's own way, which looks at each value four times: there can be tens of thousands of nodes.
        self.__dict__.update(kind=kind, operator=operator, parts=tuple(parts), fixed={}, levels={}, plain=plain)

    @property
    def op(self) -> str:
        """The operator's name."""
        return self.kind.op

    @property
    def exported_from(self) -> str:
        """The line of code that it came from, where the file says so."""
        return self.kind.source

    def _get_name(self) -> str:
        return self.kind.op

    @property
    def version(self) -> int:
        """The operator set of its domain that the model was written for."""
        return self.kind.version

    @property
    def count(self) -> int:
        """How many outputs it has."""
        return len(self.kind.wanted)

    def get(self, attribute: str, default: Any = None) -> Any:
        """An attribute, or what the standard says it is when it is not given."""
        return self.kind.attributes.get(attribute, default)

    def wants(self, output: int) -> bool:
        """Is that output read by anything?"""
        return output < len(self.kind.wanted) and self.kind.wanted[output]

    def stated(self, i: int) -> str:
        """The type that the file states for an input, which may be narrower than torch's; "" where it states none."""
        return self.kind.stated[i] if i < len(self.kind.stated) else ""

    def subgraph(self, attribute: str) -> nn.Module:
        """A subgraph; it takes its own inputs, then what the node captured."""
        return self._modules[attribute]  # type: ignore[return-value]

    def forward(self, *values: Any) -> Any:
        """Compute it; returns a tensor, or a tuple of several outputs."""
        arguments: Sequence[Any] = values if self.plain else [self._argument(part, values) for part in self.parts]
        try:
            if self.kind.quiet:
                with _unseen():
                    return self.operator.run(self, *arguments)
            if self.kind.shapes:
                arguments = self._numbers(arguments)
            return self.operator.run(self, *self._together(arguments))
        except PellucidError:
            raise
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if "allocate memory" in str(error):
                what = printable(self.kind.name) or "without a name"
                raise BadModel(
                    f"The operation {what} ({self.kind.op}) needs more memory than there is.",
                    "Give a smaller input; where that does not help, do not trust the file.",
                ) from error
            where = f" ({self.kind.source})" if self.kind.source else ""
            error.add_note(f"In the ONNX node {self.kind.name or '(without a name)'}: {self.kind.op}{where}.")
            raise

    def _argument(self, part: Part, values: Sequence[Any]) -> Any:
        if part is None:
            return None
        if isinstance(part, int):
            return values[part]
        held: Any = self._parameters.get(part)
        if held is None:
            held = self._buffers.get(part)
        return self.fixed[part] if held is None else held

    def _numbers(self, arguments: Sequence[Any]) -> Sequence[Any]:
        """With shapes and the like as Python's numbers: reading them is no step of the network's computation."""
        with _unseen():
            return [v.tolist() if i in self.kind.shapes and v is not None else v for i, v in enumerate(arguments)]

    def _together(self, arguments: Sequence[Any]) -> Sequence[Any]:
        """On one device: what was computed about shapes lies on the CPU, wherever the model is."""
        places = {a.device for a in arguments if isinstance(a, Tensor)}
        if len(places) < 2:
            return arguments
        place = next(p for p in places if p.type != "cpu")
        read = self.operator.read
        return [a if not isinstance(a, Tensor) or i in read else a.to(place) for i, a in enumerate(arguments)]

    def extra_repr(self) -> str:
        """Its plain attributes, as printing the model shows them."""
        plain = {k: v for k, v in self.kind.attributes.items() if isinstance(v, int | float | str | tuple)}
        return ", ".join(f"{k}={v}" for k, v in plain.items())[:200]


@contextmanager
def _unseen() -> Iterator[None]:
    """Work with real numbers that no recorder sees, also where everything else has shapes only."""
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        yield


class Block(nn.Module):
    """Nodes and blocks that run one after another: a module of the model that was exported, or a subgraph.

    `kind` is the class that the module had there, where the file says so.
    """

    def __init__(self, kind: str = "") -> None:
        super().__init__()
        self.kind = kind
        self.plans: list[Plan] = []

    def _get_name(self) -> str:
        return self.kind or "Block"

    @property
    def in_pieces(self) -> bool:
        """Does one run of the module take several calls, since others' nodes stand between its own?"""
        return len(self.plans) > 1

    def forward(self, *values: Any, call: int = 0) -> Any:
        """Run the `call`-th of its plans; returns one value, or a tuple of several."""
        plan = self.plans[call]
        slots: list[Any] = [*values, *[None] * (plan.slots - plan.inputs)]
        for step in plan.steps:
            child = self._modules[step.child]
            given = [slots[i] if i >= 0 else None for i in step.takes]
            out = child(*given, call=step.call) if step.call else child(*given)  # type: ignore[misc]
            if len(step.gives) == 1 and not isinstance(out, tuple):
                out = (out,)
            for slot, value in zip(step.gives, out, strict=False):
                if slot >= 0:
                    slots[slot] = value
            for slot in step.frees:
                slots[slot] = None
        results = tuple(slots[i] for i in plan.results)
        return results[0] if len(results) == 1 else results


NUMBERS = ("float32", "float16", "bfloat16", "float64", "int32", "int64", "int8", "uint8", "bool")


class OnnxModule(Block):
    """A whole model.  `forward` takes its inputs in order or by name and returns its output, or a dict of several."""

    def __init__(self, inputs: Sequence[Value], outputs: Sequence[str], optional: Sequence[str] = ()) -> None:
        super().__init__("OnnxModule")
        self.inputs, self.outputs, self.optional = tuple(inputs), tuple(outputs), tuple(optional)
        self.one = False  # was it exported for one sample at a time?
        self.batch: int | None = None  # how many samples it must be given, if that is fixed
        self.last: frozenset[str] = frozenset()  # inputs and outputs that the file has with their channels last

    @property
    def argument_names(self) -> tuple[str, ...]:
        """The names of its inputs, in the order in which they are given."""
        return tuple(v.name for v in self.inputs)

    def seen(self, value: Value) -> Dims | None:
        """The shape of an input or output as it is given and put out here: pictures have their channels second."""
        shape = value.shape
        if shape is None or value.name not in self.last:
            return shape
        return (*shape[:1], *shape[-1:], *shape[1:-1])

    @property
    def levels(self) -> Iterator[tuple[Tensor, int]]:
        """Quantized weights, which are buffers since they have no gradients: how many numbers lie in each entry."""
        for module in self.modules():
            if isinstance(module, Node):
                for name, each in module.levels.items():
                    yield module._buffers[name], each  # type: ignore[misc]  # it is there

    @property
    def takes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """The shape and type of one sample of every input; nothing where any other axis than the first is free."""
        found: dict[str, tuple[tuple[int, ...], str]] = {}
        for v in self.inputs:
            sizes = [1 if i == 0 and not isinstance(n, int) else n for i, n in enumerate(self.seen(v) or ("",))]
            fixed = tuple(n for n in sizes if isinstance(n, int) and n > 0)
            if len(fixed) < len(sizes) or v.kind != "tensor" or v.dtype not in NUMBERS:
                return {}
            found[v.name] = (fixed, v.dtype)
        return found

    @property
    def fixed_axes(self) -> dict[str, tuple[int | None, ...]]:
        """The sizes that the file fixes of every input; None for a free axis."""
        return {
            v.name: tuple(n if isinstance(n, int) and n > 0 else None for n in self.seen(v) or ()) for v in self.inputs
        }

    def forward(self, *values: Any, call: int = 0, **named: Any) -> Any:
        """Run the model.  Raises `BadInput` when an input is missing, unknown, or has too many or too few axes."""
        names = [v.name for v in self.inputs]
        unknown = [name for name in named if name not in names]
        if unknown or len(values) > len(names):
            what = (
                f"no input {unknown[0]!r}"
                if unknown
                else f"{count(len(names), 'input')}, {count(len(values), 'was', 'were')} given"
            )
            raise BadInput(f"The model has {what}.", f"It takes: {', '.join(names)}.")
        given = dict(zip(names, values, strict=False)) | named
        missing = [name for name in names if name not in given and name not in self.optional]
        if missing:
            raise BadInput(f"The model needs an input {missing[0]!r}.", *by_name(names, self.fixed_axes))
        for value in self.inputs:
            x = given.get(value.name)
            if isinstance(x, Tensor) and value.kind == "tensor" and value.shape is not None:
                refuse_misfit(value.name, self.seen(value) or (), x, self.batch)
                given[value.name] = self._laid(value.name, x)
        token = samples.set(len(given[names[0]]) if self.one and given else 1)
        try:
            out = super().forward(*(given.get(name) for name in names), call=call)
        finally:
            samples.reset(token)
        several = len(self.outputs) > 1
        whole: Sequence[Any] = out if several else (out,)
        parts = {
            n: channels_second(v) if n in self.last and isinstance(v, Tensor) else v
            for n, v in zip(self.outputs, whole, strict=True)
        }
        return parts if several else next(iter(parts.values()))

    def _laid(self, name: str, x: Tensor) -> Tensor:
        """An input as the file has it."""
        if name not in self.last:
            return x
        refuse_unturned(name, x.shape[1:], self.fixed_axes[name][1:], len(x))
        return channels_last(x)
