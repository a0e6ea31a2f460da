"""Odd and bad picture files, made here byte by byte, each with what a person should be told about it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageCms


@dataclass(frozen=True, slots=True)
class Case:
    """A file: its name, its bytes, whether it is `read` or `refused`, and a part of the sentence that says so."""

    name: str
    data: bytes
    kind: str
    says: str
    options: dict[str, Any] = field(default_factory=dict)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    """The image as a file's bytes."""
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def photo(width: int = 48, height: int = 32) -> Image.Image:
    """An asymmetric color picture: a different ramp in each channel."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([255 * x / max(1, width - 1), 255 * y / max(1, height - 1), 40 + (x * 3 + y * 5) % 120], 2)
    return Image.fromarray(rgb.astype(np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color: int, raw: bytes, *extra: bytes) -> bytes:
    """A PNG from raw scan lines (each begins with its filter byte)."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def webp_header(side: int) -> bytes:
    """An animated WebP that promises side x side pixels and holds none."""
    extent = (side - 1).to_bytes(3, "little") * 2
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + extent
    lossless = b"VP8L" + struct.pack("<I", 5) + b"\x2f" + ((side - 1) | (side - 1) << 14).to_bytes(4, "little") + b"\0"
    frame = bytes(6) + extent + bytes(4) + lossless
    body = (
        b"WEBP" + canvas + b"ANIM" + struct.pack("<I", 6) + bytes(6) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(array: np.ndarray[Any, Any], **tags: int) -> bytes:
    """A single-strip grey TIFF of any number type, little-endian, tags by name."""
    kinds = {"u": 1, "i": 2, "f": 3}
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    entries = {256: array.shape[1], 257: array.shape[0], 258: array.dtype.itemsize * 8, 259: 1, 262: 1}
    entries |= {273: 8, 277: 1, 278: array.shape[0], 279: len(raw), 339: kinds[array.dtype.kind]}
    entries |= {int(key[1:]): value for key, value in tags.items()}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\x00" + struct.pack("<I", 8 + len(raw)) + raw + struct.pack("<H", len(entries)) + table + bytes(4)


def frames(count: int = 3) -> list[Image.Image]:
    """Frames of one color each."""
    return [Image.new("RGB", (8, 6), (60 * i + 30, 0, 0)) for i in range(count)]


def exif(orientation: int) -> Image.Exif:
    """EXIF data with an orientation, a place and a maker's name that must not travel."""
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010F] = "SECRET-CAMERA"
    return data


def refused() -> Iterator[Case]:
    """Files that hold no picture that can be shown without guessing."""
    whole = saved(photo(), "PNG")
    jpeg = saved(photo(), "JPEG")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    yield Case("empty.png", b"", "refused", "is empty (0 bytes)")
    yield Case("page.png", b"<!DOCTYPE html>\n<html><body>404</body></html>", "refused", "a web page (HTML)")
    yield Case("words.jpg", b"not found\n", "refused", "a text file")
    yield Case("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\n", "refused", "git lfs pull")
    yield Case("noise.png", bytes(range(1, 9)) * 8, "refused", "does not know")
    yield Case("drawing.svg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "refused", "an SVG")
    yield Case("drawing.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "refused", "a PostScript (EPS) drawing")
    yield Case("page.pdf", b"%PDF-1.7\n%", "refused", "a PDF document")
    yield Case("phone.jpg", b"\x00\x00\x00\x18ftypheic" + bytes(32), "refused", "a HEIC picture")
    yield Case("scan.png", bytes(128) + b"DICM" + bytes(64), "refused", "a DICOM image")
    yield Case("bag.png", b"PK\x03\x04" + bytes(40), "refused", "a ZIP archive")
    yield Case("array.png", b"\x93NUMPY\x01\x00", "refused", "numpy.load")
    yield Case("icon.ico", b"\x00\x00\x01\x00\x01\x00" + bytes(40), "refused", "a Windows icon")
    yield Case("cut.png", saved(noise, "PNG")[:900], "refused", "damaged or cut short")
    yield Case("cut.jpg", saved(noise, "JPEG")[:900], "refused", "damaged or cut short")
    yield Case("cut.webp", saved(noise, "WEBP")[:900], "refused", "damaged or cut short")
    yield Case("cut.bmp", saved(noise, "BMP")[:900], "refused", "damaged or cut short")
    yield Case("cut.tif", saved(noise, "TIFF")[:900], "refused", "damaged or cut short")
    yield Case("cut.ppm", saved(noise, "PPM")[:900], "refused", "damaged or cut short")
    yield Case("signature.png", whole[:8], "refused", "damaged or cut short")
    yield Case("crc.png", whole[:20] + b"\xff" + whole[21:], "refused", "damaged or cut short")
    yield Case("header.jpg", jpeg[:4], "refused", "damaged or cut short")
    yield Case("zero.ppm", b"P6 0 4 255 ", "refused", "")
    yield Case("bomb1.png", png(9000, 9000, 1, 0, bytes(9000 * 1126)), "refused", "9000 x 9000 = 81 megapixels")
    yield Case("bomb2.png", png(13000, 13000, 1, 0, b""), "refused", "megapixels; the limit is 64")
    yield Case("bomb3.png", png(60000, 60000, 1, 0, b""), "refused", "more than 64 megapixels")
    yield Case("bomb4.webp", webp_header(16383), "refused", "more than 64 megapixels")
    comment = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(90 << 20)))
    yield Case("metadata.png", png(4, 4, 8, 0, bytes(20), comment), "refused", "damaged or cut short")
    yield Case("moving.gif", _moving("GIF"), "refused", "has 3 frames. Say which one: frame=0 to frame=2")
    yield Case("moving.png", _moving("PNG"), "refused", "has 3 frames")
    yield Case("moving.webp", _moving("WEBP"), "refused", "has 3 frames")
    yield Case("pages.tif", _moving("TIFF"), "refused", "has 3 pages")
    yield Case("moving.gif", _moving("GIF"), "refused", "has no frame 3: it has 3 (0 to 2)", {"frame": 3})
    yield Case("still.png", whole, "refused", "has no frame 1: it has 1", {"frame": 1})
    floats = np.linspace(-100, 900, 24, dtype=np.float32).reshape(4, 6)
    yield Case("float.tif", tiff(floats), "refused", "floating-point numbers from -100 to 900 and declares no range")
    yield Case("nan.tif", tiff(np.where(floats > 800, np.float32("nan"), floats)), "refused", "are NaN or infinite")
    whole_numbers = np.arange(24, dtype=np.int32).reshape(4, 6) * 1000
    yield Case("int32.tif", tiff(whole_numbers), "refused", "window=(0, 23000)")
    yield Case("signed.tif", tiff(whole_numbers.astype(np.int16) - 900), "refused", "declares no range")
    yield Case("color.png", whole, "refused", "window applies to grey values", {"window": (0.0, 100.0)})
    yield Case("lab.tif", saved(photo().convert("LAB"), "TIFF"), "refused", "LAB colors")


