"""Running a model without numbers: shapes only, so that a network larger than memory can be mapped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
)

from pellucid.core.errors import BadModel
from pellucid.core.structure import leaves, rebuilt

Faked: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[tuple[Tensor, Tensor]]]


@contextmanager
def faked(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Faked]:
    """How to run `model` without numbers: a function, its arguments, and pairs of a parameter and what stands for it.

    Raises `BadModel` when the model asks for a number (`.item()`, `if tensor:`) or a shape depends on one.
    """
    weights = dict(model.named_parameters()) | dict(model.named_buffers())
    given = [*leaves((args, dict(kwargs)), deep=True), *weights.values()]
    mode = next((v.fake_mode for v in given if isinstance(v, FakeTensor)), None)
    mode = mode or FakeTensorMode(allow_non_fake_inputs=True)
    stand_ins = {name: _fake(mode, v) for name, v in weights.items()}
    args, kwargs = rebuilt((args, dict(kwargs)), partial(_fake, mode), deep=True)
    try:
        with mode, _unlogged():
            yield partial(_call, model, stand_ins), args, dict(kwargs), [(weights[n], v) for n, v in stand_ins.items()]
    except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException) as error:
        why = f"{type(model).__name__} needs numbers, not only shapes, to run ({error.func})."
        raise BadModel(why, "Record it with fake=False, on a real input.") from error


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without torch's log of a kernel whose shapes it cannot follow: the error that it raises says the same."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled


def _call(model: nn.Module, stand_ins: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    return torch.func.functional_call(model, stand_ins, args, kwargs)


def _fake(mode: FakeTensorMode, v: Tensor) -> Tensor:
    if isinstance(v, FakeTensor):
        return v
    if v.is_meta:
        return FakeTensor(mode, v.detach(), torch.device("cpu"))
    return mode.from_tensor(v, static_shapes=True)
