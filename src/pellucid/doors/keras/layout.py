"""A Keras model in Pellucid's terms: inputs by name, pictures and maps as `[batch, channels, height, width]`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from pellucid.core.errors import BadInput
from pellucid.core.facing import channels_second
from pellucid.core.names import module_paths
from pellucid.core.tensors import by_name
from pellucid.doors.keras.inputs import inputs_of

_ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention")
_MOVES = frozenset(("Permute", "Reshape", "Flatten", *_ATTENTION))


class KerasPictures(nn.Module):
    """A Keras model that is given pictures, and gives maps, with their channels before height and width.

    Its layers keep the names that Keras gave them, and the values in them are shown with channels second too
    (`channels_last_sites`).  Nothing of the model itself is altered.
    """

    def __init__(self, model: Any, last: bool) -> None:
        super().__init__()
        self.keras_model: Any = model
        self.inputs = inputs_of(model, last)
        self.last = last
        self.channels_last_sites = frozenset(_last_sites(model)) if last else frozenset()

    @property
    def argument_names(self) -> tuple[str, ...]:
        """The inputs' names in order, by which recordings know them: `forward` takes any number."""
        return tuple(g.name for g in self.inputs.given)

    @property
    def takes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """The shape and type of one sample of every input; nothing where an axis is free."""
        found: dict[str, tuple[tuple[int, ...], str]] = {}
        for g in self.inputs.given:
            sizes = [n for n in g.wanted or () if n is not None]
            if g.wanted is None or len(sizes) < len(g.wanted):
                return {}
            found[g.name] = ((1, *sizes), g.dtype)
        return found

    @property
    def fixed_axes(self) -> dict[str, tuple[int | None, ...]]:
        """The sizes that the model fixes of every input whose shape it knows; None for a free axis."""
        return {g.name: (None, *g.wanted) for g in self.inputs.given if g.wanted is not None}

    def _flatten_layers(self, recursive: bool = True, include_self: bool = True) -> Iterable[Any]:
        """Keras's own layers, by which `module_paths` knows them."""
        return self.keras_model._flatten_layers(recursive=recursive, include_self=False)  # type: ignore[no-any-return]

    @property
    def weights(self) -> list[Any]:
        """Keras's own weights, which know their paths."""
        return list(self.keras_model.weights)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        """What the model says to its inputs, in order or by name."""
        names = self.argument_names
        given = dict(zip(names, inputs, strict=False)) | named
        if (extra := len(inputs) - len(names)) > 0 or set(given) != set(names):
            shown = ", ".join(given) + (f" and {extra} more" if extra > 0 else "")
            raise BadInput(f"The network was given {shown}.", *by_name(names, self.fixed_axes))
        return self._outputs(self.keras_model(*self.inputs.packed(given), training=False))

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


def _last_sites(model: Any) -> Iterator[str]:
    """The layers that put out maps, if they put out four axes or more; what the model itself puts out is turned."""
    attention: list[str] = []
    for path, layer in module_paths(model).items():
        last, kind = getattr(layer, "data_format", "channels_last") == "channels_last", type(layer).__name__
        if kind in _ATTENTION:  # inside of it are [batch, tokens, heads, width] and [batch, heads, tokens, tokens]
            attention.append(f"{path}.")
        if path and last and kind not in _MOVES and not path.startswith(tuple(attention)):
            yield path
