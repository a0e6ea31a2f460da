"""How a model is handed out for work: as a private double, or borrowed under a lock and put back as it was."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pellucid.core.double import double
from pellucid.core.errors import BadModel

_HINT = "Move the update out of forward(), or explain a copy of the model that does not update itself."


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by name, each once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            yield from (t for t in held.values() if t is not None)


def versions(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """A stamp that changes when any weight is replaced or edited in place."""
    return tuple((id(t), t._version) for t in _tensors(model) if not t.is_inference())


@contextmanager
def doubled(model: nn.Module) -> Iterator[nn.Module]:
    """A double for the block; a model that edited itself in spite of it is reported."""
    weights = [t for t in _tensors(model) if not t.is_inference()]
    before = [t._version for t in weights]
    yield double(model)
    if [t._version for t in weights] != before:
        raise BadModel(f"{type(model).__name__} edits its own weights while it runs.", _HINT)


@contextmanager
def borrowed(model: nn.Module, lock: threading.RLock) -> Iterator[nn.Module]:
    """The model itself, alone, in eval mode; flags, buffers, hooks and attributes are put back afterwards."""
    with lock, ExitStack() as undo:
        for module in model.modules():
            undo.callback(_shell(module))
        for name, buffer in model.named_buffers():
            undo.callback(_put_back, buffer, buffer.detach().clone(), name)
        for parameter in model.parameters():
            undo.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        model.eval()
        yield model


def _put_back(buffer: Tensor, value: Tensor, name: str) -> None:
    with torch.no_grad():
        if not torch.equal(buffer, value):
            buffer.copy_(value)


def _shell(module: nn.Module) -> Callable[[], None]:
    """How to put a module's own attributes back: train flag, hooks, everything but the tensors' content."""
    training = module.training
    if isinstance(module, torch.jit.ScriptModule):
        return lambda: setattr(module, "training", training)
    copies: dict[str, Any] = {k: v.copy() if isinstance(v, dict) else v for k, v in module.__dict__.items()}

    def restore() -> None:
        for name, value in copies.items():
            held = module.__dict__.get(name)
            if isinstance(held, dict) and isinstance(value, dict):
                if list(held.items()) != list(value.items()):
                    held.clear()
                    held.update(value)
            elif held is not value:
                module.__dict__[name] = value
        for name in [n for n in module.__dict__ if n not in copies]:
            del module.__dict__[name]

    return restore


# The generators below belong to the process, so whoever seeds and restores them does it alone.
_random_lock = threading.RLock()


@contextmanager
def random_state_kept(seed: int, drew: Callable[[bool], None]) -> Iterator[None]:
    """The process's generators start from `seed` inside the block and end where they began.

    `drew` is told whether the block drew any number from them.
    """
    with _random_lock:
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
                drew(str(_random_state()) != str(seeded))
                random.setstate(before[1])
                np.random.set_state(before[2])


def _random_state() -> tuple[bytes, Any, Any]:
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), np.random.get_state()


class ReadOnly(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its modes
    """Refuses, before it happens, any operation that would write into the model's parameters."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = {p.untyped_storage()._cdata: name for name, p in parameters.items()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation unless it writes into a parameter."""
        if func._schema.is_mutable:
            written = [v for a, v in zip(func._schema.arguments, args, strict=False) if a.is_write]
            for v in written:
                name = self.names.get(v.untyped_storage()._cdata) if isinstance(v, Tensor) else None
                if name is not None:
                    raise BadModel(f"The model edits its own parameter {name!r} while it runs.", _HINT)
        return func(*args, **(kwargs or {}))
