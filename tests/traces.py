"""Everything about a model, an input and the process that an explanation must leave as it was."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_load_state_dict_pre_hooks",
)  # fmt: skip


def of_tensor(t: Tensor | None) -> tuple[Any, ...]:
    """Identity, numbers, gradient, and for a parameter how often it was written into.

    What a borrowed model writes into other tensors of its own is put back, which is one more writing.
    """
    if t is None:
        return ()
    version = t._version if isinstance(t, nn.Parameter) and not t.is_inference() else -1
    grad = None if not t.is_leaf or t.grad is None else (id(t.grad), content(t.grad))
    return id(t), content(t), version, t.requires_grad, grad


def content(t: Tensor) -> tuple[Any, ...]:
    if t.is_quantized:
        return (repr(t),)
    raw = t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return tuple(t.shape), str(t.dtype), raw


def of_value(value: Any, met: set[int]) -> Any:
    """What an attribute is and holds, by identity and by content."""
    if isinstance(value, Tensor):
        return of_tensor(value)
    if isinstance(value, nn.Module):
        return ("module", id(value), of_module(value, met))
    if isinstance(value, dict):
        return (id(value), [(of_value(k, met), of_value(v, met)) for k, v in value.items()])
    if isinstance(value, list | tuple | deque):
        return (id(value), [of_value(v, met) for v in value])
    if isinstance(value, torch.Generator):
        return (id(value), value.get_state().numpy().tobytes())
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, set):
        return (id(value), sorted(map(str, value)))
    return id(value)


def of_module(module: nn.Module, met: set[int]) -> Any:
    """Every attribute of a module, its flags and its hook tables."""
    if id(module) in met:
        return id(module)
    met.add(id(module))
    if isinstance(module, torch.jit.ScriptModule):
        tensors = module.state_dict(keep_vars=True).items()
        return module.training, [(name, content(t), t.requires_grad) for name, t in tensors]
    return [(name, of_value(value, met)) for name, value in module.__dict__.items()]


def of_model(model: nn.Module) -> Any:
    """The fingerprint of a model: structure, weights, flags, hooks, gradients, attributes."""
    state = [(name, content(t)) for name, t in model.state_dict().items() if isinstance(t, Tensor)]
    flags = [(name, id(m), type(m).__name__, m.training) for name, m in model.named_modules()]
    if isinstance(model, torch.jit.ScriptModule):  # its parts are wrapped anew each time
        return state, [(name, training) for name, _, _, training in flags], of_module(model, set())
    parameters = [(name, of_tensor(p)) for name, p in model.named_parameters()]
    hooks = [[(k, id(v)) for k, v in getattr(m, t, {}).items()] for m in model.modules() for t in _HOOKS]
    return state, flags, parameters, hooks, of_module(model, set())


def of_process() -> Any:
    """The random generators and the modes of the process."""
    name, keys, *rest = np.random.get_state()
    modes = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))
    return random.getstate(), torch.get_rng_state().numpy().tobytes(), (name, keys.tobytes(), *rest), modes


def of_inputs(x: Any) -> Any:
    given = x.values() if isinstance(x, dict) else (x if isinstance(x, list | tuple) else (x,))
    return [of_tensor(v) for v in given if isinstance(v, Tensor)]


def fingerprint(model: nn.Module, x: Any) -> Any:
    """All of the above; equal before and after means that nothing was left behind."""
    return of_model(model), of_inputs(x), of_process()
