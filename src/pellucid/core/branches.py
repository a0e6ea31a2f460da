"""torch's own branches and loops (`torch.cond`, `torch.while_loop`), run as Python's are, so that modes see inside.

torch compiles what calls them, and neither its compiler nor the operator itself can be watched by a mode.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from types import CodeType
from typing import Any

import torch
from torch import nn
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
    """Does the code of a module that it holds name one of them?

    Helpers outside of `forward` are not read.

    >>> class Either(nn.Module):
    ...     def forward(self, x):
    ...         return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))
    >>> names_branches(nn.Sequential(Either())), names_branches(nn.Sequential(nn.ReLU()))
    (True, False)
    """
    kinds = {type(module) for module in model.modules()}
    return any(_names(code) for kind in kinds if (code := getattr(getattr(kind, "forward", None), "__code__", None)))


@lru_cache(maxsize=1024)
def _names(code: CodeType) -> bool:
    """Does it load one from torch, or as a global of its own?  A module's `self.cond` is something else."""
    if not _RUN.keys().isdisjoint(code.co_names):
        pairs = pairwise((step.opname, step.argval) for step in dis.get_instructions(code))
        if any(name in _RUN and (where in _HOMES or op == "LOAD_GLOBAL") for (_, where), (op, name) in pairs):
            return True
    return any(_names(const) for const in code.co_consts if isinstance(const, CodeType))


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
_HOMES = ("torch", "higher_order", "control_flow")
