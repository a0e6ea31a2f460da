"""What a renderer shows is what the view says: exact colors, exact numbers, and never anything that a name contains."""

from __future__ import annotations

import base64
import errno
import io
import json as standard_json
import os
import re
import xml.etree.ElementTree as ElementTree  # Only our own output is parsed.
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from pellucid.core.errors import BadInput, PellucidError
from pellucid.render import colormap, raster
from pellucid.render.font import width_of, wrapped
from pellucid.render.html import fragment, markup, page
from pellucid.render.json import json
from pellucid.render.marks import DARK, LIGHT
from pellucid.render.plain import visible
from pellucid.render.png import png
from pellucid.render.svg import svg
from pellucid.render.terminal import terminal
from pellucid.render.write import write
from pellucid.views.view import (
    Bar,
    Bars,
    Card,
    Columns,
    Curve,
    Fold,
    Heading,
    Heat,
    Outline,
    Photo,
    Ruler,
    Scatter,
    Series,
    Sheet,
    Stack,
    Table,
    Text,
    Tokens,
    View,
)  # fmt: skip

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title></textarea></svg><script>1</script>",
    "javascript:alert(1)//' onmouseover='alert(1)",
    "&lt;b&gt; &amp; &#60;script&#62; <!-- ]]> -->",
    '=HYPERLINK("http://evil.example","x")',
    "+1+cmd|' /C calc'!A0",
    "\x1b[2J\x1b]0;owned\x07\x9b31mred\x7f\x00\x08",
    "cat\u202egpj.exe\u2066\u200f\u200b\ufeff",
    "lone \ud800 and \udfff, pair \U0001f63a, none \ufffe \U0001ffff",
    "line\u2028break\u2029and\r\nreturn\ttab",
    "猫 кошка قطة बिल्ली " + "W" * 90,
    "%s {0} ${x} \\ `x`",
)
KINDS = get_args(View)


def everything(text: str) -> View:
    """Every kind of view, with `text` in every field that holds free text."""
    grid = np.array([[-1.0, 0.0, 1.0], [0.5, np.nan, -2.0], [0.0, 0.25, 3.0], [1.0, 1.0, 1.0]])
    line = ((0.5, 0.5), (2.5, 0.5), (2.5, 2.5), (0.5, 0.5))
    heat = Heat(grid, (-1.0, 1.0), True, text, text, text, text, text, None, (Outline(0.1, (line,)),), (2, 2), False)
    over = Heat(
        grid, (0.0, 1.0), False, text, text, text, text, text, np.full((8, 6), 99, np.uint8),
        (Outline(0.1, (line,)), Outline(0.25, (line,))), (2, 2),
    )  # fmt: skip
    ruler = Ruler(0.4, (-1.0, 1.0), 0.2, 0.6, ((text, 0.1), (text, 0.12), (text, 0.9)), (-0.2, 0.2), text)
    steps, rise = np.arange(5.0), np.array([0.0, 1.0, np.nan, -1.0, 2.0])
    curve = Curve((Series(text, steps, rise), Series(text, steps, -rise)), text, text, text, text)
    sheet = Sheet(np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3), 4, 6, 3)
    dots = Scatter(steps, rise, text, text, text, text, (0.5, -0.25), (text,) * 5, sheet)
    texts = [Text(text, kind) for kind in ("plain", "lead", "quiet", "warning", "code")]
    return Stack(
        (
            Heading(text, 1), Heading(text, 2), Heading(text, 3), *texts,
            Table((text, text, text), ((text, 1.5, None), (text, float("nan"), 3)), text),
            Bars((Bar(text, 0.5, 0.4, 0.6, True), Bar(text, float("nan")), Bar(text, 7.0)), text, percent=True),
            Photo(np.zeros((4, 6, 3), np.uint8), text, text, text), Columns((heat, over)), ruler,
            *(Card(text, text, tone, text, ruler) for tone in ("good", "weak", "bad", "unknown")),
            curve, dots, Scatter(steps, -rise, text, text),
            Tokens((text, text, ""), (0.5, -0.5, float("nan")), (-1.0, 1.0), True, text, text),
            Fold(text, Stack((Text(text), Columns(())))), Fold(text, Text(text), open=True),
        )
    )  # fmt: skip


