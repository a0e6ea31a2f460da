"""The tape: every operation of one forward pass, as plain data that can be read, drawn and run again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from pellucid.core.errors import BadInput
from pellucid.core.facing import shape_seen
from pellucid.core.names import module_paths, named_arguments, named_weights
from pellucid.core.recording.step import Ref, Step, bind, filled
from pellucid.core.site import Site
from pellucid.core.structure import leaves, private, rebuilt

Origin: TypeAlias = Literal["input", "parameter", "buffer", "constant", "operation"]


@dataclass(frozen=True, slots=True)
class Value:
    """One state of one tensor.  Writing into a tensor makes a new value; values of one `storage` share their memory.

    `name` is that of an input, parameter or buffer; `operation` the index of the operation that made it; `varies`
    says whether its numbers depend on the inputs' numbers; `count` is how many parameters it holds.
    """

    id: int
    origin: Origin
    name: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    bytes: int
    storage: int
    varies: bool
    operation: int | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """One torch function call, in order of running.

    It ran inside the `call`-th run of module `path`, as the `ordinal`-th operation of that `name` there: `site` is its
    address.  `inputs` and `outputs` are numbers of values; an operation that handed its input back untouched (dropout
    at rest, `contiguous`) is `idle` and its output carries the input's number.  `mutates`: it wrote into a tensor.
    `reads`: numbers left for Python here (`.item()`, `bool()`).  `flops` counts two a multiply-add (see `flops.py`),
    `bytes` its distinct inputs and outputs.  `source` is file:line of the model's code.
    """

    index: int
    name: str
    path: str
    call: int
    ordinal: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    parameters: tuple[tuple[str, int], ...]
    arguments: str
    flops: int
    bytes: int
    source: str
    mutates: bool
    reads: bool
    idle: bool
    pointwise: bool

    @property
    def site(self) -> Site:
        """Its address."""
        return Site(self.path, self.call, f"{self.name}.{self.ordinal}")

    @property
    def hidden(self) -> bool:
        """Did it run out of a function mode's sight: an opaque module ("module"), a kernel in one ("aten.relu")?"""
        return self.name == "module" or self.name.startswith("aten.")


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """One run of a module: operations `first` up to, not including, `last` ran inside it; `parent` called it."""

    path: str
    call: int
    parent: tuple[str, int] | None
    first: int
    last: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the hierarchy: its class, how often it ran, the numbers it holds itself (not its children)."""

    path: str
    kind: str
    calls: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Tape:
    """Everything that happened in one forward pass.  `pellucid.core.recording.record.record_module` makes it.

    `silent` names the functions that only asked about metadata (shape, device) and are no operations; `turned` the
    modules whose values are shown with channels second, though the network keeps them last; `pieces` those of which one
    run is several calls, since operations of others stand between theirs (in a file's order); `unseen` those that ran
    in another thread, of which nothing inside was seen.
    """

    operations: tuple[Operation, ...]
    values: tuple[Value, ...]
    calls: tuple[ModuleCall, ...]
    modules: tuple[Module, ...]
    silent: frozenset[str]
    fake: bool
    steps: tuple[Step, ...] = field(repr=False)
    result: Any = field(repr=False)
    constants: Mapping[int, Tensor] = field(repr=False)
    kept: Mapping[int, Tensor] = field(repr=False)
    turned: frozenset[str] = frozenset()
    pieces: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()

    @property
    def edges(self) -> tuple[tuple[int, int, int], ...]:
        """(maker, reader, value): operation `maker` made the value that operation `reader` took."""
        made = ((self.values[v].operation, op.index, v) for op in self.operations for v in op.inputs)
        return tuple((maker, reader, v) for maker, reader, v in made if maker is not None)

    @property
    def flops(self) -> int:
        """Floating-point operations of the pass, two a multiply-add."""
        return sum(op.flops for op in self.operations)

    @property
    def parameters(self) -> int:
        """Numbers in the parameters (buffers left out, but for quantized weights), each counted once."""
        return sum(module.parameters for module in self.modules)

    @property
    def data_dependent(self) -> bool:
        """Did numbers that depend on the input leave for Python?  Then another input may run other operations."""
        return any(op.reads and any(self.values[v].varies for v in op.inputs) for op in self.operations)

    def value(self, id: int) -> Tensor:
        """A recorded value; raises `BadInput` when it was not kept or an operation wrote over it."""
        if id not in self.kept:
            raise BadInput(f"Value {id} was not kept or was written over.", "Use keep_values=True, or read at a site.")
        return self.kept[id]

    def output(self, site: Site) -> int:
        """The number of the (first) value at a site; raises `BadInput` when nothing ran there."""
        if site.operation is None:
            calls = (c for c in self.calls if (c.path, c.call) == (site.path, site.call))
            outputs = next((c.inputs if site.at == "input" else c.outputs for c in calls), ())
        else:
            outputs = next((op.outputs for op in self.operations if op.site == site), ())
        if not outputs:
            raise BadInput(f"No tensor was put out at {str(site)!r} in this pass.", "tape.operations lists what ran.")
        return outputs[0]

    def shape(self, site: Site) -> tuple[int, ...]:
        """The shape of the value at a site as it is seen there: a map has its channels second."""
        shape = self.values[self.output(site)].shape
        return shape_seen(shape) if site.path in self.turned and site.operation is None else shape

    @property
    def operation_sites(self) -> tuple[Site, ...]:
        """The address of every operation that put out a tensor."""
        return tuple(op.site for op in self.operations if op.outputs)

    @property
    def last_spatial(self) -> Site | None:
        """The last module output [batch, channels, height, width] with more than one position, outermost spelling.

        The network itself is not among them; None when there is none.
        """
        found = [c for c in self.calls if c.path and self._is_spatial(c)]
        latest = max(found, key=lambda c: (self._age(c), -c.path.count(".")), default=None)
        return None if latest is None else Site(latest.path, latest.call)

    def _is_spatial(self, call: ModuleCall) -> bool:
        if not call.outputs or not self.values[call.outputs[0]].varies:
            return False
        shape = self.shape(Site(call.path, call.call))
        return len(shape) == 4 and math.prod(shape[2:]) > 1

    def _age(self, call: ModuleCall) -> int:
        operation = self.values[call.outputs[0]].operation
        return -1 if operation is None else operation

    def replay(
        self,
        model: nn.Module,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        see: Callable[[Operation, Mapping[int, Tensor]], Mapping[int, Tensor] | None] | None = None,
        begin: Callable[[], None] | None = None,
        copied: Callable[[Tensor], Tensor] | None = None,
    ) -> Any:
        """Run the recorded operations again, one by one, on new inputs; the model's own code does not run.

        Parameters and buffers are `model`'s, found by name.  The inputs must have the recorded structure; branches
        that the model chose by looking at its input are followed as recorded.  `see` is shown each operation with the
        values that are alive behind it, and may give others in their place; `begin` is called when all is ready for the
        first; `copied` makes the copies of the inputs that are run on.  Equal to the original output bit for bit on
        equal inputs, in eval mode, on the same machine.  Raises `BadInput` for a missing input, a tape without numbers,
        or other parameters.

        >>> import torch
        >>> from pellucid.core.recording.record import record_module
        >>> model, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True)), torch.randn(4, 2)
        >>> tape = record_module(model, (x,), {})
        >>> with torch.no_grad():
        ...     torch.equal(tape.replay(model, (-x,)), model(-x))
        True
        """
        if self.fake:
            raise BadInput("This tape was recorded without numbers (fake=True).", "Record the pass with fake=False.")
        env = self._start(model, *private((args, dict(kwargs or {})), *([copied] if copied else ())))
        last = self._last_uses()
        modules = module_paths(model)
        if begin is not None:
            begin()
        for op, step in zip(self.operations, self.steps, strict=True):
            if step.function is not None:
                function = modules[step.function] if isinstance(step.function, str) else step.function
                out = function(*filled(step.args, env), **filled(dict(step.kwargs), env))
                bind(step, out, env)
            env.update({new: env[old] for new, old in step.renames})
            if see is not None:
                env.update(see(op, env) or {})
            for v in last.get(op.index, ()):
                del env[v]
        return rebuilt(self.result, lambda ref: env[ref.id], Ref, deep=True)

    def _start(self, model: nn.Module, args: Any, kwargs: Any) -> dict[int, Tensor]:
        given = named_arguments(model, args, kwargs)
        weights = named_weights(model)
        env = {id: v.clone() for id, v in self.constants.items()}
        for value in self.values:
            if value.origin in ("operation", "constant"):
                continue
            source = given if value.origin == "input" else weights
            if value.name not in source:
                what = f"There is no {value.origin} {value.name!r}, which the tape reads."
                raise BadInput(what, "Give what was recorded.")
            env[value.id] = source[value.name]
        return env

    def _last_uses(self) -> dict[int, list[int]]:
        """The values that nobody reads after an operation, by operation."""
        last: dict[int, int] = {}
        for op, step in zip(self.operations, self.steps, strict=True):
            touched = (*op.inputs, *op.outputs, *(old for _, old in step.renames), *(new for new, _ in step.renames))
            last.update(dict.fromkeys(touched, op.index))
        for ref in leaves(self.result, Ref, deep=True):
            last.pop(ref.id, None)
        done: dict[int, list[int]] = {}
        for v, index in last.items():
            done.setdefault(index, []).append(v)
        return done
