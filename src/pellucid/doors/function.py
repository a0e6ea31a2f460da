"""Any function as a network: a model behind an address, another framework's, or a rule written by hand.

Nothing inside it can be seen, so methods that need gradients or feature maps refuse (unless torch computed the answer),
and those that change the input and look at the answer work: occlusion, RISE, LIME, Shapley values, and the trust card.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadModel


class Function(nn.Module):
    """A function from tensors `[batch, ...]` to one row of scores a sample: a tensor, an array or lists.

    A function that gives one number a sample is given a single column.

    >>> double = Function(lambda x: (2 * x).sum(1).numpy())
    >>> double(torch.ones(2, 3)).tolist()
    [[6.0], [6.0]]
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """The function's answer, as a tensor on the inputs' device."""
        given = [*inputs, *named.values()]
        try:
            out = self.function(*inputs, **named)
        except RuntimeError as error:
            if "requires grad" not in str(error):
                raise
            # it leaves torch, so there is no gradient to be had: whoever wants one is told so
            out = self.function(*(v.detach() for v in inputs), **{k: v.detach() for k, v in named.items()})
        return _scores(out, given[0])

    def extra_repr(self) -> str:
        """The function's name and a digest of its code, by which it is known again."""
        code = getattr(self.function, "__code__", None)
        digest = hashlib.blake2b(code.co_code, digest_size=8).hexdigest() if code is not None else "unknown"
        return f"{name_of(self.function)}, code {digest}"


def name_of(function: Callable[..., Any]) -> str:
    """What a function calls itself."""
    name = getattr(function, "__name__", type(function).__name__)
    return "function" if name == "<lambda>" else str(name)


def arguments_of(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """The names of its inputs: parameters without a default; None where they cannot be known."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in plain and p.default is p.empty) or None


def _scores(found: Any, like: Tensor) -> Tensor:
    out: Tensor = found if isinstance(found, Tensor) else _tensor(found)
    out = out.to(like.device)
    if out.ndim == 0 or len(out) != len(like):
        raise BadModel(
            f"The function gave {tuple(out.shape)} for {len(like)} samples.", "It must give one row a sample."
        )
    out = out if out.is_floating_point() else out.float()
    return out[:, None] if out.ndim == 1 else out


def _tensor(found: Any) -> Tensor:
    """An array or lists of numbers, as a tensor."""
    try:
        return torch.from_numpy(np.asarray(found, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise BadModel(
            f"The function gave {type(found).__name__}, expected one row of numbers a sample.", "Return an array."
        ) from error