def parts(view: object) -> Iterator[object]:
    """The view and every dataclass in it."""
    yield view
    for field in fields(view) if is_dataclass(view) else ():
        value = getattr(view, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if is_dataclass(item):
                yield from parts(item)


def test_the_sample_holds_every_kind_of_view():
    assert {type(part) for part in parts(everything("x"))} >= set(KINDS)


# Names that act.


class Page(HTMLParser):
    """Tags in order, attribute values, and text, as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        self.tags.append("/" + tag)

    def handle_data(self, data):
        self.text.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def handle_pi(self, data):
        raise AssertionError(f"an instruction: {data}")


INLINE = re.compile("data:image/(png|jpeg);base64,[A-Za-z0-9+/=]*$")


@pytest.mark.parametrize("text", PAYLOADS)
def test_html_has_the_same_elements_whatever_the_names_are(text):
    plain, nasty = Page(page(everything("x"), "x", "x")), Page(page(everything(text), text, text))
    assert nasty.tags == plain.tags
    assert [name for name, _ in nasty.attributes] == [name for name, _ in plain.attributes]
    assert not any(name.startswith("on") or name in ("src", "srcdoc", "action") for name, _ in nasty.attributes)
    assert all(INLINE.match(value) for name, value in nasty.attributes if name == "href")
    styles = [[v for n, v in p.attributes if n in ("style", "class", "content")] for p in (plain, nasty)]
    assert styles[0] == styles[1]


@pytest.mark.parametrize("text", PAYLOADS)
def test_html_shows_names_as_they_are_but_harmless(text):
    found = Page(page(everything(text), text))
    assert found.text.count(visible(text)) >= 20
    assert visible(text) in [value for name, value in found.attributes if name == "aria-label"]
    assert not harmful("".join(found.text))
    assert page(everything(text), text).encode("utf-8")


@pytest.mark.parametrize("text", PAYLOADS)
def test_svg_is_well_formed_and_holds_drawing_elements_only(text):
    tree = ElementTree.fromstring(svg(everything(text), title=text))  # noqa: S314
    allowed = {"svg", "title", "rect", "circle", "path", "text", "image"}
    assert {e.tag.removeprefix("{http://www.w3.org/2000/svg}") for e in tree.iter()} <= allowed
    for element in tree.iter():
        assert not any(name.lower().startswith("on") for name in element.attrib)
        assert INLINE.match(element.attrib.get("href", "data:image/png;base64,"))
        assert not harmful(element.text or "")
    assert tree[0].text == visible(text)


def test_a_line_of_svg_text_is_no_wider_than_its_sheet_in_any_font():
    tree = ElementTree.fromstring(svg(Text("wide words " * 60), width=400))  # noqa: S314
    lengths = [float(e.attrib["textLength"]) for e in tree.iter() if e.tag.endswith("}text")]
    assert len(lengths) > 5
    assert max(lengths) <= 400 - 2 * 32


@pytest.mark.parametrize("text", PAYLOADS)
@pytest.mark.parametrize("color", [False, True])
def test_a_terminal_gets_no_escape_sequence_but_colors(text, color):
    shown = terminal(everything(text), 60, color)
    assert not harmful(re.sub(r"\x1b\[[0-9;]*m", "", shown) if color else shown)
    assert "owned" not in re.findall(r"\x1b\][^\x07]*", shown)


@pytest.mark.parametrize("text", PAYLOADS)
def test_json_is_plain_and_complete(text):
    written = standard_json.dumps(json(everything(text)), allow_nan=False, ensure_ascii=False)
    written.encode("utf-8")
    found = standard_json.loads(written)
    assert found["type"] == "stack"
    assert found["views"][0] == {"type": "heading", "text": visible(text, lines=True), "level": 1}


@pytest.mark.parametrize("text", PAYLOADS)
def test_png_draws_any_script(text):
    image = Image.open(io.BytesIO(png(everything(text), scale=1.0)))
    image.load()
    assert image.size[0] == 960
    assert image.info == {}


def harmful(text: str) -> list[str]:
    """Characters that act on a reader's screen."""
    acting = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
    return re.findall(f"[{acting}]", text)


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=40))
def test_visible_text_never_acts_and_is_stable(text):
    shown = visible(text)
    assert not harmful(shown)
    assert "\n" not in shown
    assert visible(shown) == shown
    shown.encode("utf-8")


