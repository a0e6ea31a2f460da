"""From a decoder's pixels to RGB values in 0..1, by declared rules.  Whatever is changed is said in a sentence."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption

Rgb: TypeAlias = tuple[int, ...]  # three of them
Window: TypeAlias = tuple[float, ...]  # two: what is black, what is white

PROFILE_LIMIT = 4 << 20  # bytes; printers' profiles take 2 MB, a longer one is no profile
COLOR_MODES = ("RGB", "RGBA", "RGBX", "P", "PA", "LA", "La", "RGBa", "L", "1", "CMYK", "YCbCr")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the reader of a picture chose: the color behind transparent parts, and the grey values that mean 0 and 1."""

    background: Rgb = (255, 255, 255)
    window: Window | None = None

    def __post_init__(self) -> None:
        if len(self.background) != 3 or not all(0 <= v <= 255 for v in self.background):
            raise BadOption(
                f"background={self.background}: expected three values from 0 to 255.", "White is 255 255 255."
            )
        if self.window is None:
            return
        if len(self.window) != 2 or not all(map(math.isfinite, self.window)) or not self.window[0] < self.window[1]:
            raise BadOption(
                f"window={self.window}: expected (low, high) with low < high.", "low is black, high is white."
            )


def to_rgb(
    image: Image.Image, rules: Rules, name: str, bits: int = 0
) -> tuple[Float[Tensor, "3 height width"], list[str]]:
    """RGB in 0..1 and a note for each conversion.  `bits` is the depth that the file declares, 0 for the mode's own."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey, transparent, notes = _deep_grey(image, rules, name, bits)
        if transparent is None:
            return grey.expand(3, -1, -1).clone(), notes
        return over(grey.expand(3, -1, -1), 1.0 - transparent, rules.background, notes), notes
    if image.mode not in COLOR_MODES:
        raise BadInput(f"{name} holds {image.mode} colors, which have no declared way to RGB.", "Save it as RGB first.")
    if rules.window is not None:
        return _windowed(image, rules, name)
    color, alpha, notes = _color(image, bits)
    rgb = torch.from_numpy(np.array(color)).permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)
    rgb = rgb.div_(255.0)
    if alpha is None:
        return rgb, notes
    return over(rgb, torch.from_numpy(np.array(alpha)).float()[None].div_(255.0), rules.background, notes), notes


def _windowed(image: Image.Image, rules: Rules, name: str) -> tuple[Tensor, list[str]]:
    """An 8-bit grey picture with the window that its reader chose."""
    if image.mode not in ("L", "1", "LA"):
        raise BadInput(f"{name} is not a plain grey picture, and a window applies to grey values.", "Leave window out.")
    notes = ["Its grey values stand for red, green and blue alike."]
    values = np.array(image.getchannel("L") if image.mode == "LA" else image.convert("L"))
    rgb = torch.from_numpy(scaled_grey(values, rules.window, None, name, notes)).expand(3, -1, -1).clone()
    if image.mode != "LA" and "transparency" not in image.info:
        return rgb, notes
    alpha = torch.from_numpy(np.array(image.convert("RGBA").getchannel("A"))).float()[None].div_(255.0)
    return over(rgb, alpha, rules.background, notes), notes


def over(rgb: Tensor, alpha: Tensor, background: Rgb, notes: list[str]) -> Tensor:
    """Alpha compositing over one color: `rgb * alpha + background * (1 - alpha)` (Porter and Duff, 1984)."""
    if bool((alpha == 1).all()):
        notes.append("Its alpha channel is opaque everywhere and was dropped.")
        return rgb.contiguous()
    share = float((alpha < 1).double().mean())
    notes.append(f"Transparent parts ({share:.1%} of the picture) are shown on the background {background}.")
    behind = torch.tensor(background, dtype=torch.float32).view(3, 1, 1) / 255.0
    return rgb * alpha + behind * (1.0 - alpha)


def _color(image: Image.Image, bits: int) -> tuple[Image.Image, Image.Image | None, list[str]]:
    """An 8-bit picture as an RGB image, its alpha channel if it has one, and the notes."""
    notes = [f"Its {bits}-bit colors were read with 8 bits."] if bits > 8 else []
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK":
        return _cmyk(image, profile, notes), None, notes
    if image.mode in ("1", "L", "LA", "La"):
        notes.append("Its grey values stand for red, green and blue alike.")
    elif image.mode in ("P", "PA"):
        notes.append("Its palette was looked up.")
    elif image.mode == "YCbCr":
        notes.append("YCbCr colors were converted to RGB (ITU-R 601).")
    alpha = None
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if profile and not (alpha is None and image.mode in ("1", "L")):
        converted = _through_profile(image.convert("RGB"), profile, notes)
    elif profile:
        converted = _through_profile(image.convert("L"), profile, notes)
    else:
        _note_gamma(image, notes)
        converted = image
    return converted.convert("RGB"), alpha, notes


def _note_gamma(image: Image.Image, notes: list[str]) -> None:
    gamma = image.info.get("gamma")
    if isinstance(gamma, float) and "srgb" not in image.info and abs(gamma - 1 / 2.2) > 0.005:
        notes.append(f"The file states a gamma of {gamma:.3f}; it was ignored and the values taken as sRGB.")


def _cmyk(image: Image.Image, profile: Any, notes: list[str]) -> Image.Image:
    if image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        notes.append("No Adobe marker says how its inks are stored; they were read inverted, as Adobe writes them.")
    if profile:
        converted = _through_profile(image, profile, notes)
        if converted.mode == "RGB":
            return converted
    notes.append("CMYK inks were converted plainly, (1 - ink) * (1 - black): the colors are approximate.")
    return image.convert("RGB")


def _through_profile(image: Image.Image, profile: Any, notes: list[str]) -> Image.Image:
    """The image in sRGB by its own ICC profile; the image as it was, with a note, where the profile is unusable."""
    if not isinstance(profile, bytes) or len(profile) > PROFILE_LIMIT:
        notes.append("Its color profile is too large to be one and was not applied.")
        return image
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        described = " ".join(ImageCms.getProfileDescription(embedded).split())[:60]
        described = "".join(c for c in described if c.isprintable())
        if described.startswith("sRGB"):
            return image
        converted = ImageCms.profileToProfile(image, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("Its color profile cannot be used and was ignored; the values were taken as sRGB.")
        return image
    notes.append(f"Colors were converted from the embedded profile ({described or 'unnamed'}) to sRGB.")
    return converted if converted is not None else image


def _deep_grey(
    image: Image.Image, rules: Rules, name: str, bits: int
) -> tuple[Float[Tensor, "1 height width"], Tensor | None, list[str]]:
    """Grey values of 16 or 32 bits or floats in 0..1, which of them are transparent, and the notes."""
    values = np.array(image)
    if "icc_profile" in image.info:
        notes = ["Its color profile was not applied: grey values of this depth are read as they are."]
    else:
        notes = []
    notes.append("Its grey values stand for red, green and blue alike.")
    key = image.info.get("transparency")
    transparent = torch.from_numpy(values == key).float()[None] if isinstance(key, int) else None
    white_is_zero = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(262) == 0
    declared = (1 << (bits or 16)) - 1.0 if image.mode.startswith("I;16") or _plain_16_bit(image) else None
    grey = scaled_grey(values, rules.window, declared, name, notes)
    if white_is_zero:
        notes.append("The file says that zero is white; the values were turned round.")
        grey = 1.0 - grey
    return torch.from_numpy(grey)[None], transparent, notes


def _plain_16_bit(image: Image.Image) -> bool:
    return image.format == "PPM" and image.mode == "I"  # the decoder scales a PGM's declared maximum to 65535


def scaled_grey(
    values: NDArray[Any], window: Window | None, declared: float | None, name: str, notes: list[str]
) -> NDArray[np.float32]:
    """Grey values in 0..1 by the window given, else by the largest value that the format declares.

    Raises `BadInput` for NaN, and for numbers that declare no range unless floats already lie in 0..1.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise BadInput(f"{count} values of {name} are NaN or infinite.", "Replace them before opening it.")
    low, high = float(values.min()), float(values.max())
    if window is None and declared is None and values.dtype.kind == "f" and low >= 0 and high <= 1:
        notes.append("Its floating-point values lie in 0..1 and were taken as they are.")
        return values.astype(np.float32)
    if window is None and declared is None:
        kind = "floating-point" if values.dtype.kind == "f" else "whole"
        raise BadInput(
            f"{name} holds {kind} numbers from {low:g} to {high:g} and declares no range.",
            f"Say which values are black and white: window=({low:g}, {high:g}).",
            f"Say which values are black and white: --window {low:g},{high:g}.",
        )
    black, white = window or (0.0, declared or 1.0)
    if window is None:
        notes.append(f"Grey values were scaled from the declared range 0 to {white:g}.")
        if high < 0.25 * white and low < high:
            notes.append(
                f"They only reach {high:g}, so the picture is dark; window=({low:g}, {high:g}) would stretch it "
                f"(--window {low:g},{high:g})."
            )
    else:
        outside = float(((values < black) | (values > white)).mean())
        clipped = f"; {outside:.1%} of them lie outside and were clipped" if outside else ""
        notes.append(
            f"Grey values from {black:g} to {white:g} were stretched over black to white (the window given){clipped}."
        )
    return np.clip((values.astype(np.float64) - black) / (white - black), 0, 1).astype(np.float32)


