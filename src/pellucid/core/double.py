"""A double: the module shells copied, the parameters sharing their storage, everything else private.

Hooks, eval mode and frozen parameters live and die with the double, so the user's model stays exactly as it was
found, also after an exception, and two threads cannot meet in the same hook.
"""

from __future__ import annotations

import copy
import random
import types
from collections import defaultdict, deque
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from pellucid.core.held import CONTAINERS, inside, reached, variables

# Told apart first, and by exact type, because nearly everything that a module holds is one of these or empty.
_ATOMS = frozenset({type(None), bool, int, float, str, bytes, torch.dtype, torch.device, torch.Size, type})
_UNCOPYABLE_HOMES = ("keras.", "torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torchao.")
_TABLES = frozenset(name for name, held in nn.Module().__dict__.items() if isinstance(held, dict))
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)


def double(model: nn.Module) -> nn.Module:
    """A private copy of the model in eval mode with frozen parameters; no parameter is copied.

    >>> model = torch.nn.Linear(2, 1)
    >>> twin = double(model)
    >>> twin.weight.data_ptr() == model.weight.data_ptr(), twin.training, model.training
    (True, False, True)
    """
    return _twin_module(model, {})


def why_not_doubled(model: nn.Module) -> str:
    """What about this model cannot be copied without changing what it computes, or ''."""
    names = {id(module): path for path, module in model.named_modules()}
    met: dict[int, Any] = {}
    waiting: list[tuple[str, Any]] = [("the model", model)]
    while waiting:
        where, value = waiting.pop()
        if id(value) in met:
            continue
        met[id(value)] = value
        why = ""
        if isinstance(value, nn.Module):
            where = names.get(id(value), "") or where
            why = _why_not_this(value)
        elif not isinstance(value, Tensor) and not _copied(value) and _holds_state(value):
            why = f"keeps a {type(value).__name__} that holds on to parts of the model"
        if why:
            return f"{where} {why}"
        if isinstance(value, nn.Module) or _copied(value):
            waiting.extend((where, v) for v in inside(value))
    return ""


def _why_not_this(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return "is scripted or traced"
    if isinstance(module, fx.GraphModule):
        return "is a traced graph"
    if hasattr(module, "_flatten_layers"):
        return "is a Keras model, whose layers hold on to each other"
    if type(module).__module__.startswith(_UNCOPYABLE_HOMES):
        return f"is a {type(module).__module__.split('.')[0]} object that holds its parts in its own way"
    return ""


def _copied(value: Any) -> bool:
    """Is it a plain holder, of which the double gets its own?"""
    bound = isinstance(value, types.MethodType) and isinstance(value.__self__, nn.Module)
    return bound or type(value) in CONTAINERS or type(value) is partial or _is_named_tuple(value)


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _holds_state(value: Any) -> bool:
    """Does a function or object use modules, parameters, or a tensor among its own variables?"""
    for v in reached(value):
        if isinstance(v, nn.Module | nn.Parameter):
            return True
        if isinstance(v, types.FunctionType) and any(isinstance(own, Tensor) for own in variables(v)):
            return True
    return False


def _twin(value: Any, memo: dict[int, Any]) -> Any:
    """The double of whatever a module may hold.  `memo` keeps shared parts shared (tied weights, reused modules)."""
    kind = type(value)
    if kind in _ATOMS or (kind is tuple and _ATOMS.issuperset(map(type, value))):
        return value
    if id(value) in memo:
        return memo[id(value)]
    twin: Any
    if kind in CONTAINERS:
        twin = _twin_container(value, memo)
    elif isinstance(value, Tensor):
        twin = _twin_tensor(value)
    elif isinstance(value, nn.Module):
        return _twin_module(value, memo)
    elif kind is types.MethodType and isinstance(value.__self__, nn.Module):
        twin = types.MethodType(value.__func__, _twin(value.__self__, memo))
    elif kind is partial:
        twin = partial(_twin(value.func, memo), *_twin(value.args, memo), **_twin(value.keywords, memo))
    elif isinstance(value, torch.Generator):
        twin = value.clone_state()
    elif isinstance(value, _GENERATORS):
        twin = copy.deepcopy(value)
    elif _is_named_tuple(value):
        twin = kind(*(_twin(v, memo) for v in value))
    else:
        return value
    memo[id(value)] = twin
    return twin


def _twin_tensor(value: Tensor) -> Tensor:
    if type(value) is Tensor or not isinstance(value, nn.Parameter):  # the second question is slow to answer
        return value.detach().clone()
    # an inference tensor cannot be differentiated through, so it is the one kind of parameter that is copied
    return nn.Parameter(value.clone() if value.is_inference() else value.detach(), requires_grad=False)


def _twin_container(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, tuple | frozenset):
        return type(value)(_twin(v, memo) for v in value)
    twin: Any
    if type(value) is dict:
        twin = {}
    elif isinstance(value, defaultdict):
        twin = defaultdict(_twin(value.default_factory, memo))
    else:
        twin = deque(maxlen=value.maxlen) if isinstance(value, deque) else type(value)()
    memo[id(value)] = twin  # before it is filled: a list may hold itself
    if isinstance(value, dict):
        for k, v in value.items():
            twin[k if type(k) is str else _twin(k, memo)] = _twin(v, memo)
    elif isinstance(value, set):
        twin.update(_twin(v, memo) for v in value)
    else:
        twin.extend(_twin(v, memo) for v in value)
    return twin


def _twin_module(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    twin: nn.Module = module.__class__.__new__(module.__class__)
    memo[id(module)] = twin
    state: dict[str, Any] = {}
    for name, value in module.__dict__.items():
        kind = type(value)
        if kind in _ATOMS:
            state[name] = value
        elif name in _TABLES and not value:  # most of them are empty; a dict of the user's may be shared by two modules
            state[name] = kind()
        else:
            state[name] = _twin(value, memo)
    state["training"] = False
    object.__setattr__(twin, "__dict__", state)
    return twin