def test_very_long_names_are_cut_and_say_so():
    assert visible("a" * 10**6).endswith("… (1000000 characters)")
    assert len(page(Heading("a" * 10**6), "b" * 10**6)) < 40_000


# The page as a whole.


def test_the_same_view_gives_the_same_bytes():
    for render in (markup, svg, png, terminal, lambda v: page(v, "t"), lambda v: standard_json.dumps(json(v))):
        assert render(everything("cat")) == render(everything("cat"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_view_renders_alone(kind):
    view = next(part for part in parts(everything("cat")) if type(part) is kind)
    assert Page(markup(view)).tags
    assert png(view, scale=1.0).startswith(b"\x89PNG")
    assert svg(view).startswith("<svg")
    assert isinstance(terminal(view), str)
    assert json(view)["type"] == kind.__name__.lower()


def test_a_page_asks_nobody_for_anything():
    text = page(everything("cat"), "cat")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\((?!data:image/jpeg;base64,)|@import|<script|<link|<iframe|<form", text)


def test_a_fragment_leaks_no_style_and_no_identifier():
    text = fragment(everything("cat"))
    assert " id=" not in text
    rules = re.sub(r"/\*.*?\*/", "", re.search(r"<style>(.*?)</style>", text, re.S)[1], flags=re.S)
    rules = re.sub(r"@media[^{]*\{", "", rules)
    selectors = [s.strip() for head in re.findall(r"([^{}]+)\{", rules) for s in head.split(",")]
    assert selectors
    assert all(s.startswith(".pellucid") for s in selectors)


def test_pictures_have_words_and_tables_have_headers():
    found = Page(page(everything("cat"), "cat"))
    named = found.tags.count("svg")
    assert [n for n, _ in found.attributes].count("aria-label") == named
    assert found.tags.count("th") > found.tags.count("table")
    assert ("lang", "en") in found.attributes


def luminance(color: str) -> float:
    linear = [(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in rgb(color)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def rgb(color: str) -> list[float]:
    return [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("role", ["ink", "quiet", "accent", "good", "weak", "bad", "unknown"])
@pytest.mark.parametrize("ground", ["page", "panel"])
def test_text_has_the_contrast_of_wcag_aa(theme, role, ground):
    light, dark = sorted((luminance(theme[role]), luminance(theme[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


# Colors.


@pytest.mark.parametrize("name", ["inferno", "viridis", "grey"])
def test_sequential_colors_get_lighter_all_the_way(name):
    lightness = rgb2lab(colormap.table(name)[None])[0, :, 0]
    assert np.all(np.diff(lightness) > -0.2)
    # As even as 8 bits allow: no part of the scale is told apart three times better than another.
    steps = np.diff(lightness[::17])
    assert steps.max() < 3 * steps.min()


@pytest.mark.parametrize(("name", "toward_center"), [("vik", 1), ("berlin", -1)])
def test_diverging_colors_are_symmetric_around_a_neutral_center(name, toward_center):
    lab = rgb2lab(colormap.table(name)[None])[0]
    rise = np.diff(lab[:, 0]) * toward_center
    assert np.all(rise[:120] > -0.3)
    assert np.all(rise[-120:] < 0.3)
    assert np.hypot(*lab[colormap.NEUTRAL, 1:]) < 10
    assert abs(lab[0, 0] - lab[-1, 0]) < 12
    assert lab[0, 2] < -10 < 0 < lab[-1, 1]  # Blue below zero, red above.


@pytest.mark.parametrize("name", ["inferno", "viridis"])
def test_tables_are_those_of_matplotlib(name):
    matplotlib = pytest.importorskip("matplotlib")
    peer = matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255
    at = np.linspace(0, 255, 255)
    expected = np.stack([np.interp(at, np.arange(256), peer[:, c]) for c in range(3)], 1)
    assert np.abs(colormap.table(name) - expected).max() <= 1


def test_vik_is_crameris():
    # The first and last rows of vik.txt, and the mean of rows 127 and 128, as published (times 255).
    assert colormap.table("vik")[0].tolist() == [0, 18, 97]
    assert np.abs(colormap.table("vik")[127] - np.array([235.7, 229.2, 225.2])).max() <= 1


@given(st.floats(-1e30, 1e30), st.floats(1e-30, 1e30))
def test_zero_is_neutral_whatever_the_limits(value, reach):
    values = np.array([0.0, value, -value])
    chosen = colormap.levels(values, (-reach, reach)).astype(int)
    assert chosen[0] == colormap.NEUTRAL
    assert abs((chosen[1] - 127) + (chosen[2] - 127)) <= 1


GRID = np.array([[-1.0, -0.5, 0.0], [0.5, 1.0, 9.0], [np.nan, -9.0, 0.25]])
EXPECTED = [[0, 64, 127], [191, 254, 254], [-1, 0, 159]]


def pictures(text: str) -> list[np.ndarray]:
    data = re.findall(r'href="data:image/png;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(d))).convert("RGB")) for d in data]


@pytest.mark.parametrize(("place", "name"), [(0, "vik"), (1, "berlin")])
def test_every_cell_of_a_map_has_exactly_its_color_in_html(place, name):
    shown = pictures(markup(Heat(GRID, (-1.0, 1.0), True, smooth=False)))[place]
    assert shown.shape == (3, 3, 3)
    table = colormap.table(name)
    for row, column in np.ndindex(3, 3):
        level = EXPECTED[row][column]
        void = colormap.VOID["light" if name == "vik" else "dark"]
        assert shown[row, column].tolist() == (list(void) if level < 0 else table[level].tolist())


@pytest.mark.parametrize("render", ["png", "svg"])
def test_every_cell_has_exactly_its_color_in_pictures(render):
    heat = Heat(GRID, (-1.0, 1.0), True, smooth=False)
    if render == "svg":
        shown = pictures(svg(heat))[0]
        cells = shown
    else:
        sheet = np.asarray(Image.open(io.BytesIO(png(heat, width=364, scale=1.0))).convert("RGB"))
        cells = sheet[32 + 50 : 332 : 100, 32 + 50 : 332 : 100]
    assert cells[0, 2].tolist() == colormap.table("vik")[127].tolist()
    assert cells[1, 1].tolist() == colormap.table("vik")[254].tolist()
    assert cells[2, 1].tolist() == colormap.table("vik")[0].tolist()


def test_a_positive_map_takes_inferno_from_its_lower_limit():
    shown = pictures(markup(Heat(np.array([[0.0, 2.0]]), (0.0, 2.0), False, smooth=False)))[0]
    assert shown[0].tolist() == [colormap.table("inferno")[0].tolist(), colormap.table("inferno")[254].tolist()]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("signed", [True, False])
def test_where_the_map_is_zero_only_the_photo_is_seen(theme, signed):
    ground = np.arange(256, dtype=np.uint8).reshape(16, 16)
    heat = Heat(np.zeros((16, 16)), (-1.0 if signed else 0.0, 1.0), signed, underlay=ground)
    shown = raster.laid_over(heat, ground, theme)
    assert np.all(shown[..., 0] == shown[..., 1])
    assert np.all(shown[..., 1] == shown[..., 2])
    assert np.all(np.diff(shown[..., 0].ravel().astype(int)) >= 0)
    assert np.ptp(shown) > 100


def test_a_zero_map_is_drawn_neutral_not_as_noise():
    for signed, level in ((True, 127), (False, 0)):
        shown = colormap.colors(np.zeros((2, 2)), (0.0, 0.0), signed)
        name = colormap.name_for(signed, "light")
        assert (shown == colormap.table(name)[level]).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_enlarging_is_bilinear_between_cell_centers(height, width, tall, wide, seed):
    values = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    peer = torch.nn.functional.interpolate(values, (tall, wide), mode="bilinear", align_corners=False)
    assert np.allclose(raster.enlarged(values[0, 0].numpy(), tall, wide, smooth=True), peer[0, 0].numpy(), atol=1e-12)


def test_png_bytes_keep_every_pixel():
    generator = torch.Generator().manual_seed(0)
    many = torch.randint(0, 256, (40, 30, 3), generator=generator, dtype=torch.uint8).numpy()
    few = many // 128 * 127
    for pixels in (many, few, many[..., 0]):
        back = Image.open(io.BytesIO(raster.png(pixels)))
        assert back.info == {}
        assert np.array_equal(np.asarray(back.convert("RGB" if pixels.ndim == 3 else "L")), pixels)


@pytest.mark.parametrize("signed", [True, False])
def test_a_map_over_its_photo_is_stored_small_and_close(signed):
    values = torch.randn(120, 120, generator=torch.Generator().manual_seed(0)).numpy()
    ground = (np.add.outer(np.arange(120), np.arange(120)) % 239).astype(np.uint8)
    pixels = raster.laid_over(Heat(values, (-2.0 if signed else 0.0, 2.0), signed, underlay=ground), ground)
    stored = raster.jpeg(pixels)
    back = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB")).astype(int)
    assert len(stored) < 0.6 * len(raster.png(pixels))
    assert np.abs(back - pixels).mean() < 8


# Numbers.


RENDERERS: dict[str, Callable[[View], str]] = {
    "html": markup, "svg": svg, "terminal": terminal, "color": lambda v: terminal(v, 80, True)
}  # fmt: skip


@pytest.mark.parametrize("name", RENDERERS)
def test_the_limits_and_the_true_size_are_written(name):
    heat = Heat(np.zeros((12, 12)), (-0.0125, 0.0125), True, unit="nats", resolution=(7, 7), statement="clipped 0.5 %")
    shown = RENDERERS[name](heat)
    for text in ("−0.0125", "+0.0125", "7×7", "nats", "clipped 0.5 %"):
        assert text in shown


def test_a_ruler_says_its_numbers_to_those_who_do_not_see_it():
    ruler = Ruler(0.42, (-1.0, 1.0), 0.31, 0.5, (("edges", 0.2), ("ceiling", 0.8)), (-0.2, 0.25))
    label = dict(Page(markup(ruler)).attributes)["aria-label"]
    assert label == "this map 0.42, interval 0.31 to 0.5; chance lies from −0.2 to 0.25; edges 0.2, ceiling 0.8"


def test_bars_are_as_long_as_their_values():
    found = Page(markup(Bars((Bar("a", 0.25), Bar("b", -0.5)), limits=(-1.0, 1.0))))
    fills = [value for name, value in found.attributes if name == "style"]
    assert fills == ["left:50.00%;width:12.50%", "left:25.00%;width:25.00%"]


def test_json_keeps_exact_numbers():
    found = json(Heat(np.array([[0.1, np.nan]]), (0.0, 0.1), False))
    assert found["values"] == [[0.1, None]]
    assert found["limits"] == [0.0, 0.1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Heat(np.zeros(3), (0.0, 1.0), False),
        lambda: Heat(np.zeros((0, 3)), (0.0, 1.0), False),
        lambda: Heat(np.zeros((2, 2)), (-1.0, 2.0), True),
        lambda: Heat(np.zeros((2, 2)), (2.0, 1.0), False),
        lambda: Photo(np.zeros((2, 2)), ""),
        lambda: Table(("a",), (("b", "c"),)),
        lambda: Tokens(("a",), (), (0.0, 1.0), False),
        lambda: Series("a", np.zeros(2), np.zeros(3)),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(make):
    with pytest.raises(BadInput):
        make()


def test_a_picture_too_large_to_draw_is_refused():
    with pytest.raises(BadInput, match="64 million"):
        png(Text("cat"), width=20_000, scale=50.0)


@given(st.text(max_size=60), st.floats(20, 200))
def test_wrapped_lines_fit_and_lose_nothing(text, width):
    text = visible(text)
    lines = wrapped(text, 10, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(width_of(line, 10) <= width for line in lines if len(line) > 1)


# Files.


def test_write_replaces_the_whole_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "why.html"
    write(path, b"old")
    path.chmod(0o640)
    assert write(path, b"new" * 10**6) == path
    assert path.read_bytes() == b"new" * 10**6
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "may not be written"), (errno.EIO, "could not be")],
)
def test_a_failed_write_leaves_the_old_file_and_one_sentence(tmp_path, monkeypatch, code, words):
    path = tmp_path / "why.html"
    path.write_bytes(b"old")

    def fails(_handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(PellucidError, match=words):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["no/such/folder.html", "", "a" * 300, "nul\0byte"])
def test_impossible_places_are_named_before_anything_is_written(tmp_path, name):
    with pytest.raises(BadInput):
        write(Path(f"{tmp_path}/{name}"), b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PellucidError, match="may not be written"):
        write(tmp_path / "why.html", b"new")
