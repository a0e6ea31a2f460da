"""Recording: one forward pass, seen operation by operation, at about the price of the pass itself.

A thread-local function mode sees every torch function that the model calls; a dispatch mode inside it sees the
kernels that each function runs, which tells what was written to, what was read into Python, and the arithmetic.
Nothing is traced: whatever runs is recorded, with control flow, caches and nested outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock, get_ident
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.branches import branches_taken, transformed
from pellucid.core.errors import BadInput
from pellucid.core.names import learned, module_paths, named_arguments, named_weights, operation_name
from pellucid.core.recording.fake import faked
from pellucid.core.recording.kernels import FROM_SHAPE, METADATA, READERS, facts
from pellucid.core.recording.ledger import Ledger, storage_key
from pellucid.core.recording.modes import Functions, Kernels
from pellucid.core.recording.source import source_line
from pellucid.core.recording.step import Ref, Step
from pellucid.core.recording.tape import Module, ModuleCall, Operation, Tape
from pellucid.core.structure import leaves, private, rebuilt


@dataclass(slots=True)
class _Frame:
    """What the kernels of the running operation did.  Kernels inside a `quiet` frame are the recorder's own."""

    quiet: bool = False
    flops: int = 0
    kernels: int = 0
    pointwise: bool = True
    reads: bool = False
    written: set[int] = field(default_factory=set)

    def account(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """One more kernel ran."""
        known = facts(kernel)
        self.kernels += 1
        self.pointwise &= known.pointwise
        self.reads |= known.reads
        self.flops += known.flops(args, kwargs, out)
        self.written.update(storage_key(v) for v in leaves(known.written(args, kwargs)))


@dataclass(slots=True)
class _Running:
    """A module call that has not ended."""

    path: str
    call: int
    first: int
    inputs: tuple[int, ...]
    counts: Counter[str] = field(default_factory=Counter)


def record_module(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    fake: bool = False,
    keep_values: bool = True,
    paths: Mapping[str, nn.Module] | None = None,
) -> Tape:
    """Run a model once and write down every operation.

    The inputs are copied first, so the model may write into them; hooks are put on the modules for the length of the
    pass.  With `fake` nothing is computed: a network larger than memory is mapped from its shapes (parameters may be
    real, on the meta device, or fake).  `paths` names the modules, by default as `module_paths` does.  Raises
    `BadInput` when there is no tensor among the arguments, `BadModel` when a fake pass asks for numbers; what the
    model itself raises passes through.

    >>> tape = record_module(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), (torch.zeros(1, 2),), {})
    >>> [(op.name, op.path, op.shapes[0], op.flops) for op in tape.operations]
    [('linear', '0', (1, 3), 12), ('relu', '1', (1, 3), 0)]
    """
    with ExitStack() as stack, torch.no_grad():
        named = dict(kwargs)
        args, named = (args, named) if fake else private((args, named))
        recorder = Recorder(model, dict(paths or module_paths(model)), keep_values and not fake)
        run: Callable[..., Any] = model
        if fake:
            run, args, named, stand_ins = stack.enter_context(faked(model, args, named))
            recorder.know_stand_ins(stand_ins)
        recorder.know_inputs(named_arguments(model, args, named))
        out = recorder.run(run, args, named)
        return recorder.tape(out, fake)


class Recorder:
    """One recording while it runs."""

    def __init__(self, model: nn.Module, paths: dict[str, nn.Module], keep_values: bool) -> None:
        self.ledger, self.keep_values, self.paths = Ledger(), keep_values, paths
        self.operations: list[Operation] = []
        self.steps: list[Step] = []
        self.calls: list[ModuleCall] = []
        self.counts: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.stack: list[_Running] = []
        self.frame: _Frame | None = None
        self.thread, self.lock = get_ident(), Lock()
        self.elsewhere: Counter[int] = Counter()  # how deep another thread is in the modules that it runs
        self.unseen: set[str] = set()
        self.turned = frozenset(getattr(model, "channels_last_sites", ()))
        self.learned = {id(v): count for v, count in learned(model).values()}
        for name, v in named_weights(model).items():
            self.ledger.add(v, "parameter" if id(v) in self.learned else "buffer", name, count=self.learned.get(id(v)))

    def know_inputs(self, given: Mapping[str, Tensor]) -> None:
        """Give the inputs their names."""
        if not given:
            raise BadInput("There is no tensor among the arguments.", "Give the model an input to record.")
        for name, v in given.items():
            self.ledger.add(v, "input", name, varies=True)

    def know_stand_ins(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Parameters, each with the fake tensor that stands for it."""
        for weight, v in pairs:
            self.ledger.alias(v, self.ledger.take(weight))

    def run(self, model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The pass itself."""
        with ExitStack() as stack:
            for path, module in self.paths.items():
                if path and not isinstance(module, torch.jit.ScriptModule):
                    self._follow(path, module, stack)
            stack.enter_context(Kernels(self.kernel))
            stack.enter_context(Functions(self.function))
            stack.enter_context(branches_taken(self.paths[""]))
            with self.quietly():
                self._enter("", args, kwargs)
            out = model(*args, **kwargs)
            with self.quietly():
                self._leave(self.paths.get("", model), args, kwargs, out)
        return out

    def _follow(self, path: str, module: nn.Module, stack: ExitStack) -> None:
        before, after = partial(self._before, path), partial(self._after, path)
        stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
        stack.callback(module.register_forward_hook(after, with_kwargs=True, always_call=True).remove)

    def _before(self, path: str, _: nn.Module, args: Any, kwargs: Any) -> None:
        if get_ident() != self.thread:
            self.elsewhere[get_ident()] += 1
        elif not transformed():
            with self.quietly():
                self._enter(path, args, kwargs)

    def _after(self, path: str, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        if get_ident() != self.thread:
            self._ran_elsewhere(path, module, args, kwargs, out)
        elif not transformed():
            with self.quietly():
                self._leave(module, args, kwargs, out)

    def _ran_elsewhere(self, path: str, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        """Modes are blind to other threads: a module that ran in one is opaque, with all that it holds."""
        self.elsewhere[get_ident()] -= 1
        if not self.elsewhere[get_ident()]:
            with self.lock:
                self.unseen.add(path)
                self._enter(path, args, kwargs)
                self._leave(module, args, kwargs, out)

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """The recorder's own work on tensors is not recorded."""
        outer, self.frame = self.frame, _Frame(quiet=True)
        try:
            with torch._C.DisableTorchFunction():
                yield
        finally:
            self.frame = outer

    def _enter(self, path: str, args: Any, kwargs: Any) -> None:
        found = [self.ledger.find(v) for v in leaves((args, kwargs))]
        known = tuple(v for v in dict.fromkeys(found) if v is not None)
        self.stack.append(_Running(path, self.counts[path], len(self.operations), known))
        self.counts[path] += 1

    def _leave(self, module: Any, args: Any, kwargs: Any, out: Any) -> None:
        """A module call ends.  If nothing recorded made its output, it is opaque: one operation stands for it."""
        if any(self.ledger.find(v) is None for v in leaves(out, deep=True)):
            frame = _Frame(pointwise=False)
            self._note("module", self.stack[-1].path, self._template((args, kwargs)), out, frame)
        outputs = tuple(self.ledger.take(v) for v in leaves(out, deep=True))
        here = self.stack.pop()
        parent = (self.stack[-1].path, self.stack[-1].call) if self.stack else None
        self.calls.append(
            ModuleCall(here.path, here.call, parent, here.first, len(self.operations), here.inputs, outputs)
        )

    def _template(self, given: Any) -> Any:
        return rebuilt(given, lambda v: Ref(self.ledger.take(v)))

    def function(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, hidden: bool = False) -> Any:
        """Run a torch function that the model called, or a kernel that none called, and write it down."""
        name = f"aten.{operation_name(func)}" if hidden else operation_name(func)
        if name in METADATA:
            self.silent.add(name)
            return func(*args, **kwargs)
        outer, self.frame = self.frame, _Frame(quiet=True)
        try:
            template = self._template((args, kwargs))
            frame = self.frame = _Frame(reads=name in READERS)
            out = func(*args, **kwargs)
            self.frame = _Frame(quiet=True)
            if hidden:
                frame.account(func, args, kwargs, out)
            self._note(name, func, template, out, frame)
        finally:
            self.frame = outer
        return out

    def kernel(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a kernel on behalf of the current operation; one that no function called is an operation itself."""
        frame = self.frame
        if frame is None:
            with torch._C.DisableTorchFunction():
                if func is torch.ops.aten.lift_fresh.default:  # a tensor comes into being out of an array
                    return func(*args, **kwargs)
                return self.function(func, args, kwargs, hidden=True)
        out = func(*args, **kwargs)
        if not frame.quiet:
            frame.account(func, args, kwargs, out)
        return out

    def _note(self, name: str, func: Any, template: Any, out: Any, frame: _Frame) -> None:
        index, ledger = len(self.operations), self.ledger
        inputs = tuple(dict.fromkeys(ref.id for ref in leaves(template, Ref)))
        varies = any(ledger.values[v].varies for v in inputs) and name not in FROM_SHAPE
        mutates = any([ledger.write(key, index, varies) for key in frame.written])
        found = leaves(out, deep=name == "module")
        if not (found or mutates or (frame.reads and inputs)):
            self.silent.add(name)
            return
        result = rebuilt(out, lambda v: Ref(self._output(v, index, varies)), deep=name == "module")
        outputs = tuple(dict.fromkeys(ref.id for ref in leaves(result, Ref, deep=True)))
        here = self.stack[-1]
        self.operations.append(
            Operation(
                index, name, here.path, here.call, here.counts[name], inputs, outputs,
                tuple(ledger.values[v].shape for v in outputs), tuple(ledger.values[v].dtype for v in outputs),
                self._weights(inputs), ledger.shown(template), frame.flops,
                sum(ledger.values[v].bytes for v in {*inputs, *outputs}),
                source_line(self.paths.get(here.path)), mutates, frame.reads,
                bool(outputs) and set(outputs) <= set(inputs), frame.pointwise and frame.kernels > 0,
            )
        )  # fmt: skip
        here.counts[name] += 1
        runs = bool(found or mutates)
        args, kwargs = template
        self.steps.append(Step(func if runs else None, args, kwargs, result, ()))

    def _output(self, tensor: Tensor, index: int, varies: bool) -> int:
        known = self.ledger.find(tensor) if self.ledger.knows(tensor) else None
        return self.ledger.add(tensor, "operation", varies=varies, by=index) if known is None else known

    def _weights(self, ids: tuple[int, ...]) -> tuple[tuple[str, int], ...]:
        values = [self.ledger.values[v] for v in ids]
        return tuple((v.name, torch.Size(v.shape).numel()) for v in values if v.origin in ("parameter", "buffer"))

    def tape(self, out: Any, fake: bool) -> Tape:
        """Everything written down so far, as plain data."""
        result = rebuilt(out, lambda v: Ref(self.ledger.take(v)), deep=True)
        renames = {index: tuple(pairs) for index, pairs in self.ledger.renames.items()}
        for index, pairs in renames.items():
            op = self.operations[index]
            olds = tuple(old for _, old in pairs if old not in op.inputs)
            news = tuple(new for new, _ in pairs if new not in op.outputs)
            self.operations[index] = replace(op, inputs=op.inputs + olds, outputs=op.outputs + news)
            self.steps[index] = replace(self.steps[index], renames=pairs)
        kept = self.ledger.intact() if self.keep_values else {}
        return Tape(
            tuple(self.operations), tuple(self.ledger.values), tuple(self.calls), self._modules(),
            frozenset(self.silent), fake, tuple(self.steps), result, self.ledger.constants, kept, self.turned,
            frozenset(path for path, module in self.paths.items() if getattr(module, "in_pieces", False)),
            frozenset(self.unseen),
        )  # fmt: skip

    def _modules(self) -> tuple[Module, ...]:
        modules, left = list[Module](), dict(self.learned)
        for path, module in self.paths.items():
            inner = hasattr(module, "_flatten_layers") and path != ""
            held = (*module.parameters(recurse=inner), *module.buffers(recurse=inner))
            name: str = module._get_name()  # type: ignore[no-untyped-call]
            modules.append(Module(path, name, self.counts[path], sum(left.pop(id(v), 0) for v in held)))
        return tuple(modules)
