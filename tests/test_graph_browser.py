"""The page of a map in a browser: it opens, it can be walked through, nothing leaves it, and names stay names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pellucid.architecture.overlay import Overlay, Thumbnail, of_structure
from pellucid.architecture.text import to_text
from pellucid.architecture.totals import totals
from pellucid.render.graph.page import built, page
from pellucid.render.graph.scene import open_first, scene
from tests import graphs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
    pytest.mark.skipif(built() is None, reason="the browser side was not built: make bundle"),
]
BOXES = "document.querySelector('.pellucid-map').dataset.boxes"


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


class Opened:
    """A page that was opened from disk, with everything that it asked for and complained about."""

    def __init__(self, browser, path: Path, before: str = "", **options) -> None:
        self.context = browser.new_context(viewport={"width": 1200, "height": 800}, **options)
        self.page = self.context.new_page()
        self.page.add_init_script(before)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    @property
    def boxes(self) -> int:
        return int(self.page.evaluate(BOXES))

    def wait_for(self, boxes: int) -> None:
        self.page.wait_for_selector(f"[data-boxes='{boxes}']")

    def wait_for_other_than(self, boxes: int) -> int:
        """Wait until the number of boxes has changed; gives the new one."""
        self.page.wait_for_selector(f".pellucid-map:not([data-boxes='{boxes}'])")
        return self.boxes


@pytest.fixture
def opened(browser, tmp_path):
    """Open the page of a graph; afterwards nothing may have been asked for but the page itself."""
    found: list[Opened] = []

    def open_page(graph, overlay: Overlay | None = None, notes=(), show=None, **options) -> Opened:
        path = tmp_path / "map.html"
        path.write_text(page(to_text(graph, totals(graph), overlay, notes, show), graph.name), encoding="utf-8")
        found.append(Opened(browser, path, **options))
        return found[-1]

    yield open_page
    for one in found:
        assert [url for url in one.requests if not url.startswith(("file:", "blob:", "data:"))] == []
        assert one.requests.count(one.requests[0]) == len([url for url in one.requests if url.startswith("file:")]) == 1
        assert one.complaints == []
        one.context.close()


def select(one: Opened, query: str) -> None:
    """Find something, and go there."""
    one.page.keyboard.press("/")
    one.page.keyboard.type(query)
    one.page.wait_for_selector(".found li")
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector(".inspector:not([hidden])")


def test_it_opens_with_the_whole_network_and_opens_a_module(opened):
    one = opened(graphs.transformer(2000))
    first = one.boxes
    assert 30 < first <= 60
    select(one, "head")
    assert one.page.inner_text(".inspector h2") == "Head"
    select(one, "layers.7 Block")  # in the folded run: it is unfolded, with the eighth in view
    unfolded = one.wait_for_other_than(first)
    assert unfolded > first
    assert one.page.inner_text(".inspector h2") == "Block"
    one.page.keyboard.press("Enter")
    assert one.wait_for_other_than(unfolded) > unfolded


def test_a_press_on_a_closed_module_opens_it_and_on_its_title_closes_it(opened):
    one = opened(graphs.residual(2), reduced_motion="reduce")
    one.page.get_by_text("Show", exact=True).click()
    one.page.get_by_text("Outermost modules").click()
    one.wait_for(6)
    one.page.keyboard.press("Escape")
    one.page.focus(".map")
    for _ in range(3):  # input, stem, stages
        one.page.keyboard.press("ArrowDown")
    assert one.page.inner_text(".inspector h2") == "Stages"
    one.page.keyboard.press("Enter")
    one.wait_for(7)
    one.page.keyboard.press("Escape")
    one.page.keyboard.press("f")
    one.page.keyboard.press("ArrowDown")
    one.page.keyboard.press("ArrowDown")
    one.page.keyboard.press("ArrowDown")
    one.page.keyboard.press("Backspace")
    one.wait_for(6)


def seek(one: Opened, wanted: str) -> None:
    """Move the mouse down the middle of the map until it points at what is wanted."""
    area = one.page.locator(".map").bounding_box()
    for y in range(int(area["y"]) + 2, int(area["y"] + area["height"]), 3):
        one.page.mouse.move(area["x"] + area["width"] / 2, y)
        tip = one.page.locator(".tip").text_content() if one.page.is_visible(".tip") else ""
        title = not tip and one.page.locator(".map.press").count()
        if tip.startswith(wanted) if wanted else title:
            return
    raise AssertionError(f"{wanted or 'a title'} is nowhere")


def test_the_mouse_opens_a_box_and_closes_a_frame_by_its_title(opened):
    one = opened(graphs.residual(2), reduced_motion="reduce")
    one.page.get_by_text("Show", exact=True).click()
    one.page.get_by_text("Outermost modules").click()
    one.wait_for(6)
    seek(one, "Stages")
    one.page.mouse.down()
    one.page.mouse.up()
    one.wait_for(7)
    one.page.keyboard.press("f")
    seek(one, "")
    one.page.mouse.down()
    one.page.mouse.up()
    one.wait_for(6)
    before = one.page.evaluate("document.querySelector('.map').toDataURL()")
    one.page.mouse.down()
    one.page.mouse.move(300, 300, steps=4)  # a drag moves the map and opens nothing
    one.page.mouse.up()
    assert one.boxes == 6
    assert one.page.evaluate("document.querySelector('.map').toDataURL()") != before


@pytest.mark.parametrize("graph", [graphs.Drawn("empty").graph(), graphs.chain(0), graphs.modules(), graphs.loose(),
                                   graphs.torn(), graphs.outputs()], ids=lambda graph: graph.name)  # fmt: skip
def test_odd_graphs_can_be_walked_through(opened, graph):
    one = opened(graph, reduced_motion="reduce")
    one.page.focus(".map")
    for key in ("ArrowDown", "ArrowRight", "Enter", "ArrowDown", "Enter", "Backspace", "ArrowUp", "f", "+", "[", "]"):
        one.page.keyboard.press(key)
    for entry in ("Every operation", "Down, or to the right", "In columns, or as one", "As at first"):
        one.page.get_by_text("Show", exact=True).click()
        one.page.get_by_text(entry).click()
    assert one.boxes == len(scene(graph, open_first(graph)).boxes)


def test_the_keyboard_follows_the_network(opened):
    one = opened(graphs.chain(6))
    one.page.focus(".map")
    one.page.keyboard.press("ArrowDown")
    assert one.page.inner_text(".inspector h2") == "input"
    one.page.keyboard.press("ArrowDown")
    assert one.page.inner_text(".inspector h2") == "relu"
    assert "relu" in one.page.inner_text("[role=status]")
    one.page.keyboard.press("ArrowUp")
    assert one.page.inner_text(".inspector h2") == "input"
    one.page.keyboard.press("Escape")
    assert one.page.is_hidden(".inspector")


def test_the_tree_mirrors_the_modules(opened):
    one = opened(graphs.residual(2))
    one.page.get_by_label("The network as a tree").first.click()
    rows = one.page.locator("[role=tree] > [role=treeitem]")
    assert rows.count() == 6
    one.page.keyboard.press("ArrowDown")
    one.page.keyboard.press("ArrowDown")
    one.page.keyboard.press("ArrowRight")
    assert one.page.locator("[role=treeitem][aria-expanded=true]").count() == 1
    assert one.page.locator("[role=tree] [role=group] [role=treeitem]").count() == 2


def test_names_that_would_be_markup_stay_names(opened):
    one = opened(graphs.words())
    select(one, "onerror")
    assert one.page.inner_text(".inspector h2").startswith("<img src=x")
    assert one.page.locator("img, iframe, object").count() == 0
    assert one.page.locator("script").count() == 2
    with one.page.expect_download() as saved:
        one.page.get_by_text("Save", exact=True).click()
        one.page.get_by_text("SVG").click()
    text = saved.value.path().read_text(encoding="utf-8")
    assert "<img" not in text
    assert "&lt;img" in text
    one.page.evaluate("(text) => { window.parsed = new DOMParser().parseFromString(text, 'image/svg+xml'); }", text)
    assert one.page.evaluate("window.parsed.querySelectorAll('parsererror, script').length") == 0


def test_what_is_seen_is_saved_as_a_picture(opened):
    one = opened(graphs.residual(2))
    with one.page.expect_download() as saved:
        one.page.get_by_text("Save", exact=True).click()
        one.page.get_by_text("PNG").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    assert saved.value.suggested_filename == "residual.png"


def test_boxes_can_be_colored_and_show_pictures(opened):
    graph = graphs.residual(2)
    thumbnail = Thumbnail(2, 2, (3, 1), -1.0, 1.0, True, bytes(range(0, 240, 30)))
    overlay = Overlay(of_structure(graph).measures, {1: thumbnail})
    one = opened(graph, overlay)
    one.page.select_option("select", "parameters")
    assert "Parameters" in one.page.inner_text(".legend")
    select(one, "conv stem")
    assert one.page.locator(".channels canvas").count() == 2
    assert "parameters" in one.page.inner_text(".totals")


def test_what_was_asked_for_is_shown_first(opened):
    graph = graphs.residual(2)
    one = opened(graph, notes=["Run on <b>nothing</b>."], show={"color": "flops", "depth": 1})
    assert one.boxes == 6
    assert "Floating-point" in one.page.inner_text(".legend")
    one.page.get_by_text("Notes", exact=True).click()
    assert "Run on <b>nothing</b>." in one.page.inner_text(".notes")


def test_very_many_operations_are_placed_in_a_worker(opened):
    one = opened(graphs.transformer(4000))
    first = one.boxes
    one.page.get_by_text("Show", exact=True).click()
    one.page.get_by_text("Every operation").click()
    assert one.wait_for_other_than(first) > 3000
    assert [url for url in one.requests if url.startswith("blob:")]


def test_where_workers_are_refused_the_page_finds_the_places_itself(opened):
    one = opened(graphs.transformer(2500), before="window.Worker = class { constructor() { throw new Error(); } };")
    first = one.boxes
    one.page.get_by_text("Show", exact=True).click()
    one.page.get_by_text("Every operation").click()
    assert one.wait_for_other_than(first) > 2000
    assert not [url for url in one.requests if url.startswith("blob:")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_system_and_the_button(opened, scheme: str):
    one = opened(graphs.chain(3), color_scheme=scheme)
    theme = "document.documentElement.dataset.theme"
    assert one.page.evaluate(theme) == scheme
    one.page.get_by_label("Light or dark").click()
    assert one.page.evaluate(theme) != scheme


def test_the_data_are_those_of_the_graph(opened):
    one = opened(graphs.residual(1))
    found = json.loads(one.page.evaluate("document.getElementById('graph').textContent"))
    assert found["nodes"]["op"] == list(graphs.residual(1).nodes.op)
