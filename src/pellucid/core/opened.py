"""Torch's functions that are written in Python, run so that a mode sees each operation inside of them."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

_ASKS_NOBODY = {
    name: lambda *_: False for name in ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
}


def opened(func: Any) -> Callable[..., Any]:
    """Torch's own Python code of a function, run so that a mode sees each operation in it rather than the whole."""
    return types.FunctionType(
        func.__code__, func.__globals__ | _ASKS_NOBODY, func.__name__, func.__defaults__, func.__closure__
    )
