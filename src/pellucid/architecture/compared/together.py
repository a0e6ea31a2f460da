"""Two networks run on the same input, whatever each calls it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

import torch
from torch import Tensor, nn

from pellucid.architecture.compared.layerwise import Layerwise, layerwise
from pellucid.architecture.given import Call, Given, call_of, guessed
from pellucid.core.errors import PellucidError
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.recording.record import record_module
from pellucid.core.recording.tape import Tape
from pellucid.core.run import current
from pellucid.core.tensors import Inputs


def has_numbers(x: Given) -> TypeGuard[Inputs]:
    """Are the inputs tensors, and not only their shapes?"""
    values: Sequence[object] = [x] if isinstance(x, Tensor) else list(x.values() if isinstance(x, Mapping) else x)
    return all(isinstance(v, Tensor) and not v.is_meta for v in values)


def fixed_batch(model: nn.Module) -> int:
    """How many samples a network takes at a time; 0: as many as it gets."""
    return int(getattr(model, "batch", None) or 0)


def structure(net: Network, x: Given | None) -> Given | None:
    """The shapes of as many samples as the network takes at least: a map with activations is not asked for."""
    size = max(fixed_batch(net.model), 1)
    if isinstance(x, Tensor):
        return tuple(x[:size].shape) if x.is_floating_point() else x[:size]
    if isinstance(x, Mapping):
        return {k: v[:size] if isinstance(v, Tensor) else v for k, v in x.items()}
    return x


def by_layers(a: Network, b: Network, x: Given | None) -> Layerwise | str | None:
    """The two compared layer by layer on the first samples of `x`, or on noise; a sentence that says why not.

    None where no layer of one belongs to one of the other, and for weights without numbers.
    """
    if any(p.is_meta for net in (a, b) for p in net.model.parameters()):
        return None
    with a.lease() as one, b.lease() as two, torch.no_grad():
        why: Exception | None = None
        for left, right in _calls(a, one, b, two, x):
            try:
                return layerwise((_tape(one, left), one, left), (_tape(two, right), two, right))
            except (PellucidError, RuntimeError, ValueError, TypeError, LookupError) as error:
                why = error
    if why is None:
        return (
            "Layers were not compared: neither says what input it takes. Give one, or its shape: --shape 1x3x224x224."
        )
    first = str(why).partition("\n")[0][:120].rstrip(".")
    return f"Layers were not compared: both could not be run on one input ({type(why).__name__}: {first})."


def _tape(model: nn.Module, call: Call) -> Tape:
    return record_module(model, call.args, call.kwargs, paths=module_paths(model), keep_values=False)


def _calls(a: Network, one: nn.Module, b: Network, two: nn.Module, x: Given | None) -> Iterator[tuple[Call, Call]]:
    """Calls of both with the same numbers, the likeliest first: what a file says fits it has a fixed size."""
    size = max(fixed_batch(one), fixed_batch(two), 1)
    if x is not None:
        given = call_of(_first(x, size), one)
        own = given if has_numbers(x) else _noise(given)
        yield own, _with(own, guessed(two, b))
        return
    guesses = [guessed(two, b), guessed(one, a)]
    for k, guess in enumerate(guesses):
        if guess is not None:
            mine = _noise(guess)
            theirs = _with(mine, guesses[1 - k])
            yield (mine, theirs) if k else (theirs, mine)


def _first(x: Given, size: int) -> Given:
    if isinstance(x, Tensor):
        return x[:size]
    if isinstance(x, Mapping):
        return {k: v[:size] if isinstance(v, Tensor) else v for k, v in x.items()}
    return x if isinstance(x, str) else [v[:size] if isinstance(v, Tensor) else v for v in x]


def _noise(call: Call) -> Call:
    """The same with numbers that tell layers apart, where they are fractions."""

    def drawn(key: object, v: Tensor) -> Tensor:
        if not v.is_floating_point():
            return v
        return torch.randn(v.shape, generator=current().generator("compared", key)).to(v.device, v.dtype)

    args = tuple(drawn(k, v) if isinstance(v, Tensor) else v for k, v in enumerate(call.args))
    named = {k: drawn(n, v) if isinstance(v, Tensor) else v for n, (k, v) in enumerate(call.kwargs.items())}
    return replace(call, args=args, kwargs=named)


def _with(call: Call, other: Call | None) -> Call:
    """A call of another network with the same values, by the names that it has for them if there are several."""
    values = (*call.args, *call.kwargs.values())
    if other is not None and other.kwargs and len(other.kwargs) == len(values):
        return replace(other, kwargs=dict(zip(other.kwargs, values, strict=True)))
    return Call(values, {}, call.real) if len(values) == 1 or call.args else call
