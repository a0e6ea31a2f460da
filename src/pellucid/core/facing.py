"""Maps that a framework keeps with channels last, shown with channels second, as everywhere else in Pellucid.

A module says which of its sites they are: `channels_last_sites`, a set of paths.  Whoever reads or changes a value
there sees `[batch, channels, height, width]`; the network goes on with its own order.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from pellucid.core.site import Site


def turned(model: nn.Module, path: str) -> bool:
    """Does the module at `path` put out maps whose channels come last?"""
    return path in getattr(model, "channels_last_sites", ())


def channels_second(v: Tensor) -> Tensor:
    """`[batch, ..., channels]` as `[batch, channels, ...]`, when it has places; a view.

    >>> import torch
    >>> channels_second(torch.zeros(1, 4, 5, 3)).shape, channels_second(torch.zeros(1, 3)).shape
    (torch.Size([1, 3, 4, 5]), torch.Size([1, 3]))
    """
    return v.movedim(-1, 1) if v.ndim > 3 else v


def channels_last(v: Tensor) -> Tensor:
    """The way back from `channels_second`."""
    return v.movedim(1, -1) if v.ndim > 3 else v


def shape_seen(shape: tuple[int, ...]) -> tuple[int, ...]:
    """What `channels_second` makes of a shape.

    >>> shape_seen((1, 4, 5, 3)), shape_seen((1, 3))
    ((1, 3, 4, 5), (1, 3))
    """
    return (shape[0], shape[-1], *shape[1:-1]) if len(shape) > 3 else shape


def axis_seen(axis: int, axes: int) -> int:
    """Where `channels_second` moves one of a value's `axes`.

    >>> [axis_seen(axis, 4) for axis in range(4)], axis_seen(1, 2)
    ([0, 2, 3, 1], 1)
    """
    if axes <= 3 or axis == 0:
        return axis
    return 1 if axis == axes - 1 else axis + 1


def facing(model: nn.Module, path: str, visit: Callable[[Site, Tensor], Tensor]) -> Callable[[Site, Tensor], Tensor]:
    """`visit` as it is, or where the module's channels come last, with the value turned on the way there and back."""
    if not turned(model, path):
        return visit
    return lambda site, value: channels_last(visit(site, channels_second(value)))
