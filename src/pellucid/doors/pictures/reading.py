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
from pellucid.core.network import Network
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
    if network.preparation is None:
        channels, size = _asked(network)
        mean: tuple[float, ...] = (0.485, 0.456, 0.406) if channels == 3 else (0.5,)
        std: tuple[float, ...] = (0.229, 0.224, 0.225) if channels == 3 else (0.5,)
        line = f"size={size},mean={'/'.join(map(str, mean))},std={'/'.join(map(str, std))}"
        raise BadInput(
            f"{network.name} does not say how pictures are prepared for it, and guessing would give wrong answers.",
            f"Say it: pl.open(model, preparation=pl.Preparation(size={size}, mean={mean}, std={std})), with the "
            f"numbers it was trained with; on the command line, --preparation {line}.",
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
    needed = _needed(network)
    if len(needed) > 1:
        shapes = ",".join(f"{name}=..." for name in needed)
        raise BadInput(
            f"{network.name} takes {len(needed)} inputs: {', '.join(needed)}; a picture alone is none or one of them.",
            f"Give all of them by name, in Python, or for a map their shapes: --shape {shapes}.",
        )


def _needed(network: Network) -> list[str]:
    """The inputs that the network cannot do without."""
    takes = signature(network.model.forward).parameters
    return [name for name in network.inputs if name not in takes or takes[name].default is Parameter.empty]


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
