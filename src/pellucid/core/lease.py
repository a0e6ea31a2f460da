"""How a model is handed out for work: as a private double, or borrowed under a lock and put back as it was."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

from pellucid.core.double import double
from pellucid.core.errors import BadModel
from pellucid.core.held import CONTAINERS, reached

_HINT = "Move the update out of forward(), or explain a copy of the model that does not update itself."


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by name, each once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def weights_of(model: nn.Module) -> Iterator[Tensor]:
    """Every parameter and buffer, shared ones as often as they are held; no names, so that it costs little."""
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            yield from (t for t in held.values() if t is not None)


def versions(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """A stamp that changes when any weight is replaced or edited in place."""
    return tuple((id(t), t._version) for t in weights_of(model) if not t.is_inference())


@contextmanager
def doubled(model: nn.Module, kept: nn.Module | None = None) -> Iterator[nn.Module]:
    """A double for the block, new or `kept`; a model that edited itself in spite of it is reported."""
    weights = [t for t in weights_of(model) if not t.is_inference()]
    before = [t._version for t in weights]
    yield double(model) if kept is None else kept
    if [t._version for t in weights] != before:
        raise BadModel(f"{type(model).__name__} edits its own weights while it runs.", _HINT)


# Borrowed models, and generators that belong to the process, are for one thread at a time.  One lock serves both, so
# that nobody can hold the one and wait for the other.
_alone = threading.RLock()


@contextmanager
def borrowed(model: nn.Module) -> Iterator[nn.Module]:
    """The model itself, alone, in eval mode; whatever it holds is put back as it was, except what its hooks gather."""
    with _alone, ExitStack() as undo:
        for value in reached(model, hooks=False):
            undo.callback(_remembered(value))
        modules, parameters = list(model.modules()), list(model.parameters())
        for value in reached(model):
            if isinstance(value, nn.Module):
                modules.append(value)
            elif isinstance(value, nn.Parameter):
                parameters.append(value)
        for parameter in parameters:
            undo.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        modules = [module for module in modules if hasattr(module, "training")]  # frozen scripts have one mode
        for module in modules:
            undo.callback(setattr, module, "training", module.training)
        for buffer in model.buffers():
            undo.callback(_value(buffer))
        for module in modules:
            module.eval()
        yield model


def _remembered(value: Any) -> Callable[[], object]:
    """How to put back what a value holds."""
    if isinstance(value, Tensor):
        return _nothing if isinstance(value, nn.Parameter) else _value(value)
    if isinstance(value, torch.Generator):
        return partial(value.set_state, value.get_state())
    if isinstance(value, list | deque | dict | set) and type(value) in CONTAINERS:
        return _content(value)
    if isinstance(value, torch.jit.ScriptModule) or not isinstance(getattr(value, "__dict__", None), dict):
        return _nothing
    return _content(value.__dict__)


def _nothing() -> None:
    """What holds nothing has nothing to put back."""


def _value(tensor: Tensor) -> Callable[[], None]:
    """How to put a tensor's numbers back; one that still has them is not written into."""
    before = tensor.detach().clone()

    def restore() -> None:
        with torch.no_grad():
            if _bits(tensor) != _bits(before):
                tensor.copy_(before)

    return restore


def _bits(tensor: Tensor) -> bytes | None:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return None
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _content(held: Any) -> Callable[[], None]:
    """How to put a container's items back, the very same ones in the same order."""
    before = held.copy()

    def restore() -> None:
        now, then = (list(h.items()) if isinstance(h, dict) else list(h) for h in (held, before))
        if len(now) == len(then) and all(_same(a, b) for a, b in zip(now, then, strict=True)):
            return
        held.clear()
        held.extend(before) if isinstance(held, list | deque) else held.update(before)

    return restore


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) and all(map(_same, a, b)))


@contextmanager
def random_state_kept(seed: int, drew: Callable[[bool], None]) -> Iterator[None]:
    """The process's generators start from `seed` inside the block and end where they began.

    `drew` is told whether the block drew any number from them.
    """
    with _alone:
        before = _random_state()
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            seeded = _random_state()
            try:
                yield
            finally:
                drew(_random_state()[:3] != seeded[:3])
                random.setstate(before[1])
                np.random.set_state(before[3])


def _random_state() -> tuple[bytes, Any, Any, Any]:
    """The states of torch, Python and numpy; numpy's once more, as it wants it back."""
    numbers: Any = np.random.get_state()
    comparable = (numbers[1].tobytes(), *numbers[2:])
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), comparable, numbers


class ReadOnly(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its modes
    """Refuses, before it happens, any operation that would write into the model's parameters."""

    supports_higher_order_operators = True  # these are functional: they write nothing themselves

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.names = {p.untyped_storage()._cdata: name for name, p in parameters.items()}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch loads its whole compiler (80 MB, a second) in order to keep it away from here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation unless it writes into a parameter."""
        if not isinstance(func, HigherOrderOperator) and func._schema.is_mutable:
            for name in filter(None, map(self._name, _written(func._schema, args, kwargs or {}))):
                raise BadModel(f"The model edits its own parameter {name!r} while it runs.", _HINT)
        return func(*args, **(kwargs or {}))

    def _name(self, v: Tensor) -> str | None:
        return self.names.get(v.untyped_storage()._cdata) if v.layout == torch.strided else None


def _written(schema: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors that an operation writes into, also in lists and by name (`out=`)."""
    for i, argument in enumerate(schema.arguments):
        if argument.is_write:
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            yield from (v for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, Tensor))