def _moving(format: str) -> bytes:
    first, *rest = frames()
    return saved(first, format, save_all=True, append_images=rest, **({"lossless": True} if format == "WEBP" else {}))


def read() -> Iterator[Case]:
    """Files that are read by a declared rule, with the note that says which."""
    color, grey = photo(), photo().convert("L")
    sixteen = np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype(np.uint16)
    clear = photo().convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 48).astype(np.uint8), (32, 1))))
    palette = color.quantize(16)
    # an RGB profile that is not sRGB: the XYZ profile has no RGB matrix, so the sRGB one is renamed
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"):
        yield Case(f"plain.{format.lower()}", saved(color, format), "read", "palette" if format == "GIF" else "")
    yield Case("grey.png", saved(grey, "PNG"), "read", "grey values stand for red, green and blue")
    yield Case("bits.png", saved(color.convert("1"), "PNG"), "read", "grey values stand for")
    yield Case("la.png", saved(clear.convert("LA"), "PNG"), "read", "shown on the background (255, 255, 255)")
    yield Case("rgba.png", saved(clear, "PNG"), "read", "shown on the background (255, 255, 255)")
    yield Case("opaque.png", saved(color.convert("RGBA"), "PNG"), "read", "opaque everywhere")
    yield Case("palette.png", saved(palette, "PNG"), "read", "palette was looked up")
    yield Case("hole.png", saved(palette, "PNG", transparency=0), "read", "shown on the background")
    yield Case("grey16.png", saved(Image.fromarray(sixteen), "PNG"), "read", "declared range 0 to 65535")
    yield Case("dark16.png", saved(Image.fromarray(sixteen // 64), "PNG"), "read", "window=(0, 1023) would stretch")
    window = {"window": (0.0, 1023.0)}
    yield Case("window16.png", saved(Image.fromarray(sixteen // 64), "PNG"), "read", "the window given", window)
    rgb16 = b"".join(b"\0" + bytes([i, 1, i, 2, i, 3]) * 4 for i in range(4))
    yield Case("rgb16.png", png(4, 4, 16, 2, rgb16), "read", "16-bit colors were read with 8 bits")
    yield Case(
        "gamma.png", png(4, 4, 8, 0, bytes(20), chunk(b"gAMA", struct.pack(">I", 100000))), "read", "gamma of 1.0"
    )
    yield Case("white0.tif", tiff(sixteen, t262=0), "read", "zero is white")
    yield Case("unit.tif", tiff((sixteen / 65535).astype(np.float32)), "read", "lie in 0..1")
    yield Case("cmyk.jpg", saved(color.convert("CMYK"), "JPEG"), "read", "converted plainly")
    yield Case("cmyk.tif", saved(color.convert("CMYK"), "TIFF"), "read", "converted plainly")
    yield Case("srgb.jpg", saved(color, "JPEG", icc_profile=profile), "read", "")
    yield Case("broken-profile.jpg", saved(color, "JPEG", icc_profile=b"acsp" * 40), "read", "cannot be used")
    yield Case("huge-profile.jpg", saved(color, "JPEG", icc_profile=bytes(5 << 20)), "read", "too large")
    for orientation in range(2, 9):
        data = saved(color, "PNG", exif=exif(orientation))
        yield Case(f"turned{orientation}.png", data, "read", "as its EXIF orientation says")
    yield Case("turned.tif", saved(color, "TIFF", exif=exif(6)), "read", "as its EXIF orientation says")
    yield Case("liar.png", saved(color, "JPEG"), "read", "named .png but holds a JPEG picture")
    yield Case("pixel.png", saved(photo(1, 1), "PNG"), "read", "")
    yield Case("wide.png", saved(photo(20000, 1), "PNG"), "read", "")
    yield Case("tall.png", saved(photo(1, 20000), "PNG"), "read", "")
    yield Case("frame.gif", _moving("GIF"), "read", "Frame 1 of 3 was read", {"frame": 1})
    yield Case("two.jpg", saved(color, "MPO", save_all=True, append_images=[color]), "read", "the first, its main one")


def cases() -> Iterator[Case]:
    """Every case, the refused ones first."""
    yield from refused()
    yield from read()
