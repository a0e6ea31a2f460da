"""torch's own branches and loops (`torch.cond`, `torch.while_loop`), run as Python's are, so that modes see inside.

torch compiles what calls them, and neither its compiler nor the operator itself can be watched by a mode.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch._C._functorch import peek_interpreter_stack
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode


@contextmanager
def branches_taken(model: nn.Module) -> Iterator[None]:
    """For the block a model that names them takes its branches and runs its loops in Python; any other is let alone.

    To be entered last, so that every other mode sees what they run.
    """
    if not names_branches(model):
        yield
        return
    with torch.compiler.set_stance("force_eager"), _Taken():
        yield


def names_branches(model: nn.Module) -> bool:
    """Does the code of a module that it holds, or of a function that this calls, name one of them?

    >>> class Either(nn.Module):
    ...     def forward(self, x):
    ...         return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))
    >>> names_branches(nn.Sequential(Either())), names_branches(nn.Sequential(nn.ReLU()))
    (True, False)
    """
    return any([_of_kind(kind) for kind in {type(module) for module in model.modules()}])


def _of_kind(kind: type) -> bool:
    if kind not in _KNOWN:
        own = [base for base in kind.__mro__ if not base.__module__.startswith("torch.nn.")]
        _KNOWN[kind] = any(_named_by([f for base in own for f in vars(base).values() if isinstance(f, FunctionType)]))
    return _KNOWN[kind]


def _named_by(functions: list[FunctionType]) -> Iterator[bool]:
    """Function by function, and by those that they call in turn: does it name one?"""
    seen: set[FunctionType] = set()
    while functions:
        function = functions.pop()
        if function in seen:
            continue
        seen.add(function)
        yield _names(function.__code__)
        called = (function.__globals__.get(name) for name in function.__code__.co_names)
        functions.extend(f for f in called if isinstance(f, FunctionType) and not f.__module__.startswith("torch"))


def _names(code: CodeType) -> bool:
    """Does it load one from torch, or as a global of its own?  A module's `self.cond` is something else."""
    if not _NAMES.isdisjoint(code.co_names):
        pairs = pairwise((step.opname, step.argval) for step in dis.get_instructions(code))
        if any(name in _NAMES and (where in _HOMES or op in _GLOBAL) for (_, where), (op, name) in pairs):
            return True
    return any(_names(const) for const in code.co_consts if isinstance(const, CodeType))


def transformed() -> bool:
    """Does this run inside of a transform, `torch.vmap` or `torch.func.grad`?"""
    return peek_interpreter_stack() is not None


class _Taken(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        run = _RUN.get(str(getattr(func, "__name__", ""))) if isinstance(func, HigherOrderOperator) else None
        return func(*args, **(kwargs or {})) if run is None else run(*args, **(kwargs or {}))


def _branch(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()) -> Any:
    return (true_fn if pred else false_fn)(*operands)


def _loop(cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried: Any, more: Any = ()) -> Any:
    while cond_fn(*carried, *more):
        new = body_fn(*carried, *more)
        carried = tuple(new) if isinstance(new, tuple | list) else (new,)
    return carried


_RUN: Mapping[str, Callable[..., Any]] = {"cond": _branch, "while_loop": _loop}
_NAMES = frozenset((*_RUN, "flex_attention"))  # the last needs no compiler either
_HOMES = ("torch", "higher_order", "control_flow")
_GLOBAL = ("LOAD_GLOBAL", "IMPORT_FROM")
_KNOWN: WeakKeyDictionary[type, bool] = WeakKeyDictionary()
