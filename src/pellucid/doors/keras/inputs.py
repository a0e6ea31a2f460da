"""What a Keras model takes: its inputs by name, with their shapes, and the structure in which it wants them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.facing import channels_last, fits, refuse_unturned, shape_in_words
from pellucid.core.misfit import how_to_fit

Shape: TypeAlias = tuple[int | None, ...]
FLOAT = "float32"
_NO_INPUTS = ("self", "args", "kwargs", "training", "mask")


@dataclass(frozen=True, slots=True)
class Given:
    """One input of a Keras model: its name, and its shape in Keras's own order, without the batch (None: unknown).

    `turned`: where it has four axes or more, Keras has its channels last.
    """

    name: str
    shape: Shape | None
    dtype: str
    turned: bool

    @property
    def wanted(self) -> Shape | None:
        """The shape that is asked for here, without the batch."""
        return (self.shape[-1], *self.shape[:-1]) if self.turned and self.shape is not None else self.shape

    def laid(self, v: Tensor) -> Tensor:
        """A value in Keras's own order; raises `BadInput` for another shape."""
        wanted, found = self.wanted, tuple(v.shape[1:])
        if wanted is not None and not fits(found, wanted):
            if self.turned:
                refuse_unturned(self.name, found, wanted, len(v))
            what = f"Input {self.name!r} is {shape_in_words(found)}; this network takes {shape_in_words(wanted)}."
            raise BadInput(what, *how_to_fit(wanted))
        return channels_last(v) if self.turned else v


@dataclass(frozen=True, slots=True)
class Inputs:
    """All inputs in order, and how the model is given them: `apart`, as arguments of their own, or together in one."""

    given: tuple[Given, ...]
    form: Literal["apart", "list", "dictionary"]

    def packed(self, values: Mapping[str, Tensor]) -> tuple[Any, ...]:
        """The arguments of a call, from values by the inputs' names; raises `BadInput` for another shape."""
        laid = [g.laid(values[g.name]) for g in self.given]
        if self.form == "apart":
            return tuple(laid)
        by_key = {g.name: v for g, v in zip(self.given, laid, strict=True)}
        return (by_key if self.form == "dictionary" else laid,)


def inputs_of(model: Any, last: bool) -> Inputs:
    """The inputs of a model in the order in which it takes them; of a subclassed one, the arguments of its `call`."""
    structure = getattr(model, "_inputs_struct", None)
    try:
        tensors = list(model.inputs or ())
    except (AttributeError, ValueError):  # a subclassed model has none
        return _of_call(model, last)
    if isinstance(structure, dict):
        return Inputs(_given({k: _like(structure[k]) for k in sorted(structure)}, last), "dictionary")
    if not tensors:
        return _of_call(model, last)
    names = _apart([_plain(t.name) for t in tensors])
    found = _given(dict(zip(names, map(_like, tensors), strict=True)), last)
    return Inputs(found, "apart" if len(found) == 1 else "list")


def _of_call(model: Any, last: bool) -> Inputs:
    """Of a subclassed model: what `call` must be given, and as much of the shapes as it remembers it was built for."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = [p for n, p in model._call_signature.parameters.items() if n not in _NO_INPUTS and p.kind in kinds]
    names = [p.name for p in known if p.default is p.empty] or [p.name for p in known[:1]] or ["x"]
    built: Any = getattr(model, "_build_shapes_dict", None) or {}
    only = next(iter(built.values())) if len(built) == 1 else None
    if len(names) == 1 and isinstance(only, dict):
        return Inputs(_given({k: (_shape(v), FLOAT) for k, v in sorted(only.items())}, last), "dictionary")
    if len(names) == 1 and isinstance(only, list | tuple) and all(isinstance(v, list | tuple) for v in only):
        return Inputs(_given({f"{names[0]}_{i}": (_shape(v), FLOAT) for i, v in enumerate(only)}, last), "list")
    shapes = {n: _shape(built.get(f"{n}_shape", only if n == names[0] else None)) for n in names}
    return Inputs(_given({n: (v, FLOAT) for n, v in shapes.items()}, last), "apart")


def _given(shapes: Mapping[str, tuple[Shape | None, str]], last: bool) -> tuple[Given, ...]:
    return tuple(Given(name, s, d, last and (s is None or len(s) >= 3)) for name, (s, d) in shapes.items())


def _like(tensor: Any) -> tuple[Shape | None, str]:
    """The shape, without the batch, and the type of one of Keras's symbolic tensors."""
    return tuple(tensor.shape[1:]), str(tensor.dtype)


def _shape(built: Any) -> Shape | None:
    """A shape without the batch; None where it is not known or not one."""
    if isinstance(built, list | tuple) and built and all(n is None or isinstance(n, int) for n in built):
        return tuple(built[1:])
    return None


def _apart(names: Sequence[str]) -> list[str]:
    """Names of which no two are the same."""
    return [f"{n}_{i}" if names.count(n) > 1 else n for i, n in enumerate(names)]


def _plain(name: str) -> str:
    """A name that can be an argument's: Keras's own may have slashes, colons and dots."""
    return re.sub(r"\W", "_", re.sub(r"^keras_tensor(_\d+)?", r"input\1", name)) or "x"
