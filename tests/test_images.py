"""The image door: what is refused is refused in a sentence, what is converted is said, and the values are right."""

from __future__ import annotations

import io
import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from pellucid.core.errors import BadInput, BadOption, Missing, PellucidError
from pellucid.core.preparation import Preparation
from pellucid.doors.pictures.image import decode, prepare, to_picture
from pellucid.doors.pictures.prepare import central_box, cut_note
from tests.corpus import images as corpus

CASES = list(corpus.cases())


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255


def shown(data: bytes, **options: object) -> np.ndarray:
    return decode(data, **options).rgb.permute(1, 2, 0).double().numpy()


@pytest.mark.parametrize("case", CASES, ids=[f"{c.name}-{i}" for i, c in enumerate(CASES)])
def test_each_odd_file_is_read_with_a_note_or_refused_in_a_sentence(case: corpus.Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.data)
    if case.kind == "refused":
        with pytest.raises(BadInput) as caught:
            decode(path, **case.options)
        assert case.says in str(caught.value)
        assert caught.value.what.endswith(".") and caught.value.hint.endswith(".")
        assert "Traceback" not in str(caught.value) and str(tmp_path) not in str(caught.value)
        return
    picture = decode(path, **case.options)
    assert picture.rgb.dtype == torch.float32 and picture.rgb.shape[0] == 3
    assert bool(torch.isfinite(picture.rgb).all()) and picture.rgb.min() >= 0 and picture.rgb.max() <= 1
    assert any(case.says in note for note in picture.notes) or not case.says
    assert all(note.endswith(".") for note in picture.notes)
    assert len(picture.digest) == 64


def test_there_are_many_cases() -> None:
    assert sum(c.kind == "refused" for c in CASES) >= 30 and sum(c.kind == "read" for c in CASES) >= 30


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_plain_color_is_exact_and_unremarked(format: str) -> None:
    picture = decode(corpus.saved(corpus.photo(), format))
    np.testing.assert_allclose(picture.rgb.permute(1, 2, 0), array(corpus.photo()), atol=1e-7)
    assert picture.notes == () and picture.format == format


def test_sixteen_bit_grey_keeps_every_level() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for data in (corpus.saved(Image.fromarray(ramp), "PNG"), corpus.saved(Image.fromarray(ramp), "TIFF")):
        np.testing.assert_allclose(shown(data)[..., 0], ramp / 65535, atol=1e-6)
    pgm = b"P5 256 256 65535 " + ramp.astype(">u2").tobytes()
    np.testing.assert_allclose(shown(pgm)[..., 0], ramp / 65535, atol=1e-6)


@given(low=st.integers(0, 60000), width=st.integers(1, 60000))
def test_a_window_is_a_clipped_line(low: int, width: int) -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    seen = shown(corpus.saved(Image.fromarray(ramp), "PNG"), window=(low, low + width))[..., 1]
    np.testing.assert_allclose(seen, np.clip((ramp.astype(float) - low) / width, 0, 1), atol=1e-6)


def test_zero_is_white_turns_sixteen_bits_round() -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    np.testing.assert_allclose(shown(corpus.tiff(ramp, t262=0))[..., 2], 1 - ramp / 65535, atol=1e-6)


def test_transparency_is_composited_in_closed_form() -> None:
    rng = np.random.default_rng(1)
    rgba = rng.integers(0, 256, (9, 7, 4), dtype=np.uint8)
    alpha = rgba[..., 3:] / 255
    for behind in ((255, 255, 255), (0, 128, 7)):
        seen = shown(corpus.saved(Image.fromarray(rgba), "PNG"), background=behind)
        np.testing.assert_allclose(seen, rgba[..., :3] / 255 * alpha + np.array(behind) / 255 * (1 - alpha), atol=1e-6)


def test_fully_transparent_red_is_the_background() -> None:
    data = corpus.saved(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG")
    picture = decode(data)
    assert bool((picture.rgb == 1).all()) and "100.0%" in picture.notes[0]


def test_a_transparent_sixteen_bit_grey_is_the_background() -> None:
    row = b"\0" + (1000).to_bytes(2, "big") + (2000).to_bytes(2, "big")
    data = corpus.png(2, 1, 16, 0, row, corpus.chunk(b"tRNS", (2000).to_bytes(2, "big")))
    np.testing.assert_allclose(shown(data)[0, :, 0], [1000 / 65535, 1.0], atol=1e-6)


# EXIF 2.32, tag 274: where row 0 and column 0 of the stored picture lie
STORED_TO_SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED_TO_SHOWN)
def test_orientation_turns_the_pixels_once(format: str, orientation: int) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    data = corpus.saved(corpus.photo(), format, exif=corpus.exif(orientation), **options)
    np.testing.assert_allclose(shown(data), STORED_TO_SHOWN[orientation](array(corpus.photo())), atol=1e-6)
    assert sum("EXIF" in note for note in decode(data).notes) == (orientation != 1)


