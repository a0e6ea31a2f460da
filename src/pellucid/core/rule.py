"""Other ways to go backwards.  A rule keeps an operation's value and changes what flows back through it.

Rules act on operations, not on modules, so it does not matter how a model spells them, whether it works in place, or
how often it reuses a module.  The interception is a `TorchFunctionMode`: local to the thread, editing nothing.  What
it cannot see (scripted code, custom autograd functions, the inside of fused layers) is found afterwards in the
gradient graph, and reported.

A rule that compares with a baseline has a pass of its own through the network beforehand: every operation remembers
what it met there.  The two passes are matched operation by operation, so no axis has to be the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pellucid.core.errors import BadModel
from pellucid.core.names import operation_name
from pellucid.core.operations.gates import gated
from pellucid.core.operations.kinds import ELEMENTWISE, Operation
from pellucid.core.operations.linear import LAYERS, linear_operation, moved
from pellucid.core.operations.of_many import operation
from pellucid.core.tensors import Tensors


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on the way back: `y` was made of `x`, `y0` of `x0` in the baseline's pass, `up` flows into it.

    Results are computed anew when they are asked for: later operations may have written into those of the pass.
    """

    operation: Operation
    up: Tensor
    x: tuple[Tensor, ...]
    x0: tuple[Tensor, ...] = ()

    @property
    def y(self) -> Tensor:
        """What the operation put out."""
        return self.operation.plain(*self.x)

    @property
    def y0(self) -> Tensor:
        """What it put out for the baseline."""
        return self.operation.plain(*self.x0)

    def vjp(self, up: Tensor, at: Iterable[Tensor] | None = None) -> tuple[Tensor, ...]:
        """What the plain gradient sends back to each input, here or at other inputs."""
        with torch.enable_grad():
            leaves = [v.detach().requires_grad_() for v in (self.x if at is None else at)]
            return torch.autograd.grad(self.operation.plain(*leaves), leaves, up)


