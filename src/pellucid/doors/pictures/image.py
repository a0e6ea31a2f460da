"""Open a picture that nobody has vouched for: a file, bytes, a PIL image, an array or a tensor.

The result is always RGB in 0..1, and every conversion on the way is said in a note.  Formats are recognized by
content, limits are checked before anything is decoded, and metadata never travels with the pixels.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption, PellucidError
from pellucid.doors.files import BYTE_LIMIT, file_bytes, printable
from pellucid.doors.pictures.picture import Picture, channels_last, from_array
from pellucid.doors.pictures.pixels import Rules, sentences, to_rgb, turn_note, upright
from pellucid.doors.pictures.prepare import prepare
from pellucid.doors.sniff import Kind, sniff

__all__ = ["Picture", "decode", "prepare", "to_picture"]

PIXEL_LIMIT = 64_000_000
_COUNTED = 4 << 20  # bytes of an animation whose frames are counted
_ORIENTATION = 0x0112  # the EXIF tag
_BITS_PER_SAMPLE = 258  # the TIFF tag
_ONE_DECODER = threading.RLock()  # Pillow's strictness and Python's warning filters are global


def decode(
    source: str | Path | bytes,
    *,
    frame: int | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    window: tuple[float, float] | None = None,
) -> Picture:
    """Decode a picture file (PNG, JPEG, GIF, WebP, BMP, TIFF, PPM) into RGB values in 0..1.

    `frame` chooses one of an animation's frames or a TIFF's pages (from 0), `background` is the color (0..255) shown
    behind transparent parts, `window` the grey values that mean black and white.  Grey of 16 bits is scaled by its
    declared range 0..65535 unless a window is given; ICC profiles and the EXIF orientation are applied.

    Raises `Missing` when there is no such file and `BadInput` when it is no whole picture, is larger than 64 megapixels
    or 512 MiB, needs a `frame` or a `window`, or holds NaN.

    >>> picture = decode(b"P6 2 1 255 " + bytes([255, 0, 0, 0, 0, 255]))
    >>> picture.rgb[:, 0, 0].tolist(), picture.format, picture.notes
    ([1.0, 0.0, 0.0], 'PPM', ())
    """
    rules = Rules(background, window)
    name, data = _bytes_of(source)
    if not data:
        raise BadInput(f"{name} is empty (0 bytes).", "Copy or download it again.")
    kind = sniff(data[:4096])
    if not kind.decoder:
        raise BadInput(f"{name} is not a picture that can be opened: it is {kind.name}.", kind.advice, kind.typed)
    notes = _note_extension(source, kind)
    try:
        with _strict() as heard:
            image = _open(data, kind, name)
            rgb, more = _decoded(image, frame, rules, name, len(data))
    except PellucidError:
        raise
    except Image.DecompressionBombError:
        raise BadInput(f"{name} has more than {PIXEL_LIMIT / 1e6:.0f} megapixels.", "Make it smaller first.") from None
    except Exception as error:  # a decoder given damaged bytes raises whatever comes first
        raise BadInput(f"{name} begins like {kind.name} but is damaged or cut short.", _NEXT) from error
    notes += more + sentences(heard)
    return Picture(rgb, tuple(notes), hashlib.sha256(data).hexdigest(), kind.decoder)


_NEXT = "Copy or download it again, or save it anew with an image editor."


def to_picture(
    source: Any,
    *,
    frame: int | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    window: tuple[float, float] | None = None,
) -> Picture:
    """A picture from anything that holds one: a `Picture`, a file or its bytes, a PIL image, an array or a tensor.

    Arrays are `[height, width]` or `[height, width, 1, 3 or 4]`, tensors `[channels, height, width]`; whole numbers
    of 8 or 16 bits, or floats in 0..1.  Raises what `decode` raises, and `BadInput` for another shape or range.

    >>> import numpy as np
    >>> to_picture(np.full((2, 5, 3), 51, dtype=np.uint8)).rgb.shape
    torch.Size([3, 2, 5])
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, str | Path | bytes):
        return decode(source, frame=frame, background=background, window=window)
    if frame is not None:
        raise BadOption(f"frame={frame}: only files have frames to choose from.", "Leave frame out.")
    rules = Rules(background, window)
    if isinstance(source, Image.Image):
        return _from_pil(source, rules)
    if isinstance(source, Tensor):
        return from_array(channels_last(source), rules, "The tensor", "tensor")
    if isinstance(source, np.ndarray):
        return from_array(source, rules, "The array", "array")
    raise BadInput(
        f"A picture cannot be read from {type(source).__name__}.",
        "Give a file name, its bytes, a PIL image, an array [height, width, 3] or a tensor [3, height, width].",
    )


def is_address(source: str | Path) -> bool:
    """Is it an address of the network, and no file's name?

    >>> is_address("https://example.org/cat.jpg"), is_address("cat.jpg")
    (True, False)
    """
    return isinstance(source, str) and source.startswith(("http://", "https://", "ftp://", "data:", "file://"))


def _bytes_of(source: str | Path | bytes) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        if len(source) > BYTE_LIMIT:
            raise BadInput(
                f"The picture has {len(source) >> 20} MiB; the limit is {BYTE_LIMIT >> 20} MiB.", "Make it smaller."
            )
        return "The picture", source
    if is_address(source):
        raise BadInput(
            f"{printable(str(source))} is an address; Pellucid fetches nothing.", "Download it and give the file name."
        )
    path = Path(source)
    return printable(path.name or str(path)), file_bytes(path)


