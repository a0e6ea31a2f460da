"""What a file is, from its first bytes: names lie, contents do not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A file format: its name in a sentence, the decoder that reads it ("" for none), and what to do when none does."""

    name: str
    decoder: str = ""
    extensions: tuple[str, ...] = ()
    advice: str = "Save it as PNG or JPEG first."
    typed: str = ""  # the advice on the command line, where it is another one


_PICTURE = "Open pictures with net.read or pellucid.doors.pictures.image.decode."
_SLICE, _FLOATS = "Export the slice as a 16-bit PNG or TIFF", "Save it as a 32-bit TIFF"
_IN_PYTHON, _TYPED = " and pass window=(low, high).", " and give --window low,high."
_MEDICAL = (_SLICE + _IN_PYTHON, _SLICE + _TYPED)

_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", Kind("a PNG picture", "PNG", (".png", ".apng"), _PICTURE)),
    (0, b"\xff\xd8\xff", Kind("a JPEG picture", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), _PICTURE)),
    (0, b"GIF87a", Kind("a GIF picture", "GIF", (".gif",), _PICTURE)),
    (0, b"GIF89a", Kind("a GIF picture", "GIF", (".gif",), _PICTURE)),
    (8, b"WEBP", Kind("a WebP picture", "WEBP", (".webp",), _PICTURE)),
    (0, b"II*\x00", Kind("a TIFF picture", "TIFF", (".tif", ".tiff"), _PICTURE)),
    (0, b"MM\x00*", Kind("a TIFF picture", "TIFF", (".tif", ".tiff"), _PICTURE)),
    (0, b"II+\x00", Kind("a TIFF picture", "TIFF", (".tif", ".tiff", ".btf"), _PICTURE)),
    (0, b"MM\x00+", Kind("a TIFF picture", "TIFF", (".tif", ".tiff", ".btf"), _PICTURE)),
    (0, b"%PDF", Kind("a PDF document", advice="Export the page as PNG first.")),
    (0, b"%!PS", Kind("a PostScript (EPS) drawing", advice="Export the drawing as PNG first.")),
    (0, b"\xc5\xd0\xd3\xc6", Kind("a PostScript (EPS) drawing", advice="Export the drawing as PNG first.")),
    (4, b"ftypheic", Kind("a HEIC picture")),
    (4, b"ftypheix", Kind("a HEIC picture")),
    (4, b"ftypmif1", Kind("a HEIF picture")),
    (4, b"ftypavif", Kind("an AVIF picture")),
    (4, b"ftyp", Kind("an MP4 video", advice="Save one of its frames as PNG first.")),
    (4, b"JXL \r\n\x87\n", Kind("a JPEG XL picture")),
    (0, b"\xff\x0a", Kind("a JPEG XL picture")),
    (4, b"jP  \r\n\x87\n", Kind("a JPEG 2000 picture")),
    (0, b"8BPS", Kind("a Photoshop document")),
    (0, b"\x00\x00\x01\x00", Kind("a Windows icon")),
    (
        0,
        b"\x76\x2f\x31\x01",
        Kind("an OpenEXR picture", advice=_FLOATS + _IN_PYTHON, typed=_FLOATS + _TYPED),
    ),
    (128, b"DICM", Kind("a DICOM image", "", (), *_MEDICAL)),
    (344, b"n+1\x00", Kind("a NIfTI volume", "", (), *_MEDICAL)),
    (0, b"version https://git-lfs", Kind("a Git LFS pointer, not the file itself", advice="Run git lfs pull first.")),
    (0, b"\x93NUMPY", Kind("a NumPy array", advice="Load it with numpy.load and pass the array.")),
    (0, b"\x89HDF\r\n\x1a\n", Kind("an HDF5 file")),
    (0, b"GGUF", Kind("a GGUF language model")),
    (4, b"TFL3", Kind("a TensorFlow Lite model")),
    (0, b"\x1f\x8b", Kind("a gzip archive", advice="Unpack it first.")),
    (0, b"PK\x03\x04", Kind("a ZIP archive", advice="Unpack it first.")),
    (0, b"PK\x05\x06", Kind("an empty ZIP archive")),
)


def sniff(head: bytes) -> Kind:
    """The kind of file that begins with `head` (give it the first 4 KiB).

    >>> sniff(b"GIF89a").name
    'a GIF picture'
    """
    for offset, magic, kind in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return Kind("a BMP picture", "BMP", (".bmp", ".dib"), _PICTURE)
    if len(head) > 2 and (head[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf")) and head[2:3] in b" \t\r\n#":
        return Kind("a PPM picture", "PPM", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), _PICTURE)
    return _pickle_or_model(head) or _text(head)


def _pickle_or_model(head: bytes) -> Kind | None:
    """Formats of model files that have no signature of their own."""
    if len(head) > 8 and head[8:10] in (b'{"', b"{ ", b"{}") and int.from_bytes(head[:8], "little") < 1 << 32:
        return Kind("a safetensors file")
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return Kind("a Python pickle")
    if (
        head[:1] == b"\x08"
        and head[1:2]
        and head[1] < 32
        and head[2:3] in (b"\x12", b"\x1a", b"\x2a", b"\x32", b"\x3a")
    ):
        return Kind("an ONNX model")
    return None


def _text(head: bytes) -> Kind:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Kind(
            "a web page (HTML)", advice="The download probably failed: open it in a browser and save the picture."
        )
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"<svg" in start:
        return Kind("an SVG drawing", advice="Export the drawing as PNG first.")
    if head and not any(byte < 9 for byte in head):
        return Kind("a text file")
    return Kind("of a kind that Pellucid does not know")
