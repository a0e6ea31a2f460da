"""What a renderer shows is what the view says: exact colors, exact numbers, and never anything that a name contains."""

from __future__ import annotations

import io
import json as standard_json
import re
import xml.etree.ElementTree as ElementTree  # Only our own output is parsed.
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from html.parser import HTMLParser
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pellucid.architecture.graph import Edges, Graph, Groups, Nodes
from pellucid.architecture.overlay import Measure
from pellucid.core.errors import BadInput
from pellucid.render.font import width_of, wrapped
from pellucid.render.html import fragment, markup, page
from pellucid.render.json import json
from pellucid.render.marks import DARK, LIGHT
from pellucid.render.plain import visible
from pellucid.render.png import png
from pellucid.render.svg import svg
from pellucid.render.terminal import terminal
from pellucid.views.graph import Map
from pellucid.views.tiles import Tile, Tiles
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
    small, wide = np.full((5, 3, 3), 120, np.uint8), np.full((40, 60, 3), 60, np.uint8)
    tiles = Tiles((Tile(small, text, text, text, (wide,), (0.0, 1.0, 2.0, 4.0)), Tile(wide, text, text)), text, text)
    two = Nodes(
        (text,) * 2, ("linear", "other"), (0, 1), ((text, 3), (1,)), (text,) * 2, (1, 0), (2, None), (4, 4),
        (text,) * 2, (text,) * 2,
    )  # fmt: skip
    inside = Groups((-1, 0), ("", text), (0, 0), (text,) * 2, (1, 0), (2, None), (8, 4), (0, 1))
    graph = Graph(text, text, two, inside, Edges((0,), (1,), ((text, 3),)))
    cost = Measure(text, text, (1.0, None), (2.0, 1.0), "log")
    maps = (Map(graph, 9, None, {}, text, text), Map(graph, None, cost, {}, text, text))
    texts = [Text(text, kind) for kind in ("plain", "lead", "quiet", "warning", "code")]
    return Stack(
        (
            Heading(text, 1), Heading(text, 2), Heading(text, 3), *texts,
            Table((text, text, text), ((text, 1.5, None), (text, float("nan"), 3)), text),
            Bars((Bar(text, 0.5, 0.4, 0.6, True), Bar(text, float("nan")), Bar(text, 7.0)), text, percent=True),
            Photo(np.zeros((4, 6, 3), np.uint8), text, text, text), Columns((heat, over)), ruler,
            *(Card(text, text, tone, text, ruler) for tone in ("good", "weak", "bad", "unknown")),
            *maps, curve, dots, Scatter(steps, -rise, text, text),
            tiles, Tokens((text, text, ""), (0.5, -0.5, float("nan")), (-1.0, 1.0), True, text, text),
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
        lambda: Tile(np.zeros((2, 2), np.uint8)),
        lambda: Tile(np.zeros((2, 2, 3), np.uint8), below=(np.zeros((2, 2, 3)),)),
        lambda: Tiles(()),
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