_TURNS: dict[int, tuple[str, Callable[[Tensor], Tensor]]] = {
    2: ("mirrored", lambda t: t.flip(2)),
    3: ("turned by 180 degrees", lambda t: t.rot90(2, (1, 2))),
    4: ("flipped upside down", lambda t: t.flip(1)),
    5: ("transposed", lambda t: t.transpose(1, 2)),
    6: ("turned by 90 degrees clockwise", lambda t: t.rot90(-1, (1, 2))),
    7: ("transposed over the other diagonal", lambda t: t.transpose(1, 2).rot90(2, (1, 2))),
    8: ("turned by 90 degrees counterclockwise", lambda t: t.rot90(1, (1, 2))),
}


def upright(rgb: Float[Tensor, "3 _ _"], orientation: object, notes: list[str]) -> Float[Tensor, "3 height width"]:
    """The picture as the camera was held: the EXIF orientation (1 to 8) applied, with a note."""
    notes += turn_note(orientation)
    return _TURNS[orientation][1](rgb).contiguous() if isinstance(orientation, int) and orientation in _TURNS else rgb


def turn_note(orientation: object) -> list[str]:
    """What the EXIF orientation asks for, in a sentence."""
    how = _TURNS[orientation][0] if isinstance(orientation, int) and orientation in _TURNS else ""
    return [f"The picture was {how}, as its EXIF orientation says."] if how else []


def sentences(messages: Sequence[str]) -> list[str]:
    """A decoder's own warnings as notes: printable characters of the first line, each once."""
    lines = ("".join(c for c in m.splitlines()[0][:160] if c.isprintable()) for m in messages if m.strip())
    return list(dict.fromkeys(f"The decoder says: {line.strip().rstrip('.')}." for line in lines))
