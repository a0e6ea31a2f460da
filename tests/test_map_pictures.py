"""The map as tree, SVG, PNG, PDF, HTML, DOT and JSON: whole, readable, and inert whatever names it holds."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pellucid as pl
from pellucid.architecture.architecture import Architecture
from pellucid.architecture.overlay import Measure, of_structure
from pellucid.architecture.sources.draft import Draft, Row, Run
from pellucid.architecture.sources.from_names import Named
from pellucid.architecture.stored import of_names
from pellucid.architecture.text import from_text
from pellucid.architecture.totals import totals
from pellucid.architecture.tree import tree
from pellucid.render.columns import in_columns
from pellucid.render.dot import dot, quoted
from pellucid.render.html import page
from pellucid.render.listing import listing
from pellucid.render.map import network
from pellucid.render.map_key import amount, share
from pellucid.render.marks import DARK, LIGHT, Drawing, Line, Words
from pellucid.render.terminal import terminal
from pellucid.surfaces.command_map import parsed_shape
from pellucid.surfaces.show import view_of
from pellucid.views.graph import Map
from tests.command_line import pellucid  # noqa: F401  # a fixture
from tests.zoo_of_kinds import build, resnet

EVIL = '</svg><script>alert(1)</script>"];}\\" \x1b[2J\u202egpj \n] {a|b} <b>\ud800'
ENDINGS = ("html", "svg", "png", "pdf", "json", "dot")
FAMILIES = ("convolution", "linear", "attention", "activation", "normalization", "pooling", "shape", "arithmetic",
            "recurrent", "other", "io", "group")  # fmt: skip


def evil() -> Architecture:
    draft = Draft(EVIL, EVIL)
    root = draft.group(Run(-1, "", EVIL))
    inner = draft.group(Run(root, f"a.{EVIL}", EVIL))
    one = draft.add(Row(EVIL, root, (EVIL, 3), EVIL, {EVIL: 3}, 7, 5, EVIL, EVIL))
    two = draft.add(Row(EVIL, inner, (1,), label=EVIL))
    three = draft.add(Row("relu", inner, (1,), label=EVIL))
    draft.edge(one, two, (EVIL, 3))
    draft.edge(two, three, (1,))
    graph = draft.finished()
    return Architecture(graph, totals(graph), of_structure(graph), (EVIL,), depth=9)


@pytest.fixture(scope="module")
def resnet_map():
    model, (x,), _ = build(resnet)
    return pl.map(model, x)


def test_hostile_names_do_nothing_in_any_form(tmp_path):
    found = evil()
    for ending in ENDINGS:
        path = found.save(tmp_path / f"map.{ending}")
        data = path.read_bytes()
        if ending in ("svg", "html"):
            text = page(view_of(found), EVIL) if ending == "html" else data.decode()  # the still page, built or not
            assert "<script" not in text and "\x1b" not in text and "\u202e" not in text
        if ending == "svg":
            tags = {e.tag.rpartition("}")[2] for e in ET.fromstring(data)}  # noqa: S314 (written by ourselves)
            assert tags <= {"title", "rect", "path", "text", "image", "circle"}
    assert "\x1b" not in terminal(view_of(found), width=90) and "\u202e" not in terminal(view_of(found), width=90)
    assert from_text(found.text) == found.graph


def test_dot_is_one_statement_a_line_with_every_quote_closed():
    lines = dot(evil().graph).split("\n")
    string = r'"(?:[^"\\\n]|\\.)*"'
    listed = rf"\[(?:\w+=(?:{string}|\w+)(?:, )?)+\]"
    allowed = (rf"digraph {string} {{", rf"\s*(?:graph|node|edge|n\d+) {listed};", rf"\s*n\d+ -> n\d+(?: {listed})?;",
               rf"\s*subgraph cluster_\d+ {{ label={string}; style=rounded; color={string};", r"\s*}")  # fmt: skip
    for line in lines:
        assert any(re.fullmatch(pattern, line) for pattern in allowed), line
    opened = sum((line.endswith(("{", ";")) and "{ label" in line) or line.endswith("{") for line in lines)
    assert opened == sum(line.strip() == "}" for line in lines) == 2
    assert quoted('a"b', "c\\n") == r'"a\"b\nc\\n"'


def test_every_node_and_edge_is_in_the_dot(resnet_map):
    text = dot(resnet_map.graph)
    assert len(re.findall(r"^\s*n\d+ \[", text, re.M)) == len(resnet_map.graph.nodes)
    assert len(re.findall(r"^\s*n\d+ -> n\d+", text, re.M)) == len(resnet_map.graph.edges)
    assert text.count("subgraph cluster_") == len(resnet_map.graph.groups) - 1


def objects(data: bytes) -> dict[int, bytes]:
    """The objects of a PDF by number, found by its table of places."""
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n$", data)[1])
    head, *entries = data[start:].split(b"trailer")[0].splitlines()[1:]
    assert head == b"0 %d" % len(entries) and all(len(e) == 19 for e in entries)
    found = {}
    for number, entry in enumerate(entries):
        if entry.endswith(b"n "):
            place = int(entry[:10])
            content = re.match(rb"%d 0 obj\n(.*?)\nendobj\n" % number, data[place:], re.S)
            found[number] = content[1]
    return found


def stream(content: bytes) -> bytes:
    length = int(re.search(rb"/Length (\d+)", content)[1])
    at = content.index(b"stream\n") + 7
    assert content[at + length :] == b"\nendstream"
    return zlib.decompress(content[at : at + length])


def test_a_pdf_is_whole_and_its_text_is_text(resnet_map, tmp_path):
    found = objects(resnet_map.save(tmp_path / "map.pdf").read_bytes())
    assert b"/Type /Catalog" in found[1] and b"/Contents 7 0 R" in found[3]
    page = stream(found[7]).decode("ascii")
    said = [bytes.fromhex(t).decode("cp1252") for t in re.findall(r"<([0-9a-f]*)> Tj", page)]
    assert "The map of ResNet" in said and "1x3x64x64" in said and said.count("ReLU") > 2
    assert page.count("q ") - page.count(" Q") - page.count("\nQ") == 0  # every state that is kept is given back
    pictures = [int(n) for n in re.findall(r"/I(\d+) Do", page)]
    for n in pictures:
        content = found[8 + n]
        width, height = (int(re.search(rb"/%s (\d+)" % side, content)[1]) for side in (b"Width", b"Height"))
        assert len(stream(content)) == width * height * 3
    assert pictures


def test_letters_that_the_standard_fonts_lack_are_drawn_with_a_mask(tmp_path):
    class 网络(nn.Module):  # a name in another script is the point
        def forward(self, x):
            return x.relu()

    found = objects(pl.map(网络(), (1, 3)).save(tmp_path / "map.pdf").read_bytes())
    masked = [c for c in found.values() if b"/SMask" in c]
    assert masked
    number = int(re.search(rb"/SMask (\d+) 0 R", masked[0])[1])
    assert b"/DeviceGray" in found[number] and max(stream(found[number])) > 128  # something is drawn


def test_pictures_of_the_map_are_whole(resnet_map, tmp_path):
    small = pl.map(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), torch.randn(1, 3, 16, 16))
    for by in ("", "flops", "zeros"):
        path = small.colored(by).save(tmp_path / "map.png")
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert pixels.std() > 10 and (pixels[:8] == 255).all() and (pixels[-8:] == 255).all()  # nothing at the edges
    root = ET.fromstring(resnet_map.save(tmp_path / "map.svg").read_bytes())  # noqa: S314 (written by ourselves)
    words = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"input", "output", "Linear"} <= set(words)
    kept = json.loads(resnet_map.save(tmp_path / "map.json").read_text())
    assert kept["totals"]["parameters"] == resnet_map.totals.parameters and kept["overlay"]["pictures"]
    with pytest.raises(pl.BadInput, match="dot"):
        resnet_map.save(tmp_path / "map.gif")


def channels(color: str) -> list[float]:
    values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]


def contrast(a: str, b: str) -> float:
    weights = (0.2126, 0.7152, 0.0722)
    dark, light = sorted(sum(w * c for w, c in zip(weights, channels(v), strict=True)) for v in (a, b))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=("light", "dark"))
def test_titles_are_read_on_every_family_and_no_two_families_share_a_color(theme):
    assert min(contrast(theme["title"], theme[family]) for family in FAMILIES) >= 4.5
    assert len({theme[family] for family in FAMILIES}) == len(FAMILIES)


def test_columns_lose_no_word_and_no_length_of_line():
    marks = tuple(Words(5, y, f"word {y}", 10) for y in range(20, 4000, 40))
    line = Line(((50, 0), (50, 1999), (90, 2001), (90, 4000)))
    tall = Drawing(100, 4000, (*marks, line))
    spans = [(y - 15.0, y + 5.0) for y in range(20, 4000, 40)]
    wide = in_columns(tall, 4, spans, [(100, 3900, "frame")])
    said = [m.text for m in wide.marks if isinstance(m, Words)]
    assert [t for t in said if t.startswith("word")] == [m.text for m in marks]
    assert said.count("… › frame") == 3 and wide.width > 4 * 100 and 1000 <= wide.height < 1100
    pieces = [m for m in wide.marks if isinstance(m, Line)]
    lengths = sum(
        np.hypot(b[0] - a[0], b[1] - a[1]) for p in pieces for a, b in zip(p.points, p.points[1:], strict=False)
    )
    assert lengths == pytest.approx(1999 + 1999 + np.hypot(40, 2))
    ys = [y for p in pieces for _, y in p.points]
    assert min(ys) >= 0 and max(ys) <= wide.height


def test_nothing_is_cut_where_nothing_may_be_cut():
    tall = Drawing(100, 4000, (Words(5, 2000, "one", 10),))
    assert in_columns(tall, 4, [(0.0, 4000.0)], []) is tall


def test_a_map_that_is_colored_says_its_numbers():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    found = pl.map(model, (1, 3, 16, 16))
    measure = found.overlay.measures["flops"]
    said = [m.text for m in network(Map(found.graph, measure=measure)).marks if isinstance(m, Words)]
    for flops in (2 * 8 * 14 * 14 * 27, 2 * 8 * 12 * 12 * 72):
        assert amount(float(flops), measure) in said
    assert share(measure.limits[1], measure) == 1 and share(0.0, measure) == 0
    assert [amount(v, Measure("", "s", (), (), "log")) for v in (0.0025, 2e-6)] == ["2.5 ms", "2 µs"]
    assert amount(0.31, Measure("", "", (), (), "share")) == "31 %"
    assert amount(1.5e6, Measure("", "B", (), (), "log")) == "1.5 MB"


def test_the_command_prints_a_tree_with_totals(pellucid):  # noqa: F811
    out = pellucid("map", "tiny", "--quiet").out
    assert "The map of Tiny" in out and "conv" not in out.split("\n")[0]
    assert re.search(r"Conv2d\s+1x6x11x11\s+168\s", out) and "8 operations" not in out


def test_lines_keep_to_the_width_name_operations_and_point_to_a_picture_only_where_there_is_none(pellucid, tmp_path):  # noqa: F811
    printed = pellucid("map", "tiny", "--quiet").out
    assert "-o map.html" in printed and "+ " not in printed
    assert "-o map" not in pellucid("map", "tiny", "--quiet", "-o", "map.svg").out
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(3)), nn.Linear(8, 2))
    blocks.a_name_that_is_much_too_long_for_any_column_of_a_terminal = nn.Linear(2, 2)
    lines = terminal(listing(pl.map(blocks, (1, 8)), 60), width=60).split("\n")
    assert max(map(len, lines)) <= 60
    assert any("a_name" in line and "…" in line for line in lines)
    ends = {len(line) for line in lines if line.rstrip()[-1:].isdigit() and "Linear" in line}
    assert len(ends) <= 1, "numbers stand below each other"


def test_of_a_long_row_of_weights_the_middle_is_left_out_and_a_run_says_its_sum():
    found = of_names([Named(str(i), (4 + i % 2, 4), "float32", 64) for i in range(120)], "weights")
    text = terminal(listing(found, 80), width=80)
    assert "… 60 more" in text and "\n0 " in text and "\n119 " in text
    assert "… 60 more" not in terminal(listing(found.opened(1), 80), width=80)
    same = pl.map(
        nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(5)), nn.Linear(4, 2)), (1, 4)
    )
    line = next(line for line in tree(same.graph) if line.count == 5)
    assert line.members == tuple(
        g for g in range(1, len(same.graph.groups)) if same.graph.groups.kind[g] == "Sequential"
    )
    total = sum(same.overlay.measures["memory"].groups[g] for g in line.members)
    picture = network(Map(same.graph, 1, same.overlay.measures["memory"]))
    assert amount(total, same.overlay.measures["memory"]) in " ".join(
        m.text for m in picture.marks if isinstance(m, Words)
    )


def test_the_command_as_data_and_in_every_form(pellucid, tmp_path):  # noqa: F811
    facts = json.loads(pellucid("map", "tiny", "--json").out)
    assert facts["totals"]["parameters"] == 3 * 6 * 9 + 6 + 6 * 8 * 9 + 8 + 8 * 3 + 3
    for ending in ENDINGS:
        assert pellucid("map", "tiny", "-o", f"map.{ending}", "--quiet").code == 0
        assert (tmp_path / f"map.{ending}").stat().st_size > 300
    assert "share of zeros" in pellucid("map", "tiny", "--input", "noise.png", "--color", "zeros", "--quiet").out
    assert "stable rank" in pellucid("map", "tiny", "--weights", "--quiet").out
    assert "the same structure" in pellucid("map", "tiny", "--compare", "tiny", "--quiet").out
    assert "1x6x19x19" in pellucid("map", "tiny", "--shape", "1x3x40x40", "--quiet").out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shape", "1x3", "--input", "a.png"), "both given"),
        (("--shape", "1x3xa"), "no shape"),
        (("--shape", "a=1x3,1x4"), "all inputs are named"),
        (("--depth", "0"), "at least 1"),
        (("--compare", "tiny", "--weights"), "both given"),
        (("--weights", "--color", "flops"), "map alone"),
        (("--color", "rainbow"), "nothing to color by"),
        (("-o", "map.gif"), "expected one of"),
    ],
)
def test_the_command_refuses_what_cannot_be_meant(pellucid, options, words):  # noqa: F811
    done = pellucid("map", "tiny", "--quiet", *options)
    assert done.code == (1 if "expected one" in words else 2) and words in done.err


def test_shapes_on_the_command_line():
    assert parsed_shape("1x3x224x224") == (1, 3, 224, 224) and parsed_shape("1×8") == (1, 8)
    assert parsed_shape("1x8,1x8") == ((1, 8), (1, 8))
    assert parsed_shape("ids=1x8, mask=1x8") == {"ids": (1, 8), "mask": (1, 8)}
    with pytest.raises(pl.BadOption) as said:
        parsed_shape("1, 3,32,32")
    assert said.value.hint == "Did you mean 1x3x32x32?"
    assert parsed_shape("a=8,b=8") == {"a": (8,), "b": (8,)}
    assert pl.map(nn.Linear(8, 2), parsed_shape("1x8")).graph.nodes.shape[0] == torch.Size((1, 8))