def _note_extension(source: str | Path | bytes, kind: Kind) -> list[str]:
    if isinstance(source, bytes):
        return []
    suffix = Path(source).suffix.lower()
    if not suffix or suffix in kind.extensions:
        return []
    return [f"The file is named {printable(suffix)} but holds {kind.name}; it was read by its content."]


@contextmanager
def _strict() -> Iterator[list[str]]:
    """Pillow without leniency: damaged files raise whatever LOAD_TRUNCATED_IMAGES says; warnings are kept."""
    heard: list[str] = []
    with _ONE_DECODER, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            yield heard
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = lenient
            heard += [str(w.message) for w in caught if w.category is not Image.DecompressionBombWarning]


def _open(data: bytes, kind: Kind, name: str) -> ImageFile.ImageFile:
    """Read the header only, with the one decoder that fits the content, and check what it promises."""
    image = Image.open(io.BytesIO(data), formats=[kind.decoder])
    _check_size(image, name)
    return image


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > PIXEL_LIMIT:
        size = f"{width} x {height} = {width * height / 1e6:.0f}"
        raise BadInput(f"{name} has {size} megapixels; the limit is {PIXEL_LIMIT / 1e6:.0f}.", "Make it smaller first.")
    if width < 1 or height < 1:
        raise BadInput(f"{name} is {width} x {height} pixels: there is nothing to see.", "Check how it was saved.")


def _decoded(
    image: ImageFile.ImageFile, frame: int | None, rules: Rules, name: str, size: int
) -> tuple[Tensor, list[str]]:
    notes = _choose_frame(image, frame, name, size)
    bits = _declared_bits(image)
    _check_size(image, name)  # a frame may be larger than the first one
    turned = image.getexif().get(_ORIENTATION) if image.format == "TIFF" else None
    image.load()  # turns a TIFF upright by itself, and forgets that it did
    rgb, more = to_rgb(image, rules, name, bits)
    notes += more + turn_note(turned)
    return upright(rgb, image.getexif().get(_ORIENTATION), notes), notes


def _choose_frame(image: ImageFile.ImageFile, frame: Any, name: str, size: int) -> list[str]:
    if frame is not None and (not isinstance(frame, int) or isinstance(frame, bool)):
        raise BadOption(f"frame={frame!r}: expected a whole number.", "Frames count from 0.")
    if image.format == "MPO" and frame is None:
        return [f"The file holds {getattr(image, 'n_frames', 2)} pictures (MPO); the first, its main one, was read."]
    many = bool(getattr(image, "is_animated", False))
    if many and size > _COUNTED:  # counting means walking through them all
        return _far_frame(image, frame, name)
    count = int(getattr(image, "n_frames", 1)) if many else 1
    if frame is None and count == 1:
        return []
    parts = "pages" if image.format == "TIFF" else "frames"
    if frame is None:
        python, typed = (f"Say which one: {flag}0 to {flag}{count - 1}." for flag in ("frame=", "--frame "))
        raise BadInput(f"{name} has {count} {parts}.", python, typed)
    if not 0 <= frame < count:
        raise BadInput(f"{name} has no frame {frame}: it has {count} (0 to {count - 1}).", "Frames count from 0.")
    image.seek(frame)
    return [f"Frame {frame} of {count} was read."] if count > 1 else []


def _far_frame(image: ImageFile.ImageFile, frame: int | None, name: str) -> list[str]:
    if frame is None:
        python, typed = (f"Say which one: {flag}0 is the first." for flag in ("frame=", "--frame "))
        raise BadInput(f"{name} has several frames.", python, typed)
    try:
        image.seek(frame)
    except (EOFError, ValueError):
        raise BadInput(f"{name} has no frame {frame}.", "Frames count from 0.") from None
    return [f"Frame {frame} of several was read."]


def _declared_bits(image: ImageFile.ImageFile) -> int:
    """The bits a channel that the file declares, where the decoder's mode does not say so (16-bit color), else 0."""
    if image.format == "TIFF":
        declared = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 0)
        return int(max(declared)) if isinstance(declared, tuple) else int(declared)
    if not image.tile:
        return 0
    arguments = image.tile[0].args
    raw = arguments if isinstance(arguments, tuple) else (arguments,)
    if image.format == "PPM" and len(raw) == 2 and isinstance(raw[1], int):
        return 16 if raw[1] > 255 else 0
    return 16 if ";16" in str(raw[0]) else 0


def _from_pil(image: Image.Image, rules: Rules) -> Picture:
    _check_size(image, "The image")
    count, at = int(getattr(image, "n_frames", 1)), image.tell()
    try:
        with _strict() as heard:
            image.load()
            orientation = image.getexif().get(_ORIENTATION)
            rgb, notes = to_rgb(image, rules, "The image")
    except PellucidError:
        raise
    except Exception as error:  # the file behind the image may be damaged
        raise BadInput("The PIL image cannot be decoded: its file is damaged or closed.", _NEXT) from error
    if count > 1:
        notes.append(f"Frame {at} of {count} was read, where the image stands.")
    rgb = upright(rgb, orientation, notes)
    digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes())
    return Picture(rgb, tuple(notes + sentences(heard)), digest.hexdigest(), image.format or "PIL")
