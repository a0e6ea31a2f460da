"""A Keras model in Pellucid's terms: inputs by name, pictures and maps as `[batch, channels, height, width]`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pellucid.core.errors import BadInput
from pellucid.core.facing import channels_last, channels_second
from pellucid.core.names import module_paths

Shape = tuple[int | None, ...]
_MOVES = frozenset(("Permute", "Reshape", "Flatten", "MultiHeadAttention", "GroupQueryAttention"))


@dataclass(frozen=True, slots=True)
class Given:
    """One input of a Keras model: its name, and its shape in Keras's own order, without the batch (None: unknown)."""

    name: str
    shape: Shape | None
    turned: bool

    @property
    def wanted(self) -> Shape | None:
        """The shape that is asked for here, without the batch."""
        if self.shape is None or not self.turned:
            return self.shape
        return (self.shape[-1], *self.shape[:-1])

    def laid(self, v: Tensor) -> Tensor:
        """A value in Keras's own order; raises `BadInput` for another shape."""
        wanted, found = self.wanted, tuple(v.shape[1:])
        if wanted is not None and not _fits(found, wanted):
            last = self.turned and self.shape is not None and _fits(found, self.shape)
            why = ", channels before height and width" if last else ""
            hint = "x.permute(0, 3, 1, 2)." if last else "See net.read(picture)."
            raise BadInput(f"Input {self.name!r} is {_shown(found)}; this network takes {_shown(wanted)}{why}.", hint)
        return channels_last(v) if self.turned else v


class KerasPictures(nn.Module):
    """A Keras model that is given pictures, and gives maps, with their channels before height and width.

    Its layers keep the names that Keras gave them, and the values in them are shown with channels second too
    (`channels_last_sites`).  Nothing of the model itself is altered.
    """

    def __init__(self, model: Any, last: bool) -> None:
        super().__init__()
        self.keras_model: Any = model
        self.given = tuple(inputs_of(model, last))
        self.last = last
        self.channels_last_sites = frozenset(_last_sites(model)) if last else frozenset()

    @property
    def takes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """The shape and type of one sample of every input; nothing where an axis is free."""
        found: dict[str, tuple[tuple[int, ...], str]] = {}
        for g in self.given:
            sizes = [n for n in g.wanted or () if n is not None]
            if g.wanted is None or len(sizes) < len(g.wanted):
                return {}
            found[g.name] = ((1, *sizes), "float32")
        return found

    def _flatten_layers(self, recursive: bool = True, include_self: bool = True) -> Iterable[Any]:
        """Keras's own layers, by which `module_paths` knows them."""
        return self.keras_model._flatten_layers(recursive=recursive, include_self=False)  # type: ignore[no-any-return]

    @property
    def weights(self) -> list[Any]:
        """Keras's own weights, which know their paths."""
        return list(self.keras_model.weights)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        """What the model says to its inputs, in order or by name."""
        names = [g.name for g in self.given]
        by_name = dict(zip(names, inputs, strict=False)) | named
        if (extra := len(inputs) - len(names)) > 0 or set(by_name) != set(names):
            shown = ", ".join(by_name) + (f" and {extra} more" if extra > 0 else "")
            raise BadInput(f"The network was given {shown}.", f"It takes: {', '.join(names)}.")
        out = self.keras_model(self._packed([g.laid(by_name[g.name]) for g in self.given]), training=False)
        return self._outputs(out)

    def _packed(self, values: list[Tensor]) -> Any:
        """The inputs in the structure in which the model was defined."""
        if isinstance(structure := getattr(self.keras_model, "_inputs_struct", None), dict):
            return dict(zip(_keys(structure), values, strict=True))
        return values[0] if len(values) == 1 else values

    def _outputs(self, out: Any) -> Any:
        names: Sequence[str] = getattr(self.keras_model, "output_names", None) or ()
        if isinstance(out, list | tuple) and len(out) == len(names) > 1:
            out = dict(zip(names, out, strict=True))
        if isinstance(out, dict):
            return {k: self._turned(v) for k, v in out.items()}
        return [self._turned(v) for v in out] if isinstance(out, list | tuple) else self._turned(out)

    def _turned(self, v: Any) -> Any:
        return channels_second(v) if self.last and isinstance(v, Tensor) else v


def keeps_channels_last(model: Any, usual: str) -> bool:
    """Do the model's pictures have their channels last?  What most of its layers say, else Keras's usual order."""
    said = [getattr(layer, "data_format", None) for layer in module_paths(model).values()]
    last, first = said.count("channels_last"), said.count("channels_first")
    return last > first or (last == first and usual == "channels_last")


def inputs_of(model: Any, last: bool) -> Iterator[Given]:
    """The inputs of a model, in the order in which it takes them; of a subclassed one, the arguments of its `call`."""
    shapes: Sequence[Shape | None]
    structure = getattr(model, "_inputs_struct", None)
    try:
        tensors = list(model.inputs or ())
    except (AttributeError, ValueError):  # a subclassed model has none
        tensors = []
    if isinstance(structure, dict):
        names, shapes = _keys(structure), [tuple(structure[k].shape[1:]) for k in _keys(structure)]
    elif tensors:
        names = [_plain(t.name) for t in tensors]
        shapes = [tuple(t.shape[1:]) for t in tensors]
    else:
        left_out = ("self", "args", "kwargs", "training", "mask")
        names = [n for n in model._call_signature.parameters if n not in left_out][:1] or ["x"]
        shapes = [_built_shape(model)]
    for name, shape in zip(names, shapes, strict=True):
        yield Given(name, shape, last and shape is not None and len(shape) >= 3)


def _keys(structure: dict[str, Any]) -> list[str]:
    return sorted(structure)


def _built_shape(model: Any) -> Shape | None:
    """The shape, without the batch, that a subclassed model was built for; None when it is not known or not one."""
    shape = (model.get_build_config() or {}).get("input_shape") or getattr(model, "_build_shapes_dict", None)
    if isinstance(shape, dict):
        shape = next(iter(shape.values())) if len(shape) == 1 else None
    if isinstance(shape, list | tuple) and all(n is None or isinstance(n, int) for n in shape):
        return tuple(shape[1:])
    return None


def _last_sites(model: Any) -> Iterator[str]:
    for path, layer in module_paths(model).items():
        if getattr(layer, "data_format", "channels_last") == "channels_last" and type(layer).__name__ not in _MOVES:
            yield path


def _plain(name: str) -> str:
    """A name that can be an argument's: Keras's own may have slashes, colons and dots."""
    return re.sub(r"\W", "_", re.sub(r"^keras_tensor(_\d+)?", r"input\1", name)) or "x"


def _fits(found: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(found) == len(wanted) and all(w in (None, n) for n, w in zip(found, wanted, strict=True))


def _shown(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join(["batch", *("any" if n is None else str(n) for n in shape)]) + "]"
