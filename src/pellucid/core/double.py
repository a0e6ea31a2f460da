"""A double: the module shells copied, the parameters sharing their storage, everything else private.

Hooks, eval mode and frozen parameters live and die with the double, so the user's model stays exactly as it was
found, also after an exception, and two threads cannot meet in the same hook.
"""

from __future__ import annotations

import types
from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

_CONTAINERS = (list, tuple, dict, set, OrderedDict)
_UNCOPYABLE_HOMES = ("keras.", "torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torchao.")


def double(model: nn.Module) -> nn.Module:
    """A private copy of the model in eval mode with frozen parameters; no parameter is copied.

    >>> model = torch.nn.Linear(2, 1)
    >>> twin = double(model)
    >>> twin.weight.data_ptr() == model.weight.data_ptr(), twin.training, model.training
    (True, False, True)
    """
    twin = _twin(model, {})
    assert isinstance(twin, nn.Module)
    return twin


def why_not_doubled(model: nn.Module) -> str:
    """What about this model cannot be copied without changing what it computes, or ''."""
    for path, module in model.named_modules():
        where = path or "the model"
        if isinstance(module, torch.jit.ScriptModule):
            return f"{where} is scripted or traced"
        if isinstance(module, fx.GraphModule):
            return f"{where} is a traced graph"
        if type(module).__module__.startswith(_UNCOPYABLE_HOMES) or hasattr(module, "_flatten_layers"):
            return f"{where} is a {type(module).__module__.split('.')[0]} object that holds its parts in its own way"
        if any(_closes_over_state(v) for v in module.__dict__.values()):
            return f"{where} keeps a function that holds on to parts of the model"
    return ""


def _closes_over_state(value: object) -> bool:
    if not isinstance(value, types.FunctionType) or value.__closure__ is None:
        return False
    return any(isinstance(cell.cell_contents, nn.Module | Tensor) for cell in value.__closure__)


def _twin(value: Any, memo: dict[int, Any]) -> Any:
    """The double of whatever a module may hold.  `memo` keeps shared parts shared (tied weights, reused modules)."""
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, nn.Module):
        return _twin_module(value, memo)
    if isinstance(value, nn.Parameter):
        # an inference tensor cannot be differentiated through, so it is the one kind that is copied
        shared = value.clone() if value.is_inference() else value.detach()
        twin: Any = nn.Parameter(shared, requires_grad=False)
    elif isinstance(value, Tensor):
        twin = value.detach().clone()
    elif isinstance(value, types.MethodType) and isinstance(value.__self__, nn.Module):
        return types.MethodType(value.__func__, _twin(value.__self__, memo))
    elif isinstance(value, partial):
        args, keywords = _twin(value.args, memo), _twin(value.keywords, memo)
        return partial(_twin(value.func, memo), *args, **keywords)
    elif type(value) in _CONTAINERS:
        return _twin_container(value, memo)
    else:
        return value
    memo[id(value)] = twin
    return twin


def _twin_container(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, dict):
        return type(value)((k, _twin(v, memo)) for k, v in value.items())
    return type(value)(_twin(v, memo) for v in value)


def _twin_module(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    twin = module.__class__.__new__(module.__class__)
    memo[id(module)] = twin
    state = {name: _twin(v, memo) for name, v in module.__dict__.items()}
    state["training"] = False
    object.__setattr__(twin, "__dict__", state)
    return twin
