"""Where the parts of an input lie: pixels of a picture, places in a sequence, columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from pellucid.core.errors import BadInput, Missing
from pellucid.core.explanation import Explanation
from pellucid.core.network import Network
from pellucid.core.replaced import IDS
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors

Kind: TypeAlias = Literal["picture", "volume", "series", "text", "table"]


@dataclass(frozen=True, slots=True)
class Layout:
    """One input's places: their axes (0 is the samples) and how many there are along each."""

    kind: Kind
    input: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    site: str = ""  # the inner site that it is the value of, in the place of an input

    @property
    def size(self) -> int:
        """The number of places."""
        return int(torch.Size(self.shape).numel())

    def spread(self, mask: Bool[Tensor, "count *shape"], like: Tensor) -> Bool[Tensor, "count *axes"]:
        """A mask over places, with an axis of size 1 for each axis of `like` that is not a place."""
        sizes = [mask.shape[0]] + [1] * (like.ndim - 1)
        for axis, n in zip(self.axes, self.shape, strict=True):
            sizes[axis] = n
        return mask.reshape(sizes)

    def places(self, values: Float[Tensor, "count *axes"]) -> Float[Tensor, "count *shape"]:
        """A map's values, one number a place: summed over channels, in float64."""
        others = [axis for axis in range(1, values.ndim) if axis not in self.axes]
        found = values.double().sum(others) if others else values.double()
        if tuple(found.shape[1:]) != self.shape:
            raise BadInput(
                f"A map shaped {tuple(values.shape)} does not cover the {self.kind}'s places {self.shape}.",
                f"The map must have the places of input {self.input!r}.",
            )
        return found

    def map_of(self, explanation: Explanation) -> Float[Tensor, "batch *shape"]:
        """The explanation's map of this input, one number a place; of slopes that have a sign, their size."""
        if self.input not in explanation.maps:
            shown = ", ".join(explanation.maps)
            raise BadInput(f"The explanation has no map for input {self.input!r}.", f"It has: {shown}.")
        values = explanation.maps[self.input].detach().cpu()
        return self.places(values.abs() if explanation.by_size else values)

    def cells(self, places: Float[Tensor, "count *shape"], side: int) -> Float[Tensor, "count cells"]:
        """Averages over at most `side` blocks along each axis, flattened."""
        blocks = [min(side, n) for n in self.shape]
        v = places.unsqueeze(1)
        if len(blocks) == 1:
            return functional.adaptive_avg_pool1d(v, blocks[0]).flatten(1)
        if len(blocks) == 2:
            return functional.adaptive_avg_pool2d(v, (blocks[0], blocks[1])).flatten(1)
        return functional.adaptive_avg_pool3d(v, (blocks[0], blocks[1], blocks[2])).flatten(1)


_KINDS: Mapping[int, tuple[Kind, tuple[int, ...]]] = {
    2: ("table", (1,)), 4: ("picture", (2, 3)), 5: ("volume", (2, 3, 4)),
}  # fmt: skip


def score_of(explanation: Explanation) -> Score:
    """What the explanation explained; raises `Missing` when it came from a file without its network."""
    if explanation.score is None:
        raise Missing("This explanation was loaded without its network, so nothing can be run.", "Explain once more.")
    return explanation.score


def layout_of(net: Network | None, x: Tensors) -> Layout:
    """The places of the input that a test masks: the first picture among the inputs, else the first input that fits.

    Floating tensors: [batch, columns] is a table; [batch, channels, height, width] a picture; one axis more a volume;
    three axes are a series, read as [batch, channels, time] when the network has an nn.Conv1d and as [batch, time,
    features] otherwise.  Embedded words [batch, words, width] are text.  Raises `BadInput` for others.
    """
    found = [layout for name, v in x.items() if (layout := _layout(net, name, v, f"{name}{IDS}" in x)) is not None]
    if not found:
        shapes = ", ".join(f"{name} {tuple(v.shape)}" for name, v in x.items())
        raise BadInput(f"No input has parts to compare: {shapes}.", "Pictures, series, text and tables have.")
    return next((layout for layout in found if layout.kind == "picture"), found[0])


def _layout(net: Network | None, name: str, v: Tensor, words: bool) -> Layout | None:
    if not v.is_floating_point():
        return None
    if words:
        return Layout("text", name, (1,), (v.shape[1],))
    if v.ndim == 3:
        axis = 2 if net is not None and any(isinstance(m, nn.Conv1d) for m in net.model.modules()) else 1
        return Layout("series", name, (axis,), (v.shape[axis],))
    if v.ndim not in _KINDS:
        return None
    kind, axes = _KINDS[v.ndim]
    return Layout(kind, name, axes, tuple(v.shape[axis] for axis in axes))