def test_cmyk_corners_have_known_colors() -> None:
    corners = {(0, 0, 0, 0): (1, 1, 1), (255, 0, 0, 0): (0, 1, 1), (0, 255, 0, 0): (1, 0, 1), (0, 0, 0, 255): (0, 0, 0)}
    for inks, color in corners.items():
        for format in ("TIFF", "JPEG"):  # the JPEG carries Adobe's marker and is stored inverted
            data = corpus.saved(Image.new("CMYK", (16, 16), inks), format)
            np.testing.assert_allclose(shown(data)[8, 8], color, atol=0.02)


def test_an_embedded_profile_is_applied() -> None:
    """A profile with a linear tone curve: value v must become sRGB's encoding of v."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = linear_profile(bytes(data))
    grey = Image.fromarray(np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[None, :, None], 3, axis=2))
    picture = decode(corpus.saved(grey, "PNG", icc_profile=profile))
    v = np.arange(0, 256, 5) / 255
    encoded = np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 1e-9) ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(picture.rgb[1, 0], encoded, atol=0.02)
    assert any("embedded profile" in note for note in picture.notes)


def linear_profile(srgb: bytes) -> bytes:
    """The sRGB profile with its three tone curves made linear (curv with count 0) and another description."""
    data = bytearray(srgb)
    count = int.from_bytes(data[128:132], "big")
    for i in range(count):
        entry = 132 + 12 * i
        tag, at = bytes(data[entry : entry + 4]), int.from_bytes(data[entry + 4 : entry + 8], "big")
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            data[at : at + 12] = b"curv" + bytes(8)
            data[entry + 8 : entry + 12] = (12).to_bytes(4, "big")
    return bytes(data).replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be"))


def test_a_chosen_frame_is_that_frame() -> None:
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        for i, frame in enumerate(corpus.frames()):
            np.testing.assert_allclose(shown(corpus._moving(format), frame=i), array(frame), atol=1e-6)


def test_a_flood_of_frames_is_not_counted() -> None:
    """A 9 MB GIF of 300 000 frames: counting them would take minutes."""
    first = corpus.saved(Image.new("P", (1, 1)), "GIF")
    start = first.index(b",")
    flood = first[:start] + first[start:-1] * 300_000 + b";"
    assert len(flood) > 4 << 20
    with pytest.raises(BadInput, match="several frames"):
        decode(flood)
    assert "of several" in " ".join(decode(flood, frame=2).notes)
    with pytest.raises(BadInput, match="no frame -1"):
        decode(flood, frame=-1)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("lenient", [False, True])
def test_a_prefix_is_refused_or_is_the_same_picture(
    format: str, lenient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    data = corpus.saved(corpus.photo(), format)
    whole = decode(data).rgb
    for end in [*range(0, len(data), max(1, len(data) // 60)), len(data) - 2, len(data) - 1]:
        try:
            part = decode(data[:end]).rgb
        except BadInput:
            continue
        assert torch.equal(part, whole), f"{format} cut at {end} of {len(data)} became another picture"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is lenient


SEEDS = [c.data for c in CASES if c.kind == "read" and len(c.data) < 20_000]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 19_999), st.integers(0, 255)), max_size=6))
@settings(max_examples=150, deadline=None)
def test_mutated_bytes_give_a_picture_or_our_own_error(data: bytes, edits: list[tuple[int, int]]) -> None:
    mutated = bytearray(data)
    for at, value in edits:
        mutated[at % len(mutated)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            picture = decode(bytes(mutated))
        except PellucidError:
            return
    assert bool(torch.isfinite(picture.rgb).all())


def test_no_metadata_travels() -> None:
    picture = decode(corpus.saved(corpus.photo(), "JPEG", exif=corpus.exif(6), comment=b"SECRET-COMMENT"))
    assert "SECRET" not in repr(picture)


@pytest.mark.parametrize("name", ["no.png", "x" * 300 + ".png", "nul\0.png"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(PellucidError, match=r"no file|cannot be read"):
        decode(tmp_path / name)


def test_a_near_name_is_suggested_and_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "chelsea.png").write_bytes(b"")
    with pytest.raises(Missing, match=r"Did you mean chelsea\.png"):
        decode(tmp_path / "chelsae.png")
    with pytest.raises(BadInput, match="is a folder"):
        decode(tmp_path)
    with pytest.raises(BadInput, match="fetches nothing"):
        decode("https://example.org/cat.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in the file system")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BadInput, match="device or a pipe"):
        decode(tmp_path / "pipe.png")


def test_terminal_codes_in_a_name_are_inert(tmp_path: Path) -> None:
    with pytest.raises(Missing) as caught:
        decode(tmp_path / "\x1b[31m\u202egnp.exe")
    assert "\x1b" not in str(caught.value) and "\u202e" not in str(caught.value)


@pytest.mark.parametrize("bad", [{"frame": True}, {"window": (5.0, 5.0)}, {"window": (0.0, math.nan)}])
def test_impossible_options_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(BadOption):
        decode(corpus.saved(corpus.photo().convert("L"), "PNG"), **bad)
    with pytest.raises(BadOption):
        decode(corpus.saved(corpus.photo(), "PNG"), background=(0, 0, 256))


def test_pil_arrays_and_tensors_agree_with_the_file() -> None:
    image = corpus.photo()
    expected = decode(corpus.saved(image, "PNG")).rgb
    values = np.array(image)
    tensor = torch.from_numpy(values).permute(2, 0, 1)
    for source in (image, values, values / 255, tensor, tensor[None], tensor / 255, (tensor / 255).double()):
        torch.testing.assert_close(to_picture(source).rgb, expected)
    sixteen = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    np.testing.assert_allclose(to_picture(sixteen).rgb[0], sixteen / 65535, atol=1e-6)
    np.testing.assert_allclose(to_picture(sixteen < 9).rgb[0], sixteen < 9)
    assert to_picture(to_picture(values)).digest == to_picture(values.copy()).digest


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (np.zeros((3, 8, 9), np.uint8), "transpose(1, 2, 0)"),
        (torch.zeros(8, 9, 3), "permute(2, 0, 1)"),
        (torch.zeros(2, 3, 8, 9), "not a batch"),
        (np.full((4, 4, 3), 200.0), "Divide it by 255"),
        (np.full((4, 4, 3), -2.0), "Undo the normalization"),
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4), np.inf), "NaN or infinite"),
        (np.full((4, 4), 7, np.int64), "declares no range"),
        (np.zeros((4, 0, 3), np.uint8), "has shape"),
        (["cat.jpg"], "cannot be read from list"),
    ],
)
def test_unclear_arrays_are_refused(source: object, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        to_picture(source)
    assert says in str(caught.value)


def test_a_lazy_pil_image_of_a_cut_file_is_refused() -> None:
    data = corpus.saved(corpus.photo(200, 200), "JPEG")
    with pytest.raises(BadInput, match="cannot be decoded"):
        to_picture(Image.open(io.BytesIO(data[: len(data) // 2])))


@given(height=st.integers(20, 90), width=st.integers(20, 90), crop=st.sampled_from([0.875, 0.9, 1.0]))
def test_preparing_equals_resizing_all_and_cutting_the_square(height: int, width: int, crop: float) -> None:
    """The definition, written out: resize the whole picture in floats, cut, normalize."""
    size = 32
    rgb = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))
    p = Preparation(size=size, crop=crop, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    short = round(size / crop)
    h, w = (short, short * width // height) if height <= width else (short * height // width, short)
    planes = [np.asarray(Image.fromarray(c.numpy()).resize((w, h), Image.Resampling.BICUBIC)) for c in rgb]
    top, left = round((h - size) / 2), round((w - size) / 2)
    cut = np.clip(np.stack(planes)[:, top : top + size, left : left + size], 0, 1)
    expected = (cut - np.array(p.mean)[:, None, None]) / np.array(p.std)[:, None, None]
    np.testing.assert_allclose(prepare(rgb, p)[0], expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 100_000), (100_000, 1), (3, 5)])
def test_extreme_shapes_prepare_and_a_flat_picture_stays_flat(shape: tuple[int, int]) -> None:
    p = Preparation(size=224, crop=0.875)
    x = prepare(torch.full((3, *shape), 0.25), p)
    assert x.shape == (1, 3, 224, 224)
    torch.testing.assert_close(x, torch.full_like(x, 0.25))
    left, top, right, bottom = central_box(*shape, p)
    assert 0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]
    assert bool(cut_note(*shape, p)) == (max(shape) > 2 * min(shape))


def test_the_note_tells_the_share_that_is_cut_off() -> None:
    assert "leaves out 75% of it" in cut_note(100, 400, Preparation(size=100))


def test_grey_networks_get_luma_and_bgr_networks_turned_channels() -> None:
    rgb = torch.tensor([1.0, 0.5, 0.25]).view(3, 1, 1).expand(3, 8, 8)
    grey = prepare(rgb, Preparation(size=4, mean=(0.0,), std=(1.0,)))
    torch.testing.assert_close(grey, torch.full((1, 1, 4, 4), 0.299 + 0.587 * 0.5 + 0.114 * 0.25))
    bgr = prepare(rgb, Preparation(size=4, bgr=True))
    assert bgr[0, :, 0, 0].tolist() == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(size=0),
        Preparation(size=8, crop=0.0),
        Preparation(size=8, crop=1.5),
        Preparation(size=8, interpolation="magic"),
        Preparation(size=8, std=(1.0, 0.0, 1.0)),
        Preparation(size=8, mean=(0.5, 0.5)),
    ],
)
def test_impossible_preparations_are_refused(preparation: Preparation) -> None:
    with pytest.raises(BadOption):
        prepare(torch.zeros(3, 4, 4), preparation)