Backward: TypeAlias = Callable[[Step], tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`backward[operation]` gives what flows back to each input of it.

    `keeps` are nonlinear operations whose plain gradient already is what the rule wants.  `expands` are functions that
    are written out in operations that the rule speaks of.  `baseline` makes the input that the rule compares with.
    A rule that `shares` lets shares of the score flow back, not slopes, so that it has to speak of linear operations
    too; the first layer with weights is then the operation `first`, and the last one `last`, where the rule speaks of
    them.  For a rule that
    speaks of `bent`, a function of one number that directly follows a layer with weights is one operation with it; for
    one that speaks of `gated`, a product with a sigmoid is an operation on the other factor, and the gate a constant.
    """

    name: str
    backward: Mapping[str, Backward]
    keeps: frozenset[str] = frozenset()
    expands: Mapping[Any, Callable[..., Any]] = field(default_factory=dict)
    baseline: Callable[[Tensors], Tensors] | None = None
    shares: bool = False

    @property
    def covers(self) -> tuple[str, ...]:
        """The operations that it speaks of, or whose plain gradient is right, or that are written out in such."""
        return tuple(sorted({*self.backward, *self.keeps, *map(operation_name, self.expands)}))


@dataclass(frozen=True, slots=True)
class Met:
    """What an operation met in the baseline's pass."""

    name: str
    x: tuple[Tensor, ...]


_COMPARISONS = frozenset({"gt", "ge", "lt", "le", "sign", "sgn", "heaviside", "isclose", "signbit"})


class Rewire(TorchFunctionMode):
    """Runs a model with rules in place of the plain gradients of the operations that they speak of.

    `met`: what the operations met in the baseline's pass, in order.  Without `rewires` this is that pass: it fills in
    `met` and leaves every gradient as it is.  `inside`: an inner site is explained.  Of a rule that shares, what each
    operation keeps back is added to `kept`.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        met: list[Met] | None = None,
        *,
        rewires: bool = True,
        kept: dict[str, float] | None = None,
        inside: bool = False,
    ) -> None:
        super().__init__()
        rules = tuple(rules)
        self.by_operation = {name: backward for rule in rules for name, backward in rule.backward.items()}
        self.expands = {func: written_out for rule in rules for func, written_out in rule.expands.items()}
        self.gates = set[str]()  # comparisons that may switch values on and off; autograd does not see them
        self.met, self.rewires, self.inside, self.done = met, rewires, inside, 0
        self.shares = any(rule.shares for rule in rules)
        self.layers = self.shares or "bent" in self.by_operation
        self.first: Tensor | None = None  # what goes into the first layer with weights
        self.last: tuple[Tensor, Operation] | None = None  # the latest such layer and its result
        self.versions: list[int] = []  # ... which count how often a tensor was written into
        self.counts = Counter[str]()
        self.kept = dict[str, float]() if kept is None else kept

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, rewired when a rule speaks of it."""
        kwargs = kwargs or {}
        depends = any(isinstance(v, Tensor) and v.requires_grad for v in (*args, *kwargs.values()))
        if depends and func in self.expands:
            with self:
                out = self.expands[func](*args, **kwargs)
            if out is not NotImplemented:
                return out
        call = operation(func, args, kwargs)
        if call is None and self.layers:
            call = linear_operation(func, args, kwargs, self.latest())
            if call is None and self.inside and func in LAYERS and args:
                self.first = args[0]  # in front of the site: what lies behind it is not the first
        written = None
        if call is not None and call.in_place:
            written = args[0] if "joined" in call.options else call.inputs[0]
        call = self.joined(call)
        backward = self.spoken_of(call) if call is not None else None
        if call is None or backward is None:
            if depends and operation_name(func) in _COMPARISONS:
                self.gates.add(operation_name(func))
            call = moved(func, args, kwargs, self.latest()) if call is None and self.layers else call
            return self.noted(call, func(*args, **kwargs))
        if not self.rewires:
            self.remember(Met(call.name, tuple(v.detach().clone() for v in call.inputs)))
            return self.noted(call, func(*args, **kwargs))
        met = self.recall(call)
        if self.shares:  # what is joined has the number of the layer that it is one with
            self.counts[call.name] -= "joined" in call.options
            backward = self.weighed(call.name, backward)
        if written is None:
            return self.noted(call, _rewired(call, backward, met, call.inputs))
        # what follows may read the tensor that was written into, so it gets the value, with the rule in its history
        inputs = tuple(v.clone() if v is written else v for v in call.inputs)
        return self.noted(call, written.copy_(_rewired(call, backward, met, inputs)))

    def joined(self, call: Operation | None) -> Operation | None:
        """A function of one number together with the layer that it directly follows, for a rule that wants them so.

        A product with a gate becomes an operation on what is gated, for a rule that speaks of these.
        """
        if call is not None and call.name == "product" and "gated" in self.by_operation:
            return gated(call) or call
        latest = self.latest()
        if call is None or "bent" not in self.by_operation or latest is None or call.name not in ELEMENTWISE:
            return call
        before, layer = latest
        if call.inputs[0] is not before:
            return call
        options = {**layer.options, "bend": call.plain}
        return Operation("bent", layer.inputs, lambda x: call.plain(layer.plain(x)), options=options)

    def noted(self, call: Operation | None, out: Any) -> Any:
        """Remember the latest layer with weights."""
        if call is not None and call.name != "bent" and "layer" in call.options:
            self.last, self.versions = (out, call), [v._version for v in (out, *call.inputs)]
        return out

    def latest(self) -> tuple[Tensor, Operation] | None:
        """The latest layer with weights, unless something has written over it since."""
        if self.last is None or self.versions != [v._version for v in (self.last[0], *self.last[1].inputs)]:
            return None
        return self.last

    def spoken_of(self, call: Operation) -> Backward | None:
        """The rule for an operation."""
        usual = self.by_operation.get(call.name)
        if not self.shares or "layer" not in call.options:
            return usual
        if self.first is None or self.first is call.inputs[0]:
            self.first = call.inputs[0]
            usual = self.by_operation.get("first", usual)
        return partial(self.last_or, usual) if usual is not None and "last" in self.by_operation else usual

    def weighed(self, name: str, backward: Backward) -> Backward:
        """The same way back, on which is noted how much of what flows in does not flow out."""
        key = f"{name}.{self.counts[name]}"
        self.counts[name] += 1

        def back(step: Step) -> tuple[Tensor, ...]:
            down = backward(step)
            lost = step.up.sum() - torch.stack([v.sum() for v in down]).sum()
            self.kept[key] = self.kept.get(key, 0.0) + float(lost)
            return down

        return back

    def last_or(self, usual: Backward, step: Step) -> tuple[Tensor, ...]:
        """Which layer was the last one is known on the way back only."""
        last, here = None if self.last is None else self.last[1], step.operation
        is_last = last is not None and last.inputs[0] is here.inputs[0] and _weight(last) is _weight(here)
        return (self.by_operation["last"] if is_last else usual)(step)

    def remember(self, met: Met) -> None:
        """Keep what an operation met."""
        if self.met is not None:
            self.met.append(met)

    def recall(self, call: Operation) -> Met | None:
        """What the operation met in the baseline's pass."""
        if self.met is None:
            return None
        met = self.met[self.done] if self.done < len(self.met) else None
        self.done += 1
        if met is None or met.name != call.name or [v.shape for v in met.x] != [v.shape for v in call.inputs]:
            raise BadModel(
                f"The network computes {call.name} for the input where it computes {met.name if met else 'nothing'} "
                "for the baseline, so the two cannot be compared step by step.",
                "Its way depends on its input; choose a baseline that goes the same way, or integrated_gradients.",
            )
        return met


def _weight(layer: Operation) -> Tensor:
    weight: Tensor = layer.options["layer"].weight
    return weight


def _rewired(call: Operation, backward: Backward, met: Met | None, x: tuple[Tensor, ...]) -> Tensor:
    y: Tensor = _Rewired.apply(call, backward, met, *x)  # type: ignore[no-untyped-call]  # torch does not type it
    return y


class _Rewired(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Operation, backward: Backward, met: Met | None, *x: Tensor) -> Tensor:
        ctx.save_for_backward(*x, *(met.x if met is not None else ()))
        ctx.call, ctx.rule = call, backward
        return call.plain(*x)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        saved, n = ctx.saved_tensors, len(ctx.call.inputs)
        down: tuple[Tensor, ...] = ctx.rule(Step(ctx.call, upstream[0], saved[:n], saved[n:]))
        return None, None, None, *down
