"""What a model holds on to: modules and tensors, and the lists, functions and objects through which it reaches them."""

from __future__ import annotations

import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

CONTAINERS = (list, tuple, dict, set, frozenset, OrderedDict, defaultdict, deque)
# These serve saving and loading, never a forward pass.
_NOT_RUN = ("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")
_ALL_HOOKS = (*_NOT_RUN, "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_LEAVES = (Tensor, type, types.ModuleType, types.BuiltinFunctionType, RemovableHandle, torch.Generator, str, bytes)


def inside(value: Any, hooks: bool = True) -> Iterator[Any]:
    """What a value holds directly: attributes, items, arguments, a function's own variables."""
    if isinstance(value, _LEAVES):
        return
    if isinstance(value, nn.Module):
        yield from (v for name, v in value.__dict__.items() if name not in (_NOT_RUN if hooks else _ALL_HOOKS))
    elif isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset | deque):
        yield from value
    elif isinstance(value, partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, types.FunctionType):
        yield from variables(value)
    elif isinstance(value, weakref.ref):
        yield value()
    if not isinstance(value, nn.Module | types.FunctionType):
        yield from getattr(value, "__dict__", {}).values()


def variables(function: types.FunctionType) -> list[Any]:
    """What a function remembers: the variables around it that it uses, and its defaults."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # a variable that was never given a value
            continue
    return [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def reached(value: Any, *, hooks: bool = True) -> Iterator[Any]:
    """The value and everything that can be reached from it, each once; without `hooks`, not what its hooks reach."""
    met: dict[int, Any] = {}  # keeps what it has met alive, so that no number is given out twice
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if id(here) in met or isinstance(here, int | float | str | bytes | types.NoneType):
            continue
        met[id(here)] = here
        yield here
        waiting.extend(inside(here, hooks))


def parameters_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter that the model can reach, also through plain lists; named where the module names it."""
    named = dict(model.named_parameters())
    known = {id(p) for p in named.values()}
    others = (v for v in reached(model) if isinstance(v, nn.Parameter) and id(v) not in known)
    return named | {f"(unregistered {i})": p for i, p in enumerate(others)}
