"""Read a picture as a network's input, and keep what was said on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.facing import fits, shape_in_words
from pellucid.core.misfit import how_to_fit
from pellucid.core.network import Network
from pellucid.core.tensors import by_name
from pellucid.doors.files import refuse_absent
from pellucid.doors.pictures.image import is_address, to_picture
from pellucid.doors.pictures.picture import Picture
from pellucid.doors.pictures.prepare import cut_note, prepare


@dataclass(frozen=True, slots=True)
class Reading:
    """A picture as the network sees it (`x`), the picture as it was, and every note made on the way."""

    x: Float[Tensor, "1 channels height width"]
    picture: Picture
    notes: tuple[str, ...]


def reading(
    network: Network,
    source: Any,
    *,
    frame: int | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    window: tuple[float, float] | None = None,
) -> Reading:
    """A picture (file, bytes, PIL image, array, tensor, `Picture`) prepared for this network, with the notes.

    Raises `BadInput` when the network states no preparation, and what `pellucid.doors.pictures.image.decode` raises.
    """
    if isinstance(source, str | Path) and not is_address(source):
        refuse_absent(Path(source))
    refuse_other_sizes(network)
    if network.preparation is None:
        channels, size = _asked(network)
        raise BadInput(
            f"{network.name} does not say how pictures are prepared for it, and guessing would give wrong answers.",
            *how_to_fit((channels, size, size)),
        )
    picture = to_picture(source, frame=frame, background=background, window=window)
    x = prepare(picture.rgb, network.preparation)
    cut = cut_note(picture.rgb.shape[1], picture.rgb.shape[2], network.preparation)
    return Reading(x, picture, (*picture.notes, cut) if cut else picture.notes)


def refuse_alone(network: Network, source: Any) -> None:
    """Raise, before it is asked how pictures are prepared, where a picture alone cannot be what the network takes.

    That is `Missing` for a file that is not there, and `BadInput` for a network of several inputs.
    """
    if isinstance(source, str | Path) and not is_address(source):
        refuse_absent(Path(source))
    _refuse_several(network)


def _refuse_several(network: Network) -> None:
    takes = signature(network.model.forward).parameters
    needed = [name for name in network.inputs if name not in takes or takes[name].default is Parameter.empty]
    if len(needed) > 1:
        what = f"{network.name} takes {len(needed)} inputs, and a picture is one."
        raise BadInput(what, *by_name(needed, getattr(network.model, "fixed_axes", {})))


def refuse_other_sizes(network: Network) -> None:
    """Raise `BadInput` where the network's file states inputs that are no pictures, or none as they are prepared."""
    stated: Mapping[str, tuple[int | None, ...]] = getattr(network.model, "fixed_axes", {})
    p, inputs = network.preparation, network.inputs
    if p is None:
        _refuse_several(network)
    if len(stated) != 1 or len(inputs) != 1:
        return
    ((name, (_, *wanted)),) = ((k, v or (None,)) for k, v in stated.items())
    if wanted and len(wanted) != 3:
        what = f"{network.name} takes {name!r} {shape_in_words(wanted)}, which is no picture."
        raise BadInput(what, *how_to_fit(wanted))
    given = (p.channels, p.size, p.size) if p is not None else ()
    if p is not None and wanted and not fits(given, wanted):
        raise BadInput(
            f"{network.name} takes pictures of {shape_in_words(wanted)}; they are prepared as {shape_in_words(given)}.",
            *how_to_fit(wanted, p),
        )


def _asked(network: Network) -> tuple[int, int]:
    """How many channels and pixels a side the network's file says a picture has; what is usual where it says none."""
    stated: Any = getattr(network.model, "takes", None)
    shapes = [tuple(shape) for shape, _ in stated.values()] if isinstance(stated, Mapping) else []
    pictures = [s for s in shapes if len(s) == 4 and s[1] in (1, 3) and s[2] == s[3]]
    return (pictures[0][1], pictures[0][2]) if len(pictures) == 1 else (3, 224)


def read(network: Network, source: Any) -> Float[Tensor, "1 channels height width"]:
    """What `Network.read` calls: the prepared picture alone, `[1, channels, size, size]`.

    >>> from pellucid.core.preparation import Preparation
    >>> net = Network(__import__("torch").nn.Flatten(), preparation=Preparation(size=4))
    >>> read(net, b"P5 2 2 255 " + bytes([0, 255, 0, 255])).shape
    torch.Size([1, 3, 4, 4])
    """
    return reading(network, source).x
