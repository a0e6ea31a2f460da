"""Maps that a framework keeps with channels last, shown with channels second, as everywhere else in Pellucid.

A module says which of its sites they are: `channels_last_sites`, a set of paths.  Whoever reads or changes a value
there sees `[batch, channels, height, width]`; the network goes on with its own order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from pellucid.core.errors import BadInput
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


def refuse_unturned(name: str, found: Sequence[int], wanted: Sequence[int | None], samples: int) -> None:
    """Raise `BadInput` for a picture whose channels come last where they are wanted before height and width.

    Both are shapes of one sample, `wanted` with None for an axis of any size.
    """
    turned = (found[-1], *found[:-1])
    if len(found) < 3 or not fits(turned, wanted) or fits(found, wanted):
        return
    size = "x".join(map(str, (samples, *turned)))
    axes = ", ".join(map(str, (0, len(found), *range(1, len(found)))))
    raise BadInput(
        f"Input {name!r} is {shape_in_words(found)}; this network takes {shape_in_words(wanted)}, channels before "
        f"{'height and width' if len(found) == 3 else 'space'}.",
        f"Give x.permute({axes}).",
        f"Write it as --shape {name}={size}.",
    )


def fits(found: Sequence[int], wanted: Sequence[int | None]) -> bool:
    """Is a shape one of those, with None for an axis of any size?"""
    return len(found) == len(wanted) and all(w in (None, n) for n, w in zip(found, wanted, strict=True))


def shape_in_words(shape: Sequence[int | None]) -> str:
    """The shape of one sample as that of a batch.

    >>> shape_in_words((3, None, 8))
    '[batch, 3, any, 8]'
    """
    return "[" + ", ".join(["batch", *("any" if n is None else str(n) for n in shape)]) + "]"


def facing(model: nn.Module, path: str, visit: Callable[[Site, Tensor], Tensor]) -> Callable[[Site, Tensor], Tensor]:
    """`visit` as it is, or where the module's channels come last, with the value turned on the way there and back."""
    if not turned(model, path):
        return visit
    return lambda site, value: channels_last(visit(site, channels_second(value)))
