"""From a picture to a network's input, exactly as the network's preparation states."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption
from pellucid.core.preparation import Preparation

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
}
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def prepare(
    picture: Float[Tensor, "3 height width"], preparation: Preparation
) -> Float[Tensor, "1 channels size size"]:
    """Resize the short side to `round(size / crop)`, cut the central square, normalize.

    Values in and before normalization lie in 0..1.  Resizing is Pillow's, which averages over all pixels that shrink
    into one (antialiased), in 32-bit floats; overshoot is clipped.  A network of one channel gets the ITU-R 601 luma.
    Raises `BadOption` for a preparation that cannot be carried out and `BadInput` for another shape.

    >>> prepare(torch.full((3, 40, 60), 0.5), Preparation(size=32, crop=0.875, mean=(0.5,) * 3)).abs().max().item()
    0.0
    """
    check(preparation)
    if picture.ndim != 3 or picture.shape[0] != 3 or 0 in picture.shape:
        raise BadInput(f"The picture has shape {tuple(picture.shape)}.", "A picture is RGB: [3, height, width].")
    if preparation.channels == 1:
        picture = (picture * torch.tensor(_LUMA).view(3, 1, 1)).sum(0, keepdim=True)
    size, box = preparation.size, central_box(picture.shape[1], picture.shape[2], preparation)
    resample = _FILTERS[preparation.interpolation]
    planes = [
        np.asarray(Image.fromarray(plane.contiguous().numpy()).resize((size, size), resample, box=box))
        for plane in picture.float().cpu()
    ]
    x: Tensor = torch.from_numpy(np.stack(planes)).clamp_(0, 1)[None]
    return preparation.normalize(x)


def central_box(height: int, width: int, preparation: Preparation) -> tuple[float, float, float, float]:
    """The part of the picture that the network sees: left, top, right, bottom in the picture's own pixels.

    Resizing this box alone gives the same values as resizing everything and cutting the square out, without ever
    holding the resized picture: that of 1 x 100 000 pixels would have six billion.
    """
    size, short = preparation.size, round(preparation.size / preparation.crop)
    if preparation.squeezed:
        left, top = (side * round((short - size) / 2) / short for side in (width, height))
        return left, top, left + width * size / short, top + height * size / short
    new_height, new_width = (short, short * width // height) if height <= width else (short * height // width, short)
    top, left = round((new_height - size) / 2), round((new_width - size) / 2)
    down, across = height / new_height, width / new_width
    return left * across, top * down, min((left + size) * across, width), min((top + size) * down, height)


def cut_note(height: int, width: int, preparation: Preparation) -> str:
    """A sentence when more than half of a picture is cut off because of its shape, else ""."""
    left, top, right, bottom = central_box(height, width, preparation)
    lost = 1 - (right - left) * (bottom - top) / (height * width)
    if lost <= 0.5 or max(height, width) < 2 * min(height, width):
        return ""
    return (
        f"The picture is {width} x {height}: cutting the central square leaves out {lost:.0%} of it. "
        "Crop it to what matters first."
    )


def check(preparation: Preparation) -> None:
    """Raise `BadOption` for a preparation that cannot be carried out."""
    p = preparation
    if p.size < 1:
        raise BadOption(f"size={p.size}: expected 1 or more.", "Give the side of the network's input: size=224.")
    if not 0 < p.crop <= 1:
        raise BadOption(f"crop={p.crop}: expected more than 0, at most 1.", "Try crop=0.875.")
    if p.interpolation not in _FILTERS:
        raise BadOption(f"interpolation={p.interpolation!r}.", f"Expected one of {', '.join(_FILTERS)}.")
    if p.channels not in (1, 3) or len(p.std) != p.channels or not all(p.std):
        raise BadOption(
            f"mean has {len(p.mean)} values and std {len(p.std)}: expected 3 (or 1 for grey) each, std not zero.",
            "ImageNet's usual ones are mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225).",
        )
