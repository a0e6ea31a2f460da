"""Resuming: what happened before a cut is recorded once, and later passes compute only what comes after it.

The model's own code runs, on any number of samples; the operations before the cut are answered from the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.core.errors import BadInput
from pellucid.core.facing import channels_last, channels_second, turned
from pellucid.core.names import module_paths, named_arguments, operation_name
from pellucid.core.recording.batched import Batched, different, tape_of_two
from pellucid.core.recording.frontier import Frontier, frontier, given_states, states, where
from pellucid.core.recording.record import record_module
from pellucid.core.recording.step import Ref
from pellucid.core.recording.tape import Operation, Tape
from pellucid.core.site import Site
from pellucid.core.structure import leaves, private, rebuilt

Answer: TypeAlias = Callable[[Operation, Any, tuple[Any, ...], dict[str, Any]], Any]


class _Diverged(Exception):
    """The model runs other operations than recorded."""


class _Seen(Exception):
    """The cut is reached; the rest of the pass is of no interest."""


class _Walk(TorchFunctionMode):
    """Follows the model along the tape: each operation is answered by `answer`, up to operation `strict`."""

    def __init__(self, tape: Tape, answer: Answer, strict: int) -> None:
        super().__init__()
        self.tape, self.answer, self.strict = tape, answer, strict
        self.ahead = iter([op for op in tape.operations if not op.hidden])
        self.next = next(self.ahead, None)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, op = operation_name(func), self.next
        if op is not None and op.name == name and op.index < self.strict:
            self.next = next(self.ahead, None)
            return self.answer(op, func, args, kwargs or {})
        if name not in self.tape.silent and (op is None or op.index < self.strict):
            raise _Diverged(f"it ran {name} where it ran {'nothing more' if op is None else op.name} when recorded")
        return func(*args, **(kwargs or {}))


class Cut:
    """A pass recorded on one sample, ready to be resumed behind `site` with other values there.

    `value` is what was there, as it is seen there (a map with its channels second), one sample along `axis` (0 but for
    sequence-first networks).  `exact` says whether
    resumption gives what a whole pass gives, tried at once with the recorded value; if not, `run` computes everything
    and `reason` says why.  `recorded` and `skipped` count the operations of the pass and those that resuming saves.
    Making one costs about four forward passes.  Raises `BadInput` when the input holds several samples or the site
    did not run.

    >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> cut = Cut(model, (torch.randn(1, 2),), {}, Site("1"))
    >>> new = torch.rand(5, 4)
    >>> torch.allclose(cut.run(model, new), model[2](new)), cut.exact, cut.skipped
    (True, True, 2)
    """

    def __init__(self, model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], site: Site) -> None:
        self.site, self._turned = site, turned(model, site.path) and site.operation is None
        self._given: tuple[tuple[Any, ...], dict[str, Any]] = private((args, dict(kwargs)))
        self._inputs = tuple(named_arguments(model, *self._given))
        if any(v.ndim == 0 or len(v) != 1 for v in named_arguments(model, *self._given).values()):
            raise BadInput("A pass is cut for one sample; an input here holds several.", "Give one sample: x[:1].")
        one = record_module(model, *self._given)
        two = tape_of_two(model, one, *self._expanded(2))
        self._cut, number = where(one, site)
        self.recorded, self.skipped = len(one.operations), 0
        self._tape = one
        self.reason = different(one, two)
        self._saved: dict[int, Tensor] = {}
        self._answers: dict[int, Any] = {}
        if not self.reason:
            self._batched = Batched(_without_values(one), two)  # all activations would be too much to hold
            self._frontier: Frontier = frontier(self._batched, site)
        axis = Batched(one, two).axis(number) if not self.reason else 0
        self.axis: int = axis or 0
        if axis is None:
            self.reason = "the value at the site has no axis that counts samples"
        known = self._recorded(one, number)
        value = self._look(model) if known is None else known
        self.value = channels_second(value) if self._turned else value
        self._tape = _without_values(one)
        if not self.reason:
            self._check(model, one, value)

    @property
    def exact(self) -> bool:
        """Does resuming give what a whole pass gives?"""
        return not self.reason

    @property
    def alone(self) -> bool:
        """Does the output hang on the value at the site alone, so that values of other samples may be put there?"""
        return self.exact and self._frontier.alone

    def run(self, model: nn.Module, new: Tensor) -> Any:
        """The model's output with `new` at the site: one answer a sample of `new` along `axis`, all else as recorded.

        `model` is the module that was recorded (or another double of it).  Raises `BadInput` for another shape.
        """
        if _without(new.shape, self.axis) != _without(self.value.shape, self.axis):
            shape = tuple("batch" if i == self.axis else n for i, n in enumerate(self.value.shape))
            raise BadInput(f"The new value is {tuple(new.shape)}, expected {shape}.", "Give the site's own shape.")
        new = channels_last(new) if self._turned else new
        if self.exact:
            try:
                return self._resumed(model, new)
            except _Diverged as error:
                self.reason = f"with a new value, the model went another way: {error}"
        return self._whole(model, new)

    def _expanded(self, samples: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The input, as often as there are samples; equal samples share their memory."""
        line = getattr(self, "_frontier", None)
        dense = line is not None and any(v.id in line.dense for v in self._tape.values if v.origin == "input")
        given = private(self._given) if dense else self._given  # nobody writes into memory that is not dense
        args, kwargs = rebuilt(given, partial(_grown, samples, dense), deep=True)
        return args, kwargs

    def _recorded(self, one: Tape, number: int) -> Tensor | None:
        """The value at the cut, where the recording still holds it and all that resuming needs; the latter is kept."""
        if self.reason or any(not op.outputs for op in one.operations[: self._cut]):
            return None
        if not one.kept.keys() >= {number, *self._frontier.needed}:
            return None
        self._saved = {id: one.kept[id].detach().clone() for id in self._frontier.needed}
        return one.kept[number].detach().clone()

    def _look(self, model: nn.Module) -> Tensor:
        """Run up to the cut once more, keeping what resuming needs; the value at the cut."""
        found: list[Tensor] = []
        needed = frozenset() if self.reason else self._frontier.needed

        def answer(op: Operation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            out = func(*args, **kwargs)
            if op.index == self._cut and self.site.operation:
                found.append(leaves(out)[0].detach().clone())
                raise _Seen
            step = self._tape.steps[op.index]
            for id, v in states(op, step, args, kwargs, out):
                if id in needed:
                    self._saved[id] = v.detach().clone()
            self._answers[op.index] = None if op.outputs else out
            return out

        def stop(out: Any) -> Any:
            found.append(leaves(out, deep=True)[0].detach().clone())
            raise _Seen

        args, kwargs = private(self._given)
        walk = nullcontext() if self.reason else _Walk(self._tape, answer, self._cut + 1)
        try:
            with torch.no_grad(), self._at_site(model, stop), walk:
                model(*args, **kwargs)
        except _Seen:
            pass
        except _Diverged as error:
            self.reason = f"two passes on one input differ: {error}"
            return self._look(model)
        if not found:
            raise BadInput(f"The site {str(self.site)!r} did not run again on the same input.", "Choose another site.")
        return found[0]

    def _check(self, model: nn.Module, one: Tape, value: Tensor) -> None:
        """Resume with the recorded value, twice over, and compare with the recorded output."""
        missing = self._frontier.needed - self._saved.keys()
        if missing:
            self.reason = "a tensor that is needed was written through another view of its memory"
            return
        try:
            with torch.no_grad():
                resumed = leaves(self._resumed(model, torch.cat([value, value], self.axis)), deep=True)
        except (_Diverged, RuntimeError) as error:
            self.reason = f"the resumed pass failed: {str(error).splitlines()[0]}"
            return
        ids = [ref.id for ref in leaves(one.result, Ref, deep=True)]
        for id, v in zip(ids, resumed, strict=True):
            recorded = one.kept.get(id)
            if recorded is not None and not _equal(self._batched.expanded(id, recorded, 2, False), v):
                self.reason = "the resumed pass gave another output than the recorded one"
                return
        self.skipped = sum(action != "compute" for action in self._frontier.actions)

    def _resumed(self, model: nn.Module, new: Tensor) -> Any:
        samples, line = new.shape[self.axis], self._frontier
        new = new.clone() if line.value in line.dense else new

        def answer(op: Operation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if op.index == self._cut and self.site.operation:
                return _first_replaced(self._given_out(op, func, args, kwargs, samples), new)
            if op.index >= self._cut or line.actions[op.index] == "compute":
                return func(*args, **kwargs)
            return self._given_out(op, func, args, kwargs, samples)

        args, kwargs = self._expanded(samples)
        swap = self._at_site(model, lambda out: _first_replaced(out, new))
        with swap, _Walk(self._tape, answer, len(self._tape.operations)):
            return model(*args, **kwargs)

    def _given_out(self, op: Operation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], samples: int) -> Any:
        """What a skipped operation returns: kept values, blanks, and the very tensors it was given and wrote into."""
        step, batched = self._tape.steps[op.index], self._batched
        if not op.outputs:
            return self._answers[op.index]
        objects = dict(given_states(op, step, args, kwargs))
        for id, v in objects.items():
            if id in self._saved and id not in op.inputs:
                v.data = batched.expanded(id, self._saved[id], samples, True)

        return rebuilt(step.result, partial(self._give, objects, samples), Ref)

    def _give(self, objects: Mapping[int, Tensor], samples: int, ref: Ref) -> Tensor:
        if ref.id in objects:
            return objects[ref.id]
        if ref.id in self._saved:
            return self._batched.expanded(ref.id, self._saved[ref.id], samples, ref.id in self._frontier.dense)
        return self._batched.blank(ref.id, samples)

    def _whole(self, model: nn.Module, new: Tensor) -> Any:
        """Compute everything, with the new value at the site."""
        args, kwargs = self._expanded(new.shape[self.axis])
        args, kwargs = rebuilt((args, kwargs), Tensor.contiguous, deep=True)
        new = new.clone()
        if self.site.operation is None:
            with self._at_site(model, lambda out: _first_replaced(out, new)):
                return model(*args, **kwargs)

        def answer(op: Operation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            out = func(*args, **kwargs)
            return _first_replaced(out, new) if op.index == self._cut else out

        with _Walk(self._tape, answer, self._cut + 1):
            return model(*args, **kwargs)

    @contextmanager
    def _at_site(self, model: nn.Module, change: Callable[[Any], Any]) -> Iterator[None]:
        """Change the output of the site's module in its one run that is meant."""
        if self.site.operation is not None:
            yield
            return
        calls = count()
        module = module_paths(model)[self.site.path]

        def after(_module: nn.Module, _args: Any, out: Any) -> Any:
            with torch._C.DisableTorchFunction():  # what is done to the output is no step of the model's
                return change(out) if next(calls) == self.site.call else None

        hook = module.register_forward_hook(after)
        try:
            yield
        finally:
            hook.remove()


def _grown(samples: int, dense: bool, v: Tensor) -> Tensor:
    grown = v.expand(samples, *v.shape[1:])
    return grown.contiguous() if dense else grown


def _first_replaced(out: Any, new: Tensor) -> Any:
    """An output with its first tensor replaced."""
    pending = [new]
    return rebuilt(out, lambda v: pending.pop() if pending else v, deep=True)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (len(shape), *shape[:axis], *shape[axis + 1 :])


def _without_values(tape: Tape) -> Tape:
    return replace(tape, kept={})


def _equal(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding, measured by the largest number: kernels add up in another order for other batches."""
    if a.shape != b.shape or not a.is_floating_point():
        return torch.equal(a, b)
    largest = float(a.abs().nan_to_num(posinf=0).max()) if a.numel() else 0.0
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 * largest + 1e-12, equal_nan=True)
