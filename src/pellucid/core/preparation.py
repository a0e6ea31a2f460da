"""How a picture becomes a network's input: stated once, shown in every report, and reversible for display."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Preparation:
    """Resize the short side to `round(size / crop)`, cut the central square, then `(value - mean) / std`.

    When it is `squeezed`, the whole picture becomes a square of that size first, whatever its shape.
    Values are RGB in 0..1 before normalization; `mean` and `std` are in the same unit.  `bgr` networks
    (Caffe's heritage) want the channels turned round after normalization.  `source` says who states this.
    """

    size: int
    crop: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    interpolation: str = "bicubic"
    bgr: bool = False
    squeezed: bool = False
    source: str = "stated by the user"

    def unlike(self, x: Float[Tensor, "batch channels height width"]) -> str:
        """A sentence when values lie so far out that `x` cannot have been prepared like this; '' when they may have."""
        ends = [(v - m) / s for m, s in zip(self.mean, self.std, strict=True) for v in (0.0, 1.0)]
        low, high, margin = min(ends), max(ends), max(ends) - min(ends)
        least, most = float(x.min()), float(x.max())
        if least >= low - margin and most <= high + margin:
            return ""
        given = f"The input goes from {least:.3g} to {most:.3g}; prepared for this network it would be within"
        return f"{given} {low:.3g} to {high:.3g}. Use net.read(picture)."

    @property
    def channels(self) -> int:
        return len(self.mean)

    def normalize(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Values in 0..1 to what the network sees."""
        mean, std = (
            torch.tensor(v, dtype=image.dtype, device=image.device).view(1, -1, 1, 1) for v in (self.mean, self.std)
        )
        out = (image - mean) / std
        return out.flip(1) if self.bgr else out

    def restore(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """What the network sees, back to displayable values in 0..1."""
        x = x.flip(1) if self.bgr else x
        mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return (x * std + mean).clamp(0, 1)
